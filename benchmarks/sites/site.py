"""One site in a process of its own: the simulator, its weather, and a control channel on the standard input.

Run as `python -m benchmarks.sites.site`. It says {} on its output when it is ready. The first line of its input is
a `Task` as JSON; it says {"url": ...} when it serves, and from then on carries out a `Command` for each line, with
a line of answer for each.
It ends when its input does. The process of the management server is the same with sites that are all elsewhere.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from coinapi_ems_async.simulator import FaultPlan, Injection, Pace, Simulator

from .jitter import Jitter, made_jitter
from .relay import IdleRelay
from .stand_ins import Kind, StandIn
from .weather import Spoil, Weather

__all__ = ["Command", "Task", "main"]

_RECORDED: Final = 20_000
_FEW_RECORDS: Final = 5_000
_NEVER: Final = 1_000_000
_NO_HOMES: Final = Injection(operation="exchanges", status=200, body=[], times=None)
"""An exchange's home is not left for little, which costs round trips on purpose: here they alone are judged."""


class Task(msgspec.Struct, kw_only=True):
    """What the process is to be; the secrets among it are why it comes by a pipe.

    port: 0 for any. elsewhere: site -> URL, for the management server. idle: seconds after which connections that
    nobody uses are ended. proxied: there is a `FaultProxy` before the site. log: what was done to clients.
    """

    site: str
    host: str
    port: int = 0
    management_port: int = 0
    exchanges: dict[str, list[str]]
    api_key: str
    authority: tuple[str, str] | None
    journal: str
    log: str
    seed: int = 1
    cpus: list[int] | None = None
    elsewhere: dict[str, str] = {}
    idle: float | None = None
    proxied: bool = False

    def __repr__(self) -> str:
        return f"<Task {self.site} at {self.host}:{self.port}>"


class Command(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to change; what is None stays as it is.

    base, scale: seconds of delay, and what the jitter is multiplied with. slow_share, slow: so many of the reads
    take so many seconds longer. spoil, plan: arguments of a `Spoil` and a `FaultPlan`, {} for none. listen: False
    closes the port and cuts its connections. stand_in: who listens then, "" for nobody. tidy: look for garbage
    now.
    """

    base: float | None = None
    scale: float | None = None
    slow_share: float | None = None
    slow: float | None = None
    spoil: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    listen: bool | None = None
    stand_in: str | None = None
    tidy: bool = False


class Process:
    """The simulator and what stands before it."""

    def __init__(self, task: Task) -> None:
        authority = None if task.authority is None else (task.authority[0].encode(), task.authority[1].encode())
        self._task = task
        self._authority = authority
        self._stand_in: StandIn | None = None
        jitter = Jitter(made_jitter(_RECORDED), task.seed, scale=0.0)
        self.weather = Weather(jitter, Path(task.log), task.seed)
        self.sim = Simulator(
            sites=dict.fromkeys(task.exchanges, 0.0),
            exchanges=task.exchanges,
            api_key=task.api_key,
            host=task.host,
            ports={task.site: task.port if task.idle is None else 0} if not task.elsewhere else None,
            management_port=task.management_port,
            elsewhere=task.elsewhere or None,
            tls=authority is not None,
            authority=authority,
            journal=Path(task.journal),
            pace=Pace(reply=0, book=0, cancel=0),
            record_limit=_FEW_RECORDS,
            http2=False,
            proxied=task.proxied,
            shared_orders=False,
        )

    async def serve(self) -> str:
        """Start; returns the URL that clients are to be told."""
        await self.sim.start()
        if self._task.elsewhere:
            self.sim.inject(_NO_HOMES)
            return self.sim.management_url
        self.sim.inject(self.weather)
        url = self.sim.site_urls[self._task.site]
        if self._task.idle is None:
            return url
        scheme_and_host, _, port = url.rpartition(":")
        relay = IdleRelay(self._task.host, int(port), self._task.idle)
        return f"{scheme_and_host}:{await relay.start(self._task.host, self._task.port)}"

    async def obey(self, command: Command) -> None:
        """Carry out a command. Raises ValueError, KeyError, OSError: if that cannot be done."""
        weather, site = self.weather, self._task.site
        weather.base = weather.base if command.base is None else command.base
        weather.jitter.scale = weather.jitter.scale if command.scale is None else command.scale
        weather.slow_share = weather.slow_share if command.slow_share is None else command.slow_share
        weather.slow = weather.slow if command.slow is None else command.slow
        if command.spoil is not None:
            weather.spoil = Spoil(**command.spoil) if command.spoil else None
        if command.plan is not None:
            self.sim.wire(site).plan = _plan(command.plan) if command.plan else None
        if command.listen is False:
            await self.sim.stop_site(site, keep_port=False)  # a stand-in may take it
        if command.stand_in is not None:
            await self._replace(command.stand_in)
        if command.listen is True:
            await self.sim.start_site(site)
        if command.tidy:
            _tidy()

    async def _replace(self, kind: str) -> None:
        if self._stand_in is not None:
            await self._stand_in.stop()
            self._stand_in = None
        if kind:
            assert self._authority is not None
            port = int(self.sim.site_urls[self._task.site].rpartition(":")[2])
            found = msgspec.convert(kind, Kind)
            self._stand_in = StandIn(
                found, self._task.host, port, self._authority, lambda size: self.weather.note(heard=size, by=kind)
            )
            await self._stand_in.start()

    async def stop(self) -> None:
        """End everything."""
        await self._replace("")
        await self.sim.stop()


def _tidy() -> None:
    """Look for garbage among everything, and never again through what is left.

    A server keeps orders and requests by the ten thousand: to look through them stops it for 80 ms after a quarter
    of an hour, and all of its clients with it. It does so when it is told to, which is never during a measurement.
    """
    gc.collect()
    gc.freeze()


def _plan(arguments: dict[str, Any]) -> FaultPlan:
    fields: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in arguments.items()
    }
    return FaultPlan(**fields)


async def _run(task: Task) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    process = Process(task)
    url = await process.serve()
    _say({"url": url})
    try:
        while line := await reader.readline():
            try:
                await process.obey(msgspec.json.decode(line, type=Command))
            except Exception as error:
                _say({"error": f"{type(error).__name__}: {error}"})
            else:
                _say({})
    finally:
        await process.stop()


def _say(line: dict[str, str]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _first_line() -> bytes:
    """Read no further than the line's end: what follows is for the loop to read."""
    line = b""
    while not line.endswith(b"\n"):
        if not (piece := os.read(0, 1)):
            sys.exit("there is no task on the standard input")
        line += piece
    return line


def main() -> None:
    _tidy()
    gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
    _say({})
    task = msgspec.json.decode(_first_line(), type=Task)
    if task.cpus is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task.cpus)
    asyncio.run(_run(task))


if __name__ == "__main__":
    main()
