"""The seam between meaning and sockets.

A call asks a pool to carry one attempt, at once or in its turn: the transport marks the attempt committed the
instant before its first byte can leave, makes one exchange, and delivers what came of it to the attempt. The
caller only watches the attempt, so that an order goes on when its caller goes away.
"""

import asyncio
import contextlib
import itertools
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from time import monotonic
from typing import Final, Protocol

import msgspec

from ..answers import Reading, read_answer
from ..matrix import Kind, Row
from ..operations import Request
from ..outcomes import AttemptRecord, Phase, Timing
from ..redaction import NOTHING_HIDDEN, Redaction

__all__ = [
    "Attempt",
    "Carrier",
    "Connection",
    "NotCommitted",
    "Owner",
    "Pool",
    "TransportFailure",
    "WireAnswer",
    "has_pending_bytes",
    "is_change",
    "poll_of",
]


class WireAnswer(msgspec.Struct, frozen=True):
    """A complete response as read from the wire.

    `raw_headers` are (name, value) pairs; those of a success, which nobody asks for, may be left out.
    """

    status: int
    raw_headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers under lower-case names; of a repeated one the last counts."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.raw_headers}

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

    until: when the caller stops waiting. not_after: wall-clock seconds since the epoch, or None. All other times
    are `time.monotonic`'s: that is the clock of asyncio's loop, and uvloop's own is a millisecond fine.
    `connected` is when it began, unless a connection had to be waited for. `carrier` is who has it now. `rivals`
    are attempts at the same change elsewhere: of all of them only one is ever marked. `unused_since` is when a
    shared connection had been used last when it took the attempt, None on others: they know that themselves.
    `redaction` knows what must not stand in messages, though a server may say it; `bearer` it is told.
    """

    __slots__ = (
        "_withdrawn",
        "answer",
        "bearer",
        "carrier",
        "committed",
        "connected",
        "connection",
        "decoded",
        "done",
        "failure",
        "first_byte",
        "not_after",
        "on_settled",
        "reading",
        "redaction",
        "request",
        "reused",
        "rivals",
        "site",
        "started",
        "transport",
        "until",
        "unused_since",
        "waiter",
    )

    committed: float | None
    first_byte: float | None
    done: float | None
    decoded: float | None
    connection: int | None
    unused_since: float | None
    transport: asyncio.Transport | None
    carrier: "Carrier | None"
    rivals: "Sequence[Attempt]"
    answer: WireAnswer | None
    reading: Reading | None
    failure: TransportFailure | None
    on_settled: "Callable[[Attempt], None] | None"
    waiter: asyncio.Future[None] | None

    # One is made for every order: assigned in chains, which costs 0.3 us instead of 0.5.
    def __init__(
        self,
        request: Request,
        site: str,
        until: float,
        not_after: float | None = None,
        bearer: str | None = None,
        started: float | None = None,
        redaction: Redaction = NOTHING_HIDDEN,
    ) -> None:
        self.request = request
        self.site = site
        self.until = until
        self.not_after = not_after
        self.bearer = bearer
        self.redaction = redaction
        self.started = self.connected = monotonic() if started is None else started
        self.committed = self.first_byte = self.done = self.decoded = self.connection = self.unused_since = None
        self.transport = self.carrier = self.answer = self.reading = self.failure = None
        self.on_settled = self.waiter = None
        self.reused = self._withdrawn = False
        self.rivals = ()

    def __deepcopy__(self, memo: object) -> "Attempt":
        # It travels as a trace context of aiohttp, and recorders of requests copy those whole: loop and all.
        return self

    @property
    def settled(self) -> bool:
        """Whether the transport has delivered an answer or a failure."""
        return self.done is not None

    @property
    def given_up(self) -> bool:
        """Whether nobody wanted its answer any more once it was sent."""
        return self._withdrawn and self.committed is not None

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

        Raises NotCommitted: if the caller withdrew, a rival was first, or `until` or `not_after` has passed.
        TransportFailure: if the attempt is committed already, which means that the transport was about to send it
        twice.
        """
        if self.committed is not None:
            raise TransportFailure(Row.LOST_REUSED, "the connection ended before any answer; not sent again")
        now = monotonic()
        if self._withdrawn or now >= self.until:
            raise NotCommitted(Row.ABANDONED)
        if self.not_after is not None and time.time() >= self.not_after:
            raise NotCommitted(Row.LATE)
        if self.rivals:
            self._win()
        self.committed = now

    def _win(self) -> None:
        """Forbid the mark to every rival, unless one has it."""
        if any(rival.committed is not None for rival in self.rivals if rival is not self):
            raise NotCommitted(Row.ABANDONED, _OVERTAKEN)
        for rival in self.rivals:
            rival._withdrawn = rival is not self

    def withdraw(self) -> bool:
        """Forbid the mark; returns whether that came in time: True proves that nothing is ever sent."""
        self._withdrawn = True
        return self.committed is None

    def abort(self) -> None:
        """Stop it wherever it is, queue or connection: it fails unless it is settled."""
        self._withdrawn = True
        if self.done is None and self.carrier is not None:
            self.carrier.abort(self)

    def answering(self) -> None:
        """Note that a response head arrived."""
        self.first_byte = monotonic()

    def deliver(self, answer: WireAnswer) -> bool:
        """Settle with a complete answer; whatever came first stays.

        Returns whether the answer belongs to the request: if not, the connection is out of step and must end.
        """
        if self.done is not None:
            return True
        self.done = monotonic()
        self.answer = answer
        if self.bearer is not None:  # no call where there is none, as for nearly every order
            self.hide_bearer()
        headers = _NO_HEADERS if 200 <= answer.status < 300 else answer.headers
        self.reading = reading = read_answer(self.request, answer.status, headers, answer.body, self.redaction)
        self.decoded = monotonic()
        self._tell()
        return reading.row is not _OUT_OF_STEP

    def fail(self, failure: TransportFailure) -> None:
        """Settle without a complete answer; whatever came first stays."""
        if self.done is None:
            self.done = monotonic()
            self.hide_bearer()
            said = self.redaction.line(failure.message)
            if said != failure.message:
                failure = type(failure)(failure.row, said)
            # A traceback would hold on to the frames it passed, and those to us.
            self.failure = failure.with_traceback(None)
            self._tell()

    def hide_bearer(self) -> None:
        """Make its token the newest of those that are hidden: many may have followed it since it was sent."""
        if self.bearer is not None:
            self.redaction.hide_token(self.bearer)

    def shown_body(self) -> bytes:
        """Return the body of its answer without secrets; empty if there is none."""
        self.hide_bearer()
        return self.redaction.raw(self.answer.body) if self.answer is not None else b""

    def _tell(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        if self.on_settled is not None:
            self.on_settled(self)

    async def wait(self) -> bool:
        """Watch until it is settled or the monotonic clock reaches `until`; returns whether it is settled."""
        if self.done is not None:
            return True
        loop = asyncio.get_running_loop()
        self.waiter = loop.create_future()
        timer = loop.call_later(self.until - monotonic(), self.wake)
        try:
            await self.waiter
        finally:
            timer.cancel()
            self.waiter = None
        return self.settled

    def wake(self) -> None:
        """End the wait, settled or not."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

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

    def timing(self, started: float) -> Timing:
        """Return its times; `started` is when the whole call began."""
        return Timing(
            started=started,
            site=self.site,
            reused=self.reused,
            connected=self.connected,
            committed=self.committed,
            first_byte=self.first_byte,
            done=self.done,
            decoded=self.decoded,
        )


class Carrier(Protocol):
    """Who has an attempt: a pool as long as it waits there, then a connection."""

    def abort(self, attempt: Attempt) -> None:
        """Stop the attempt, which fails unless it is settled; does nothing if it is not here any more."""
        ...


class Connection(ABC):
    """One connection of a pool, for one exchange at a time or for many.

    `number` is unique in this process, `generation` is the pool's when it was opened, `served` counts the
    exchanges begun, `idle_since` is when the last one ended, or the connection began (monotonic, seconds).
    """

    # What every order asks is no property and no attribute of the class: CPython 3.11 is slow at both.
    __slots__ = ("generation", "idle_since", "is_listed", "is_shared", "keep_alive", "number", "owner", "served")

    def __init__(self, owner: "Owner", generation: int) -> None:
        self.owner = owner
        self.generation = generation
        self.number = next(_numbers)
        self.served = 0
        self.idle_since = monotonic()
        self.keep_alive: float | None = None
        """Seconds after which the server said it ends an idle connection (Keep-Alive: timeout), if it did."""
        self.is_shared = False
        """Whether it carries many exchanges at a time, and finds out by itself that its peer is gone (HTTP/2)."""
        self.is_listed = False
        """Whether the pool has it among those with room."""

    @property
    @abstractmethod
    def running(self) -> int:
        """Exchanges under way."""

    @abstractmethod
    def room(self) -> int:
        """Return how many more exchanges may begin now; 0 for ever once it is closing."""

    @abstractmethod
    def is_usable(self) -> bool:
        """Whether a request may be sent now; asks the descriptor itself. To be asked just before the mark."""

    @abstractmethod
    def exchange(self, attempt: Attempt) -> None:
        """Carry the attempt: mark it, send it once, deliver to it. Returns at once; once for each attempt.

        Whatever goes wrong is told to the attempt, nothing is raised.
        """

    @abstractmethod
    def abort(self, attempt: Attempt) -> None:
        """Stop the attempt's exchange, which fails unless it is settled; does nothing if it is over."""

    @abstractmethod
    def close(self) -> None:
        """Begin nothing more, and end when what is under way has ended; at once if nothing is."""

    @abstractmethod
    def kill(self, reason: str) -> None:
        """End at once; what is under way fails."""


class Owner(Protocol):
    """What a connection tells its pool; `finished` may come from within `exchange`."""

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        """An exchange is over, whatever its end; exactly once for each that began, and before `ended`."""
        ...

    def roomier(self, connection: Connection) -> None:
        """There may be more room than before although nothing has finished."""
        ...

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        """The connection is over, exactly once. by_peer: the server closed it cleanly while it was idle."""
        ...


class Pool(ABC):
    """The connections to one site."""

    @abstractmethod
    def carry(self, attempt: Attempt) -> None:
        """Carry the attempt: at once if there is a connection at hand and nobody waits, else in its turn.

        Orders and cancels may use the whole pool, reads only their share. Whatever goes wrong is told to the
        attempt: why there is no connection, or ABANDONED if the pool is closed.
        """

    @abstractmethod
    def abort(self, attempt: Attempt) -> None:
        """Take an attempt out of the queue: it fails with POOL_WAIT if all is taken, else CONNECT_TIMEOUT."""

    @abstractmethod
    def is_full(self, request: Request) -> bool:
        """Whether such a request has to wait until another one has ended."""

    def is_outdated(self, attempt: Attempt) -> bool:
        """Whether the attempt's connection is older than the last `clear`: its fate says nothing of the site."""
        return False

    def rested(self, attempt: Attempt) -> float:
        """Return for how many seconds the attempt's connection had not been used before; infinite if unknown."""
        return inf

    @property
    @abstractmethod
    def connections(self) -> int:
        """Connections open now."""

    def is_at_hand(self) -> bool:
        """Whether a request could go out at once, over a connection that is open and free."""
        return self.connections > self.in_flight

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Exchanges under way."""

    def most_in_flight(self) -> int:
        """Return how many exchanges were under way at a time since this was last asked; 0 if nobody counts."""
        return 0

    @abstractmethod
    def keep_warm(self, connections: int, *, exchanges: int = 0) -> None:
        """Keep so many connections ready from now on, and as many as so many exchanges at a time take.

        A pool that cannot does nothing.
        """

    @abstractmethod
    def clear(self) -> None:
        """Close idle connections, and those in use when their exchange ends; fail whoever waits for one."""

    @abstractmethod
    async def until_warm(self, within: float) -> None:
        """Wait until the warm connections are open or one could not be opened, so many seconds at most."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until nothing is under way."""

    @abstractmethod
    async def aclose(self) -> None:
        """Abort what is under way and close every connection."""


def is_change(request: Request) -> bool:
    """Whether the request changes something, so that it counts as an order in a pool."""
    return request.operation.kind in _CHANGES


_OUT_OF_STEP: Final = Row.OUT_OF_STEP
_OVERTAKEN: Final = "another site had a connection first"
_CHANGES: Final = frozenset({Kind.NEW_ORDER, Kind.CANCEL_ONE, Kind.CANCEL_ALL})
_NO_HEADERS: Final[Mapping[str, str]] = {}
_numbers: Final = itertools.count(1)
_POLLABLE: Final = hasattr(select, "poll")


def poll_of(transport: asyncio.BaseTransport) -> Callable[[], object]:
    """Return a function whose value is true if a connection has something to read: a FIN, a reset, or bytes.

    The event loop may not have got round to it yet; a request sent now would be lost. Costs 0.3 us, against 1.0
    for a new poll object each time.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not _POLLABLE:
        return transport.is_closing
    poller = select.poll()
    with contextlib.suppress(ValueError, OSError):
        poller.register(sock.fileno(), select.POLLIN)
    return partial(poller.poll, 0)


def has_pending_bytes(transport: asyncio.BaseTransport) -> bool:
    """Whether an idle connection has something to read, or is closing."""
    return transport.is_closing() or bool(poll_of(transport)())
