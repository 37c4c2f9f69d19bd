"""A bare loop on the h2 package: one connection, cleartext with prior knowledge, many streams."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from .. import peers
from ..canned import PATH, decode, order_body
from ..measure import Call
from .base import Entrant, Target, address

BARE_H2: Final = "bare h2 loop"

_WINDOW: Final = 1 << 30


class Connection(asyncio.Protocol):
    """What h2 needs around it, and nothing more: no time-outs, no limits, no care for lost streams."""

    def __init__(self) -> None:
        self._events: Any = peers.load("h2.events")
        self._h2: Any = peers.load("h2.connection").H2Connection()
        self._loop = asyncio.get_running_loop()
        self._bodies: dict[int, bytes] = {}
        self._waiters: dict[int, asyncio.Future[bytes]] = {}
        self._unread = 0
        self.ready = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._transport.write(self._h2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        events = self._events
        for event in self._h2.receive_data(data):
            if isinstance(event, events.DataReceived):
                self._bodies[event.stream_id] += event.data
                self._unread += event.flow_controlled_length
            elif isinstance(event, events.StreamEnded):
                self._waiters.pop(event.stream_id).set_result(self._bodies.pop(event.stream_id))
            elif isinstance(event, events.RemoteSettingsChanged) and not self.ready.done():
                self.ready.set_result(None)
        if self._unread > _WINDOW // 2:
            self._h2.increment_flow_control_window(self._unread)
            self._unread = 0
        if out := self._h2.data_to_send():
            self._transport.write(out)

    def ask(self, headers: list[tuple[str, str]], body: bytes) -> "asyncio.Future[bytes]":
        """Write one request; the future gets the answer's body."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, headers)
        self._h2.send_data(stream, body, end_stream=True)
        self._bodies[stream] = b""
        self._waiters[stream] = waiter = self._loop.create_future()
        self._transport.write(self._h2.data_to_send())
        return waiter

    def close(self) -> None:
        """Close the connection."""
        self._waiters.clear()
        self._transport.close()


@asynccontextmanager
async def _open(target: Target, _count: int) -> AsyncIterator[Mapping[str, Call]]:
    host, port = address(target.h2_url)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    body = order_body()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", f"{host}:{port}"),
        (":path", PATH),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
    ]
    try:
        await connection.ready

        async def call() -> object:
            return decode(await connection.ask(headers, body))

        yield {BARE_H2: call}
    finally:
        connection.close()


ENTRANTS: Final = (Entrant("h2", (BARE_H2,), _open, ("h2.connection", "h2.events"), connected=False),)
