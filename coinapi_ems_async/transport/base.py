"""The seam between meaning and sockets.

A call asks a pool for a lease on a connection, and the lease to carry one attempt: the transport marks the
attempt committed the instant before its first byte can leave, makes one exchange, and delivers what came of
it to the attempt. The caller only watches the attempt, so that an order goes on when its caller goes away.
"""

import asyncio
import contextlib
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Final

import msgspec

from ..matrix import Row
from ..operations import Request
from ..outcomes import AttemptRecord, Phase, Timing

__all__ = ["Attempt", "Lease", "NotCommitted", "Pool", "TransportFailure", "WireAnswer", "has_pending_bytes"]


class WireAnswer(msgspec.Struct, frozen=True):
    """A complete response as read from the wire; `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:  # the body may be a certificate, or an account with its secrets
        return f"WireAnswer({self.status}, {len(self.body)} bytes)"

    def __rich_repr__(self) -> Iterator[object]:  # type: ignore[override]  # msgspec types it narrower
        yield self.status
        yield f"{len(self.body)} bytes"


class TransportFailure(Exception):
    """An attempt ended without a complete answer; `row` says how."""

    def __init__(self, row: Row, message: str = "") -> None:
        super().__init__(message or row.value)
        self.row = row
        self.message = message or row.value


class NotCommitted(TransportFailure):
    """The mark was refused: nothing of this attempt may be sent."""


class Attempt:
    """One try of a request at one site: the record that the transport fills and the caller watches.

    until: when the caller stops waiting. not_after: wall-clock seconds since the epoch, or None. All other
    times are `time.monotonic`'s: that is the clock of asyncio's loop, and uvloop's own is a millisecond fine.
    """

    __slots__ = (
        "_waiter",
        "_withdrawn",
        "answer",
        "bearer",
        "committed",
        "connection",
        "done",
        "failure",
        "first_byte",
        "not_after",
        "on_settled",
        "request",
        "reused",
        "site",
        "started",
        "transport",
        "until",
    )

    def __init__(
        self,
        request: Request,
        site: str,
        *,
        until: float,
        not_after: float | None = None,
        bearer: str | None = None,
    ) -> None:
        self.request = request
        self.site = site
        self.until = until
        self.not_after = not_after
        self.bearer = bearer
        self.started = monotonic()
        self.committed: float | None = None
        self.first_byte: float | None = None
        self.done: float | None = None
        self.connection: int | None = None
        self.transport: asyncio.BaseTransport | None = None
        self.reused = False
        self.answer: WireAnswer | None = None
        self.failure: TransportFailure | None = None
        self.on_settled: Callable[[Attempt], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._withdrawn = False

    def __deepcopy__(self, memo: object) -> "Attempt":
        # It travels as a trace context of aiohttp, and recorders of requests copy those whole: loop and all.
        return self

    @property
    def settled(self) -> bool:
        """Whether the transport has delivered an answer or a failure."""
        return self.done is not None

    @property
    def phase(self) -> Phase:
        """How far it came."""
        if self.answer is not None:
            return Phase.ANSWERED
        if self.first_byte is not None:
            return Phase.ANSWERING
        return Phase.WAITING if self.committed is None else Phase.COMMITTED

    def mark(self) -> None:
        """Commit: from here on the server may act. Called by transports the instant before the first byte.

        Raises NotCommitted: if the caller withdrew, or `until` or `not_after` has passed. TransportFailure: if the
        attempt is committed already, which means that the transport was about to send it twice.
        """
        if self.committed is not None:
            raise TransportFailure(Row.LOST_REUSED, "the connection ended before any answer; not sent again")
        if self._withdrawn or monotonic() >= self.until:
            raise NotCommitted(Row.ABANDONED)
        if self.not_after is not None and time.time() >= self.not_after:
            raise NotCommitted(Row.LATE)
        self.committed = monotonic()

    def withdraw(self) -> bool:
        """Forbid the mark; returns whether that came in time: True proves that nothing is ever sent."""
        self._withdrawn = True
        return self.committed is None

    def answering(self) -> None:
        """Note that a response head arrived."""
        self.first_byte = monotonic()

    def deliver(self, answer: WireAnswer) -> None:
        """Settle with a complete answer; whatever came first stays."""
        if self.done is None:
            self.answer = answer
            self._settle()

    def fail(self, failure: TransportFailure) -> None:
        """Settle without a complete answer; whatever came first stays."""
        if self.done is None:
            self.failure = failure
            self._settle()

    def _settle(self) -> None:
        self.done = monotonic()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.on_settled is not None:
            self.on_settled(self)

    async def wait(self) -> bool:
        """Watch until it is settled or the monotonic clock reaches `until`; returns whether it is settled."""
        if self.done is not None:
            return True
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(self.until - monotonic(), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return self.settled

    def record(self, failure: str | None = None) -> AttemptRecord:
        """Return the attempt as it stands, for outcomes and errors; `failure` in words if it has none."""
        ended = monotonic() if self.done is None else self.done
        return AttemptRecord(
            site=self.site,
            phase=self.phase,
            milliseconds=(ended - self.started) * 1000,
            failure=self.failure.message if self.failure else failure,
            status=self.answer.status if self.answer else None,
            connection=self.connection,
            reused=self.reused,
        )

    def timing(self, started: float, decoded: float | None = None) -> Timing:
        """Return its times; `started` is when the whole call began."""
        return Timing(
            started=started,
            committed=self.committed,
            first_byte=self.first_byte,
            done=self.done,
            decoded=decoded,
        )


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Lease(ABC):
    """The right to one exchange on a connection of a pool."""

    @abstractmethod
    def exchange(self, attempt: Attempt) -> None:
        """Carry the attempt: mark it, send it once, deliver to it. Returns at once; may be called once."""

    @abstractmethod
    def abort(self) -> None:
        """Stop the exchange and end its connection."""

    @abstractmethod
    def discard(self) -> None:
        """End the connection after an answer that shows it to be out of step."""


class Pool(ABC):
    """The connections to one site."""

    @abstractmethod
    async def acquire(self, *, for_order: bool, until: float) -> Lease:
        """Return a lease, waiting for one until the monotonic clock reaches `until`.

        for_order: orders and cancels may use the whole pool, reads only their share.
        Raises TransportFailure: POOL_WAIT, if none became free in time; ABANDONED, if the pool is closed.
        """

    @property
    @abstractmethod
    def connections(self) -> int:
        """Connections open now."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until nothing is under way."""

    @abstractmethod
    async def aclose(self) -> None:
        """Abort what is under way and close every connection."""


_POLLABLE: Final = hasattr(select, "poll")


def has_pending_bytes(transport: asyncio.BaseTransport) -> bool:
    """Whether an idle connection has something to read: a FIN, a reset, or bytes nobody asked for.

    The event loop may not have got round to it yet; a request sent now would be lost. Costs a microsecond.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not _POLLABLE:
        return transport.is_closing()
    poller = select.poll()
    with contextlib.suppress(ValueError, OSError):
        poller.register(sock.fileno(), select.POLLIN)
        return transport.is_closing() or bool(poller.poll(0))
    return True
