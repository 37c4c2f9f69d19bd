"""A wire that breaks once, at one byte of a call's own.

Leaner than the simulator's proxy, and with another way to count: a break waits for one request, so that probes and
whatever else a client does by itself never meet it, and counts from the first byte of that request, or of its
answer, whatever the connection has carried before. HTTP/2's acknowledgements of settings belong to neither.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, cast

from coinapi_ems_async.simulator.endings import cut, cut_when_sent, send_at_once

Action = Literal["reset", "fin", "freeze"]
Direction = Literal["request", "response"]

_ACKNOWLEDGEMENT = b"\0\0\0\4\1\0\0\0\0"


@dataclass(frozen=True)
class Break:
    """What happens when so many bytes have been forwarded: `reset` cuts both sides, `fin` shuts the direction in
    order and drops the rest of it, `freeze` moves nothing any more."""

    action: Action
    direction: Direction
    after: int


class Line:
    """Before one server: `async with Line(port, key) as line`. key: what the requests of calls contain."""

    def __init__(self, target: int, key: bytes) -> None:
        self.target = target
        self.key = key
        self.port = 0
        self.broken = False
        """Whether the last break has come."""
        self.sizes: dict[Direction, int] = _nothing()
        """Bytes that have come from each side since the request began for which it was armed."""
        self.requests = 0
        """How many requests the connection for which it was armed had carried when it broke, that one included."""
        self._armed: Break | None = None
        self._marker: bytes | None = None
        self._wires: set[_Wire] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Wire(self).client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for wire in list(self._wires):
            wire.abort()
        while self._wires:
            await asyncio.sleep(0)

    def arm(self, what: Break | None, marker: bytes) -> None:
        """Break the connection of the next request that contains the marker; None: only measure it."""
        self._armed, self._marker, self.broken = what, marker, False
        self.sizes, self.requests = _nothing(), 0

    async def drop(self) -> None:
        """Cut every connection that has carried a call, frozen or not, and wait until that is done."""
        dropped = {wire for wire in self._wires if wire.is_of_calls}
        for wire in dropped:
            wire.abort()
        while dropped & self._wires:
            await asyncio.sleep(0)

    def armed_for(self, data: bytes) -> bool:
        """Whether a piece of a request is the one that is waited for; it is no longer then."""
        found = self._marker is not None and self._marker in data
        if found:
            self._marker = None
        return found

    @property
    def armed(self) -> Break | None:
        """What was armed last."""
        return self._armed

    def entered(self, wire: "_Wire") -> None:
        self._wires.add(wire)

    def gone(self, wire: "_Wire") -> None:
        self._wires.discard(wire)


class _Side(asyncio.Protocol):
    """One end of a wire."""

    def __init__(self, wire: "_Wire", direction: Direction) -> None:
        self._wire = wire
        self._direction: Direction = direction
        self.transport: asyncio.Transport | None = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        send_at_once(transport)
        self._wire.made(self)

    def data_received(self, data: bytes) -> None:
        self._wire.pass_on(self._direction, data)

    def eof_received(self) -> bool:
        self._wire.ended(self._direction)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._wire.lost(exc)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def shut(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()


class _Wire:
    """One connection, from its client to the server."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.client = _Side(self, "request")
        self.server = _Side(self, "response")
        self._requests = 0
        self._task: asyncio.Task[object] | None = None
        self._early: list[bytes] = []
        """What came before the server was reached: nothing can be counted or broken yet."""
        self._is_struck = False
        self._frozen = False
        self._shut: Direction | None = None
        self._is_chosen = False
        self._left = 0
        self._break: Break | None = None

    @property
    def is_of_calls(self) -> bool:
        """Whether it has carried a request that shows the key."""
        return self._requests > 0

    def made(self, side: _Side) -> None:
        if side is self.client:
            self._line.entered(self)
            loop = asyncio.get_running_loop()
            reaching = loop.create_connection(lambda: self.server, "127.0.0.1", self._line.target)
            self._task = loop.create_task(reaching)
            self._task.add_done_callback(self._reached)
        elif self.client.is_over and side.transport is not None:
            side.transport.abort()
        else:
            early, self._early = b"".join(self._early), []
            if early:
                self.pass_on("request", early)

    def _reached(self, task: "asyncio.Task[object]") -> None:
        if task.cancelled() or task.exception() is not None:
            self.server.is_over = True
            self.abort()
            self.lost(None)

    def pass_on(self, direction: Direction, data: bytes) -> None:
        if self._frozen or self._shut == direction:
            return
        if self.server.transport is None:
            self._early.append(data)
            return
        start = 0
        if direction == "request":
            self._requests += data.count(self._line.key)
            if self._line.armed_for(data):
                self._is_chosen, self._break = True, self._line.armed
                self._left = 0 if self._break is None else self._break.after
                start = _acknowledgements(data)
        elif self._is_chosen and not self._line.sizes["response"]:
            start = _acknowledgements(data)
        if self._is_chosen:
            self._line.sizes[direction] += len(data) - start
            self._line.requests = self._requests
        sink = self.server if direction == "request" else self.client
        waiting = self._break
        if waiting is None or self._is_struck or waiting.direction != direction or start == len(data):
            sink.write(data)
        elif len(data) - start < self._left:
            self._left -= len(data) - start
            sink.write(data)
        else:
            sink.write(data[: start + self._left])
            self._strike(waiting, sink)

    def _strike(self, what: Break, sink: _Side) -> None:
        self._is_struck = self._line.broken = True
        if what.action == "freeze":
            self._frozen = True
        elif what.action == "fin":
            self._shut = what.direction
            sink.shut()
        else:
            self._frozen = True  # nothing that comes now matters
            for side in (self.client, self.server):
                if side.transport is not None:
                    cut_when_sent(asyncio.get_running_loop(), side.transport)

    def ended(self, direction: Direction) -> None:
        if not self._frozen and self._shut != direction:
            (self.server if direction == "request" else self.client).shut()

    def lost(self, exc: Exception | None) -> None:
        for side in (self.client, self.server):
            if side.transport is not None and not side.is_over:
                if exc is None and not self._frozen:
                    side.transport.close()
                else:
                    side.transport.abort()
        connecting = self._task is not None and not self._task.done()
        if self.client.is_over and (self.server.is_over or (self.server.transport is None and not connecting)):
            self._line.gone(self)

    def abort(self) -> None:
        """Cut both sides at once."""
        self._frozen = True
        if self._task is not None:
            self._task.cancel()
        for side in (self.client, self.server):
            if side.transport is not None and not side.is_over:
                cut(side.transport)


def _nothing() -> dict[Direction, int]:
    return {"request": 0, "response": 0}


def _acknowledgements(data: bytes) -> int:
    """How many bytes at the beginning acknowledge settings."""
    start = 0
    while data.startswith(_ACKNOWLEDGEMENT, start):
        start += len(_ACKNOWLEDGEMENT)
    return start
