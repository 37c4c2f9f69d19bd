"""The floor: what an asyncio socket loop costs on this machine, with and without the work on the data."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from coinapi_ems_async import operations
from coinapi_ems_async.models.orders import ExecutionReport
from coinapi_ems_async.models.reading import AnswerReader

from .. import peers
from ..canned import PATH, decode, new_order, order_body
from ..measure import Call
from .base import Entrant, Target

FLOOR: Final = "floor"
FULL_FLOOR: Final = "full-work floor"


class Connection(asyncio.Protocol):
    """One request at a time: one write, one future, llhttp for the answer."""

    def __init__(self) -> None:
        self._parser: Any = peers.load("httptools").HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._body = b""
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._waiter is not None:
            self._waiter.set_result(self._body)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """Write the request; the future gets the answer's body."""
        self._body = b""
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        return self._waiter

    def close(self) -> None:
        """Close the connection."""
        self._waiter = None
        self._transport.close()


@asynccontextmanager
async def _connections(target: Target, count: int) -> AsyncIterator[list[Connection]]:
    loop, tls = asyncio.get_running_loop(), target.tls()
    found: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, *target.address, ssl=tls)
            found.append(connection)
        yield found
    finally:
        for connection in found:
            connection.close()


def _head(target: Target) -> bytes:
    host, port = target.address
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()


@asynccontextmanager
async def _floor(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    """One write of bytes made beforehand, and a plain decode."""
    body = order_body()
    request = b"%s%d\r\n\r\n%s" % (_head(target), len(body), body)
    async with _connections(target, count) as free:

        async def call() -> object:
            connection = free.pop()
            report = decode(await connection.ask(request))
            free.append(connection)
            return report

        yield {FLOOR: call}


@asynccontextmanager
async def _full_floor(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    """As the floor, with the order built, checked and encoded each time, and the report read in full."""
    head = _head(target)
    read: Callable[[bytes], ExecutionReport] = AnswerReader(ExecutionReport).one
    encode = operations.new_order
    async with _connections(target, count) as free:

        async def call() -> object:
            body = encode(new_order()).body or b""
            connection = free.pop()
            report = read(await connection.ask(b"%s%d\r\n\r\n%s" % (head, len(body), body)))
            free.append(connection)
            return report

        yield {FULL_FLOOR: call}


ENTRANTS: Final = (
    Entrant("floor", (FLOOR,), _floor, tls=True),
    Entrant("full-floor", (FULL_FLOOR,), _full_floor, tls=True),
)
