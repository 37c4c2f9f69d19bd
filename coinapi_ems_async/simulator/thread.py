"""A simulator in a thread of its own, for tests that have another loop, or none."""

import asyncio
import copy
import threading
from concurrent.futures import Future
from typing import Any, Final

from .ledger import Balance
from .orders import Order
from .records import Record
from .remote import Facts, Question, Remote, facts_of
from .simulator import Simulator

_START: Final = 30.0  # s, for the servers to listen
_END: Final = 5.0  # s, for the thread to end


class SimulatorThread(Remote):
    """A whole simulator in a thread of its own: `with SimulatorThread(sites=...) as sim`, or `async with`.

    The calls are those of `Simulator`, made in that thread; they may come from any other one, and block it for
    about a millisecond. An injection is the very one that was given: its `times` count down.

    Args:
        patience: seconds for which a call waits for its answer.
        arguments: those of `Simulator`.

    Raises whatever `Simulator` and its `start` raise.
    Raises RuntimeError: from any call, if it does not run.
    Raises TimeoutError: from any call, if the thread does not answer in time.
    """

    def __init__(self, *, patience: float = 10.0, **arguments: Any) -> None:
        self._arguments = arguments
        self._patience = patience
        self._facts: Facts | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._simulator: Simulator | None = None
        self._over: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<SimulatorThread {'running' if self._loop is not None else 'stopped'}>"

    def start(self) -> None:
        """Start the thread, and wait until its servers listen.

        Raises RuntimeError: if it runs already.
        """
        if self._thread is not None:
            raise RuntimeError("the simulator runs already")
        ready: Future[Facts] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="coinapi-ems: simulator", daemon=True
        )
        self._thread.start()
        try:
            self._facts = ready.result(_START)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the servers and the thread; does nothing if there is none.

        Raises TimeoutError: if the thread does not end.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        thread.join(_END)
        if thread.is_alive():
            raise TimeoutError(f"the simulator's thread does not end within {_END:g} s")

    @property
    def facts(self) -> Facts:
        """Where the servers are; what it was if they have ended since.

        Raises RuntimeError: if it never ran.
        """
        if self._facts is None:
            raise RuntimeError("the simulator has not run yet")
        return self._facts

    def do(self, name: str, *arguments: Any, wire: str | None = None, **keywords: Any) -> Any:
        """Call a method of the simulator, or read a property; with `wire` of the proxy before that site.

        Raises whatever it raises.
        """
        loop, simulator = self._loop, self._simulator
        if loop is None or simulator is None:
            raise RuntimeError("the simulator does not run")
        question = Question(name, arguments, tuple(keywords.items()), wire)
        asked = asyncio.run_coroutine_threadsafe(_ask(simulator, question), loop)
        try:
            return asked.result(self._patience)
        except TimeoutError:
            if asked.done():
                raise
            asked.cancel()
            raise TimeoutError(f"the simulator does not answer within {self._patience:g} s") from None

    def _run(self, ready: "Future[Facts]") -> None:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: "Future[Facts]") -> None:
        try:
            simulator = Simulator(**self._arguments)
            await simulator.start()
            facts = facts_of(simulator, bool(self._arguments.get("tls")))
        except BaseException as error:
            ready.set_exception(error)
            return
        self._over = asyncio.Event()
        self._loop, self._simulator = asyncio.get_running_loop(), simulator
        ready.set_result(facts)
        try:
            await self._over.wait()
        finally:
            self._loop = self._simulator = None
            await simulator.stop()


async def _ask(simulator: Simulator, question: Question) -> Any:
    return _apart(await question.ask(simulator))


def _apart(value: Any) -> Any:
    """Copy what the simulator goes on changing."""
    if type(value) in (list, tuple):
        return type(value)(map(_apart, value))
    if isinstance(value, Record):
        return copy.copy(value)
    return copy.deepcopy(value) if isinstance(value, Order | Balance) else value
