"""The other end of an HTTP/2 connection in memory: h2 reads what the client wrote, what it is told is exact."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import hpack
import msgspec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from coinapi_ems_async import Settings, operations
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.operations import Request
from coinapi_ems_async.transport.base import Attempt, Connection
from coinapi_ems_async.transport.http2 import Http2Connection

from ..conftest import an_order

URL: Final = "https://site.example/prefix"
KEY: Final = "sentinel-of-the-key"
CREDENTIALS: Final = Credentials((("X-CoinAPI-Key", KEY),))
READ: Final = operations.of_exchange(operations.BALANCES)

Fields = Iterable[tuple[bytes, bytes]]
Cut = Callable[[bytes], Iterable[bytes]]

CUTS: Final[Mapping[str, Cut]] = {
    "whole": lambda data: [data],
    "byte by byte": lambda data: (data[at : at + 1] for at in range(len(data))),
    "seven bytes": lambda data: (data[at : at + 7] for at in range(0, len(data), 7)),
}


def order(**changes: Any) -> Request:
    return operations.new_order(an_order(**changes))


def report(request: Request, **changes: Any) -> bytes:
    fields = {
        "exchange_id": request.exchange_id,
        "client_order_id": request.client_order_id,
        "status": "ROUTED",
    }
    return msgspec.json.encode(fields | changes)


@dataclass
class Keeper:
    """The pool's side: what it was told."""

    finished_with: list[Attempt] = field(default_factory=list)
    roomier_at: list[int] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        assert attempt.settled
        assert not self.ends or attempt.committed is None
        self.finished_with.append(attempt)

    def roomier(self, connection: Connection) -> None:
        self.roomier_at.append(connection.room())

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        self.ends.append(by_peer)


class Cable(asyncio.Transport):
    """A transport without a socket; `on_write` sees each write."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written: list[bytes] = []
        self.on_write: Callable[[bytes], None] = lambda _data: None
        self.aborted = False
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.on_write(bytes(data))
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.aborted = True
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


class Line:
    """A connection under test with its owner, its transport and the server behind it.

    settings: what the server says first, nothing at all if None.
    """

    def __init__(self, settings: Mapping[int, int] | None = {}, **numbers: Any) -> None:  # never changed
        self.owner = Keeper()
        self.connection = Http2Connection(self.owner, 0, URL, CREDENTIALS, Settings(**numbers))
        self.cable = Cable(self.connection)
        self.encoder = hpack.Encoder()
        self._server = witness()
        self._read = 0
        self.connection.connection_made(self.cable)
        if settings is not None:
            self.hear(settings_frame(settings))

    # The client

    def send(self, request: Request | None = None, *, until: float = 60, **options: Any) -> Attempt:
        attempt = Attempt(request or order(), "site", until=monotonic() + until, **options)
        self.connection.exchange(attempt)
        return attempt

    def hear(self, data: bytes, cut: Cut = CUTS["whole"]) -> None:
        for segment in cut(data):
            self.connection.data_received(segment)

    # The server

    def listen(self) -> list[Event]:
        """Read what was written since; h2 checks it."""
        data = b"".join(self.cable.written[self._read :])
        self._read = len(self.cable.written)
        return self._server.receive_data(data)

    def requests(self) -> list[int]:
        """The streams of requests that were written since."""
        return [event.stream_id for event in self.listen() if isinstance(event, RequestReceived)]

    def bodies(self) -> bytes:
        return b"".join(event.data for event in self.listen() if isinstance(event, DataReceived))

    def goodbye(self) -> ConnectionTerminated | None:
        return next((event for event in self.listen() if isinstance(event, ConnectionTerminated)), None)

    def head(self, stream: int, status: bytes = b"200", fields: Fields = (), *flags: str) -> bytes:
        return self.block(stream, [(b":status", status), *fields], *flags)

    def block(self, stream: int, fields: Fields, *flags: str) -> bytes:
        return headers(stream, self.encoder.encode(fields), "END_HEADERS", *flags)

    def answer(self, stream: int, body: bytes, status: bytes = b"200", fields: Fields = ()) -> bytes:
        return self.head(stream, status, fields) + data_frame(stream, body, "END_STREAM")


def witness() -> H2Connection:
    """A server's h2 that takes as much as is sent."""
    server = H2Connection(H2Configuration(client_side=False))
    server.local_settings = H2Settings(client=False, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    server.max_inbound_frame_size = 2**24 - 1
    server.increment_flow_control_window(2**31 - 1 - 65_535)
    return server


def headers(stream: int, block: bytes, *flags: str) -> bytes:
    return HeadersFrame(stream, block, flags=flags).serialize()


def continuation(stream: int, block: bytes, *flags: str) -> bytes:
    return ContinuationFrame(stream, block, flags=flags).serialize()


def data_frame(stream: int, body: bytes = b"", *flags: str, padding: int = 0) -> bytes:
    return DataFrame(stream, body, pad_length=padding, flags=flags).serialize()


def settings_frame(settings: Mapping[int, int] | None = None, *flags: str) -> bytes:
    return SettingsFrame(0, dict(settings or {}), flags=flags).serialize()


def goaway(last: int, code: int = 0) -> bytes:
    return GoAwayFrame(0, last, code).serialize()


def reset(stream: int, code: int) -> bytes:
    return RstStreamFrame(stream, code).serialize()


def window(increment: int, stream: int = 0) -> bytes:
    return WindowUpdateFrame(stream, increment).serialize()


def ping(data: bytes = b"12345678", *flags: str) -> bytes:
    return PingFrame(0, data, flags=flags).serialize()


def row(attempt: Attempt) -> Row | None:
    """How the attempt ended; None while it has not."""
    if attempt.failure is not None:
        return attempt.failure.row
    return attempt.reading.row if attempt.reading is not None else None


async def until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait for a condition, looking at every turn of the loop."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.001)
