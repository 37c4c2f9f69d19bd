"""One HTTP/1.1 connection between a fake pool and a fake transport: what it makes of bytes, however cut."""

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Any, NamedTuple

from coinapi_ems_async import Settings
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.models.orders import CancelAll
from coinapi_ems_async.operations import Request, cancel_all
from coinapi_ems_async.transport.base import Attempt, Connection
from coinapi_ems_async.transport.http1 import Http1Connection, RequestHeads

MAX_BODY = 100_000
REQUEST = cancel_all(CancelAll(exchange_id="KRAKEN/JOHN"))


class FakeTransport(asyncio.Transport):
    """Takes what is written, and tells its protocol of its end as a real one does: once, from the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class FakeOwner:
    """A pool that only counts."""

    def __init__(self) -> None:
        self.ends: list[Attempt] = []
        self.losses = 0

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        assert self.losses == 0
        self.ends.append(attempt)

    def roomier(self, connection: Connection) -> None:
        raise AssertionError("one exchange at a time has no more room than before")

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        self.losses += 1


class Verdict(NamedTuple):
    """What became of one exchange: `answer` is (status, body), `again` whether another may follow."""

    answer: tuple[int, bytes] | None
    row: Row | None
    at_once: bool
    """Whether it stood before the connection ended."""
    again: bool


class Exchange:
    """One request on a connection of its own, and then whatever the server says."""

    def __init__(self, request: Request = REQUEST) -> None:
        self.owner, self.transport = FakeOwner(), FakeTransport()
        heads = RequestHeads("http://127.0.0.1:1", Credentials())
        settings = Settings(max_body=MAX_BODY)
        self.connection = Http1Connection(self.owner, 0, heads, settings)
        self.connection.connection_made(self.transport)
        self.attempt = Attempt(request, "a", until=monotonic() + 60)
        self.connection.exchange(self.attempt)
        assert self.transport.written

    def read(self, pieces: Iterable[bytes]) -> None:
        """Hand over the pieces, as long as the transport is open."""
        for piece in pieces:
            if self.transport.closed:
                return
            if piece:
                self.connection.data_received(piece)

    def end(self) -> Verdict:
        """End the connection from the server's side, and return what became of it all."""
        at_once, again = self.attempt.settled, self.connection.room() > 0
        if not self.transport.closed:
            self.connection.eof_received()
        self.transport.closed = True
        self.connection.connection_lost(None)
        assert self.owner.ends == [self.attempt]
        assert self.owner.losses == 1
        answer, failure = self.attempt.answer, self.attempt.failure
        assert (answer is None) != (failure is None)
        return Verdict(
            (answer.status, answer.body) if answer is not None else None,
            failure.row if failure is not None else None,
            at_once,
            again,
        )


def verdict_on(*pieces: bytes, request: Request = REQUEST) -> Verdict:
    """Return what an exchange makes of the pieces and the end of the connection."""
    exchange = Exchange(request)
    exchange.read(pieces)
    return exchange.end()
