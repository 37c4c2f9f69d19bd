"""One client of a proxy and its connection to the server, with what befalls them."""

import asyncio
from typing import Final, Protocol

from .endings import cut, cut_when_sent, send_at_once
from .pipe import Ending, Pipe, Side
from .timers import Timer
from .wire_faults import Direction, WireFault

_TEXT: Final = 65_536  # bytes of a request that are searched for `match`


class Proxy(Protocol):
    """What a pair needs from the proxy it belongs to."""

    target: tuple[str, int]
    faults: list[WireFault]

    def draw(self, request: bytes) -> WireFault | None:
        """Return what the plan has for a turn that begins."""
        ...

    def note(self, pair: "Pair", fault: WireFault) -> None:
        """Write down what befalls a connection."""
        ...

    def entered(self, pair: "Pair") -> None:
        """Note a client that was let in."""
        ...

    def gone(self, pair: "Pair") -> None:
        """Note that nothing is left of a connection."""
        ...


class Pair:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.number = number
        self.turn = 0
        self.frozen = False
        self.client = Side(self._let_in, self._lost)
        self.server = Side(self._reached, self._lost)
        self.request = Pipe(self, "request", self.client, self.server)
        self.response = Pipe(self, "response", self.server, self.client)
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._text = b""
        self._drawn: WireFault | None = None
        self._struck: set[tuple[WireFault, int]] = set()
        self._over = False
        self._task: asyncio.Task[tuple[object, object]] | None = None
        self._timer: Timer | None = None

    # Its life

    def _let_in(self, client: Side) -> None:
        self._proxy.entered(self)
        if client.transport is not None:
            send_at_once(client.transport)
        fault = next((one for one in self._proxy.faults if self._applies(one, "connect")), None)
        if fault is not None:
            self.struck(fault, self.response)
        if fault is None or fault.action not in ("freeze", "delay"):
            self._connect()

    def _connect(self) -> None:
        if self._task is None and not self._over:
            reaching = self._loop.create_connection(lambda: self.server, *self._proxy.target)
            self._task = self._loop.create_task(reaching)
            self._task.add_done_callback(self._connected)

    def _connected(self, task: "asyncio.Task[tuple[object, object]]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.abort()  # nobody is there
        self._check()

    def _reached(self, server: Side) -> None:
        if server.transport is None:
            return
        send_at_once(server.transport)
        if self._over:
            server.transport.abort()
        else:
            self.request.flow()

    def _lost(self, side: Side) -> None:
        side.transport = None
        self._check()

    def _check(self) -> None:
        connecting = self._task is not None and not self._task.done()
        if self.client.transport is None and self.server.transport is None and not connecting:
            self._stop()
            self._proxy.gone(self)

    def _stop(self) -> None:
        self._over = True
        self.request.stop()
        self.response.stop()
        if self._timer is not None:
            self._timer.cancel()

    def finished(self, ending: Ending) -> None:
        """Close both sides when both directions have ended; cut them if one was cut."""
        if ending == "reset":
            self.cut()
        elif self.request.ended and self.response.ended:
            for side in (self.client, self.server):
                if side.transport is not None:
                    side.transport.close()

    def cut(self) -> None:
        """Cut both sides with a reset, as soon as all that was forwarded is on its way."""
        self._stop()
        for side in (self.client, self.server):
            if side.transport is not None:
                cut_when_sent(self._loop, side.transport)

    def abort(self) -> None:
        """Cut both sides at once."""
        self._stop()
        if self._task is not None:
            self._task.cancel()
        for side in (self.client, self.server):
            if side.transport is not None:
                cut(side.transport)

    # What befalls it

    def heard(self, pipe: Pipe, data: bytes) -> None:
        """Note what has arrived: it may begin a turn."""
        if pipe is not self.request:
            return
        if self.turn == 0 or self.response.in_turn:
            self.turn += 1
            self._text = b""
            self.request.in_turn = self.response.in_turn = 0
            self._drawn = self._proxy.draw(data)
            if self._drawn is not None:
                self._drawn.turn = self.turn
        if len(self._text) < _TEXT:
            self._text += data

    def coming(self, pipe: Pipe) -> tuple[WireFault, int] | None:
        """Return the next fault in a direction, and how many bytes may pass before."""
        for fault in self._proxy.faults if self._drawn is None else (self._drawn, *self._proxy.faults):
            if self._applies(fault, pipe.direction):
                room = fault.after - (pipe.in_turn if fault.per_turn else pipe.total)
                if room >= 0 or fault.match is not None:
                    return fault, max(room, 0)
        return None

    def _applies(self, fault: WireFault, direction: Direction) -> bool:
        return (
            fault.times != 0
            and fault.direction == direction
            and fault.connection in (None, self.number)
            and fault.turn in (None, self.turn)
            and (fault.match is None or fault.match in self._text)
            and self._key(fault) not in self._struck
        )

    def _key(self, fault: WireFault) -> tuple[WireFault, int]:
        return fault, self.turn if fault.per_turn else 0

    def struck(self, fault: WireFault, pipe: Pipe) -> None:
        """Take a fault whose byte has come, and do what it says."""
        if fault.times is not None:
            fault.times -= 1
        self._struck.add(self._key(fault))
        self.strike(fault, pipe)

    def strike(self, fault: WireFault, pipe: Pipe) -> None:
        """Do what a fault says."""
        self._proxy.note(self, fault)
        seconds = fault.seconds or 0.0
        if fault.action == "reset":
            self.cut()
        elif fault.direction == "connect" and fault.action == "fin":
            self._stop()
            if self.client.transport is not None:
                self.client.transport.close()
        elif fault.action == "fin":
            pipe.shut()
        elif fault.action == "drip":
            pipe.drip(fault)
        elif fault.action == "delay" and fault.direction != "connect":
            pipe.hold(seconds)
        else:
            self.frozen = True
            if self._timer is not None:
                self._timer.cancel()
            if fault.seconds is not None:
                self._timer = Timer(self._loop, seconds, self.thaw)

    def thaw(self) -> None:
        """Let all that is frozen move again."""
        self.frozen = False
        if self._timer is not None:
            self._timer.cancel()
        self._connect()
        self.request.flow()
        self.response.flow()
