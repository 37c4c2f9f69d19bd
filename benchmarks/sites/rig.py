"""A process for each site on an address of its own, one for the management server, and clients of them."""

import asyncio
import contextlib
import gc
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.observer import CallHook
from coinapi_ems_async.simulator.certificates import Authority

from .site import Command, Task

__all__ = ["ACCOUNT", "FAR", "FARTHEST", "MIDDLE", "NEAR", "OTHER_ACCOUNT", "Rig", "RigError", "SiteProcess"]

NEAR, MIDDLE, FAR, FARTHEST = (
    "aws-us-east-1-prd",
    "aws-eu-west-1-prd",
    "aws-us-west-2-prd",
    "aws-ap-northeast-1-prd",
)
ACCOUNT: Final = "KRAKEN/JOHN"
OTHER_ACCOUNT: Final = "BITMEX/JOHN"
"""Served by the two nearest sites only."""

_ROOT: Final = Path(__file__).parents[2]
_START: Final = 30.0
_ANSWER: Final = 10.0
_END: Final = 5.0
_DECOY: Final = "decoy"
_LARGE_PAGES: Final = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""A killed process has the core until its memory is given back, and only then closes its connections: 3.3 ms, or 2
in large pages. No other site answers meanwhile, which says nothing about sites on machines of their own."""


class RigError(RuntimeError):
    """A process of the rig does not start, or does not do what it is told."""


class SiteProcess:
    """One process that runs `site`; it keeps its port and its files over all its lives.

    launch: returns a process that waits for its task.
    """

    def __init__(self, task: Task, launch: Callable[[], Awaitable[asyncio.subprocess.Process]]) -> None:
        self.task = task
        self._launch = launch
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopped = False
        self._serves = False

    async def start(self) -> None:
        """Start, and wait until it serves. Raises RigError: if it does not."""
        self._process = await self._launch()
        self.url = (await self._ask(self.task, _START))["url"]
        self.task = msgspec.structs.replace(self.task, **_ports(self.task, self.url))
        self._serves = True

    async def command(self, **changes: Any) -> None:
        """Carry out a `Command`. Raises RigError: if it cannot."""
        await self._ask(Command(**changes), _ANSWER)

    @property
    def is_running(self) -> bool:
        """Whether it can be told anything now."""
        return self._serves and not self._is_stopped

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP to freeze it, SIGCONT to let it go on."""
        assert self._process is not None
        self._process.send_signal(number)
        self._is_stopped = number == signal.SIGSTOP

    async def kill(self) -> None:
        """End it without a word; the system cuts its connections."""
        assert self._process is not None
        self._serves = False
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End it; does nothing if there is none."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if self._is_stopped:
            process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _ask(self, question: msgspec.Struct, patience: float) -> dict[str, str]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(question) + b"\n")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), patience)
        except TimeoutError:
            raise RigError(f"the process of {self.task.site} does not answer") from None
        answer = msgspec.json.decode(line, type=dict[str, str]) if line else {"error": "it has ended"}
        if "error" in answer:
            raise RigError(f"the process of {self.task.site} failed: {answer['error']}")
        return answer


