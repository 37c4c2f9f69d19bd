"""A simulator in a process of its own: the servers do not share the loop, nor the core, of who is measured."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Literal

from .certificates import Authority
from .journal import read_journal
from .process_server import Letter, Reply, Task
from .records import Record
from .remote import Facts, Question, Remote

_START: Final = 30.0  # s, for a process to be ready
_END: Final = 5.0  # s, for a process to end by itself
_PROGRAM: Final = "from coinapi_ems_async.simulator.process_server import main; main()"

Loop = Literal["plain", "uvloop"]


class ProcessEnded(RuntimeError):
    """The simulator's process has ended, or is told to."""


class SimulatorProcess(Remote):
    """A whole simulator in a process of its own: `with SimulatorProcess(sites=...) as sim`, or `async with`.

    Calls go through a pipe and block until they are answered: in a loop, which they would hold up, use
    `await asyncio.to_thread(sim.requests)`. What goes in or comes out is a copy: the `times` of an injection count
    down over there. The process ends with the one that started it, unless it is stopped by a signal just then.

    Args:
        loop: event loop of the servers.
        cpus: cores they may use (Linux); None: all.
        journal: what the servers read and did is written to a file as well, and `requests` and `executions` tell
            what it says: over all lives of the process (`restart`), dead or alive, but without statuses.
        patience: seconds for which a call waits for its answer.
        arguments: those of `Simulator`.

    Raises whatever `Simulator` and its `start` raise.
    Raises TimeoutError: from any call, if the process does not answer in time.
    Raises ProcessEnded: from any call, if there is no process.
    """

    def __init__(
        self,
        *,
        loop: Loop = "plain",
        cpus: Collection[int] | None = None,
        journal: bool = False,
        patience: float = 10.0,
        **arguments: Any,
    ) -> None:
        if arguments.get("tls") and arguments.get("authority") is None:
            arguments["authority"] = Authority().secrets
        self._patience = patience
        self._journal: Path | None = None
        self._wants_journal = journal
        self._task = Task(arguments, loop, None if cpus is None else frozenset(cpus))
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._facts: Facts | None = None
        self._lock = threading.Lock()
        self._number = 0

    def __repr__(self) -> str:
        state = f"process {self.pid}" if self._process is not None else "stopped"
        return f"<SimulatorProcess {state}>"

    def start(self) -> None:
        """Start the process, and wait until its servers listen.

        Raises RuntimeError: if it runs already.
        """
        self.launch()
        self.ready()

    def launch(self) -> None:
        """Start the process; `ready` waits for it.

        Raises RuntimeError: if it runs already.
        """
        if self._process is not None:
            raise RuntimeError("the process runs already")
        if self._wants_journal and self._journal is None:
            with NamedTemporaryFile(prefix="simulated-ems-", suffix=".jsonl", delete=False) as file:
                self._journal = Path(file.name)
        task = replace(self._task, arguments=self._task.arguments | {"journal": self._journal})
        ours, theirs = socket.socketpair()
        with theirs:
            self._pipe = Connection(ours.detach())
            options = [f"-W{option}" for option in sys.warnoptions]
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *options, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours: we stop it
            )
        self._pipe.send(task)

    def ready(self) -> None:
        """Wait until a launched process serves."""
        try:
            self._facts = self._read(0, _START)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, by force if it does not listen; does nothing if there is none."""
        self._end()
        if self._journal is not None:
            self._journal.unlink(missing_ok=True)
            self._journal = None

    def restart(self) -> None:
        """Kill the process if it lives, and start it again: addresses and key stay, its orders do not.

        Raises ProcessEnded: if it never ran.
        """
        facts, arguments = self.facts, self._task.arguments
        ports = {site: _port(url) for site, url in facts.site_urls.items() if site not in self._elsewhere}
        fixed = {"api_key": facts.api_key, "management_port": _port(facts.management_url), "ports": ports}
        if self.alive:
            self.signal(signal.SIGKILL)
        self._end()
        self._task = replace(self._task, arguments=arguments | fixed)
        self.start()

    def _end(self) -> None:
        process, self._process = self._process, None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._facts is not None and "SSL_CERT_FILE" in self._facts.environment:
            Path(self._facts.environment["SSL_CERT_FILE"]).unlink(missing_ok=True)  # it may have been killed

    def signal(self, number: signal.Signals) -> None:
        """Send a signal.

        With SIGSTOP the servers answer no more, though the kernel still does for them; with SIGCONT they go on;
        with SIGKILL they are gone, and with them what they knew.

        Raises ProcessEnded: if there is no process.
        """
        if self._process is None:
            raise ProcessEnded("the simulator's process has ended")
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    @property
    def _elsewhere(self) -> Mapping[str, str]:
        return self._task.arguments.get("elsewhere") or {}

    @property
    def alive(self) -> bool:
        """Whether there is a process, even if it is stopped by a signal."""
        return self._process is not None and self._process.poll() is None

    @property
    def tells(self) -> bool:
        """Whether it can still tell what it did: it is alive, or it kept a journal."""
        return self.alive or self._journal is not None

    @property
    def pid(self) -> int | None:
        """The id of the process."""
        return None if self._process is None else self._process.pid

    # Where it is

    @property
    def facts(self) -> Facts:
        """Where the servers are; what it was if the process has ended since.

        Raises ProcessEnded: if it never ran.
        """
        if self._facts is None:
            raise ProcessEnded("the simulator has not run yet")
        return self._facts

    # What it did, and how it is asked

    def requests(self) -> list[Record]:
        """Return what the servers have read, oldest first."""
        if self._journal is not None:
            return read_journal(self._journal).requests
        return super().requests()

    def executions(self, client_order_id: str) -> int:
        """Return how many orders with this id were given to an exchange."""
        if self._journal is not None:
            return read_journal(self._journal).executions[client_order_id]
        return super().executions(client_order_id)

    def do(self, name: str, *arguments: Any, wire: str | None = None, **keywords: Any) -> Any:
        """Call a method of the simulator, or read a property; with `wire` of the proxy before that site.

        Raises whatever it raises, and RuntimeError: if what it returns cannot be copied.
        """
        question = Question(name, arguments, tuple(keywords.items()), wire)
        with self._lock:
            self._number += 1
            if self._pipe is None:
                raise ProcessEnded("the simulator's process has ended")
            try:
                self._pipe.send(Letter(self._number, question))
            except OSError:
                raise ProcessEnded("the simulator's process has ended") from None
            return self._read(self._number, self._patience)

    def _read(self, number: int, seconds: float) -> Any:
        while self._pipe is not None:
            if not self._pipe.poll(seconds):
                raise TimeoutError(f"the simulator's process does not answer within {seconds:g} s")
            try:
                reply: Reply = self._pipe.recv()
            except (EOFError, OSError):
                break
            if reply.number != number:
                continue  # the answer to a question that was given up
            if reply.error is not None:
                raise reply.error
            return reply.value
        raise ProcessEnded("the simulator's process has ended")


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
