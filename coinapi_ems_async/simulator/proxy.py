"""A TCP proxy that stands before a server and does to the bytes what a network does on a bad day."""

import logging
from itertools import count
from time import monotonic
from typing import Final, Self

from .door import Door
from .pair import Pair
from .wire_faults import Cut, FaultPlan, WireFault

LOGGER: Final = logging.getLogger("coinapi_ems_async.simulator")


class FaultProxy:
    """Forwards bytes both ways between its clients and one server: `async with FaultProxy(host, port) as proxy`,
    or `start` and `stop`.

    Of the faults that apply to a connection, oldest first, only the first not used up waits for its byte; those
    of a `plan` come before. What it did is in `cuts`, oldest first.

    Args:
        target_host, target_port: where the server listens; may be changed while it runs, for new connections.
        host, port: where to listen; port 0: any.
        plan: faults drawn from a seed; may be replaced at any time.
        name: which wire of the plan it is.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        plan: FaultPlan | None = None,
        name: str = "",
    ) -> None:
        self.target = (target_host, target_port)
        self.plan = plan
        self.name = name
        self.faults: list[WireFault] = []
        self.cuts: list[Cut] = []
        self.connections = 0
        self.draws = 0
        self._door = Door(host, port)
        self._pairs: dict[int, Pair] = {}
        self._numbers = count(1)

    def __repr__(self) -> str:
        state = "running" if self._door.running else "stopped"
        return f"<FaultProxy {self.name or self.port} {state}, {len(self._pairs)} open, {len(self.cuts)} cuts>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._door.port

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._pairs)

    async def start(self) -> None:
        """Listen. Does nothing if it listens already.

        Raises OSError: if the port is taken.
        """
        if self.plan is not None:
            LOGGER.info("%s: faults on the wire: %r", self.name or "proxy", self.plan)
        await self._door.listen(lambda: Pair(self, next(self._numbers)).client)

    async def stop(self) -> None:
        """Stop listening and cut every connection; what is frozen is lost."""
        await self._door.stop()

    def inject(self, fault: WireFault) -> WireFault:
        """Let a fault happen to connections, those that are open included.

        Raises TypeError: if it is no WireFault.
        """
        if not isinstance(fault, WireFault):
            raise TypeError(f"expected a WireFault, got {type(fault).__name__}")
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let no more faults happen, neither told nor drawn; what is frozen stays so until `thaw`."""
        self.faults.clear()
        self.plan = None

    def strike(self, fault: WireFault) -> int:
        """Do what a fault says to each open connection, now and whatever its `after`; return to how many."""
        pairs = [pair for pair in self._pairs.values() if fault.connection in (None, pair.number)]
        for pair in pairs:
            pair.strike(fault, pair.request if fault.direction == "request" else pair.response)
        return len(pairs)

    def thaw(self) -> None:
        """Let all that is frozen move again."""
        for pair in list(self._pairs.values()):
            pair.thaw()

    def draw(self, request: bytes) -> WireFault | None:
        """Return what the plan has for a turn that begins."""
        if self.plan is None or (self.plan.match is not None and self.plan.match not in request):
            return None
        self.draws += 1
        return self.plan.fault(self.draws, self.name)

    def note(self, pair: Pair, fault: WireFault) -> None:
        """Write down what befalls a connection."""
        cut = Cut(
            time=monotonic(),
            connection=pair.number,
            turn=pair.turn,
            action=fault.action,
            direction=fault.direction,
            request_bytes=pair.request.total,
            response_bytes=pair.response.total,
            fault=fault,
        )
        self.cuts.append(cut)
        LOGGER.info(
            "%s: %s on connection %d, %s after %d bytes up and %d down",
            self.name or "proxy",
            cut.action,
            cut.connection,
            cut.direction,
            cut.request_bytes,
            cut.response_bytes,
        )

    def entered(self, pair: Pair) -> None:
        """Note a client that was let in."""
        self.connections += 1
        self._pairs[pair.number] = pair
        self._door.entered(pair)

    def gone(self, pair: Pair) -> None:
        """Note that nothing is left of a connection."""
        self._pairs.pop(pair.number, None)
        self._door.gone(pair)