async def _launched(cpus: Collection[int] | None) -> asyncio.subprocess.Process:
    """Return a process that runs `site` on these cores, and is ready for its task."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"{__package__}.site"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | _LARGE_PAGES | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)])},
        start_new_session=True,  # Ctrl-C is ours: we stop it
    )
    if cpus is not None and hasattr(os, "sched_setaffinity"):
        # Not by starting it from there: the thread that waits for its end would stay there, and the client for it.
        os.sched_setaffinity(process.pid, cpus)
    assert process.stdout is not None
    is_ready = b""
    try:
        with contextlib.suppress(TimeoutError):
            is_ready = await asyncio.wait_for(process.stdout.readline(), _START)
    finally:
        if not is_ready:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if not is_ready:
        raise RigError("a process of the rig does not start")
    return process


def _ports(task: Task, url: str) -> dict[str, int]:
    port = int(url.rpartition(":")[2])
    return {"management_port" if task.elsewhere else "port": port}


class Rig:
    """Three sites or more: `async with Rig(folder, delays) as rig`.

    folder: for the servers' logs. delays: site -> seconds there and back; the two nearest serve a second account.
    scale: what the jitter is multiplied with. cpus: cores of the servers. proxied, idle: those of `site.Task`.
    """

    def __init__(
        self,
        folder: Path,
        delays: Mapping[str, float],
        *,
        scale: float = 0.0,
        cpus: Sequence[int] | None = None,
        proxied: bool = False,
        idle: float | None = None,
    ) -> None:
        self.folder = folder
        self.delays = dict(delays)
        self.scale = scale
        authority = Authority()
        self._tls: ssl.SSLContext = authority.client_context()
        self.api_key = os.urandom(16).hex()
        nearest = sorted(delays, key=lambda site: self.delays[site])[:2]
        self.exchanges = {site: [ACCOUNT, *([OTHER_ACCOUNT] if site in nearest else [])] for site in delays}
        certificate, key = (pem.decode() for pem in authority.secrets)
        self._common: dict[str, Any] = {
            "api_key": self.api_key,
            "authority": (certificate, key),
            "cpus": None if cpus is None else list(cpus),
        }
        self.sites = {
            site: self._process(site, number, exchanges={site: self.exchanges[site]}, proxied=proxied, idle=idle)
            for number, site in enumerate(delays)
        }
        self.decoy = self._process(_DECOY, len(delays), exchanges={_DECOY: [ACCOUNT]})
        """A site that is not in the table: nobody has any business there."""
        self.management: SiteProcess | None = None
        self._spare: asyncio.subprocess.Process | None = None

    def _process(self, site: str, number: int, **arguments: Any) -> SiteProcess:
        host = f"127.0.0.{11 + number}" if sys.platform == "linux" else "127.0.0.1"
        files = {"journal": str(self.journal(site)), "log": str(self.folder / f"{site}.clients.jsonl")}
        fields: dict[str, Any] = {**files, **self._common, **arguments}
        return SiteProcess(Task(site=site, host=host, seed=number + 1, **fields), self._launch)

    async def _launch(self) -> asyncio.subprocess.Process:
        spare, self._spare = self._spare, None
        return spare if spare is not None else await _launched(self._common["cpus"])

    async def get_ready(self) -> None:
        """Do now what must not be done in the midst of a measurement.

        A process is started for whoever is killed next, all garbage is looked for, here and in the servers.
        """
        if self._spare is None:
            self._spare = await _launched(self._common["cpus"])
        for process in self.sites.values():
            if process.is_running:
                await process.command(tidy=True)
        gc.collect()

    def journal(self, site: str) -> Path:
        """Where a server writes down what it has read."""
        return self.folder / f"{site}.requests.jsonl"

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.gather(*(one.start() for one in (*self.sites.values(), self.decoy)))
            urls = {site: process.url for site, process in self.sites.items()}
            self.management = self._process("management", 0, exchanges=self.exchanges, elsewhere=urls)
            await self.management.start()
            await self.calm()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        every = [*self.sites.values(), self.decoy, *([self.management] if self.management else [])]
        await asyncio.gather(*(process.stop() for process in every))
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.kill()
            await spare.wait()

    async def calm(self) -> None:
        """Let all sites be as they were at the start."""
        for site in self.sites:
            await self.calm_one(site)

    async def calm_one(self, site: str) -> None:
        """Let one site be as it was at the start; it must run and listen."""
        await self.sites[site].command(base=self.delays[site], scale=self.scale, slow_share=0.0, spoil={})

    def client(self, on_call: CallHook | None = None, **settings: Any) -> EMSClient:
        """Return a client that finds these sites."""
        assert self.management is not None
        return EMSClient(
            self.api_key,
            management_url=self.management.url,
            ssl_context=self._tls,
            settings=Settings(**settings),
            on_call=on_call,
        )
