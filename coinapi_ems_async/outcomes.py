"""How an order call ended, as a value: `Accepted | Rejected | NotSent | Unknown`.

The first three come with proof; `Unknown` comes with the evidence there is. Which failure leads to which is
decided by the table in `matrix.py`.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import OrderError, OrderNotSent, OrderRejected, OrderUnknown

if TYPE_CHECKING:
    from .models.enums import RejectReason
    from .models.orders import ExecutionReport

__all__ = [
    "Accepted",
    "AttemptRecord",
    "Evidence",
    "NotSent",
    "NotSentReason",
    "Outcome",
    "Phase",
    "Rejected",
    "RejectedReason",
    "Timing",
    "Unknown",
    "error_of",
]


class Phase(StrEnum):
    """How far an attempt came; from COMMITTED on the server may have acted."""

    WAITING = "waiting"
    """For a connection; nothing sent, and an attempt that ends here never sent anything."""
    COMMITTED = "committed"
    """The first byte was about to leave; it may or may not have arrived."""
    ANSWERING = "answering"
    """The answer began to arrive."""
    ANSWERED = "answered"
    """A complete response arrived."""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One try of a call at one site: how far it came and how long it took, milliseconds."""

    site: str
    phase: Phase
    milliseconds: float
    failure: str | None = None
    status: int | None = None
    connection: int | None = None
    reused: bool = False

    def __str__(self) -> str:
        ended = f"HTTP {self.status}" if self.status is not None else self.failure or self.phase
        return f"{self.site}: {ended} after {self.milliseconds:.1f} ms ({self.phase})"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When the deciding attempt, made at `site`, passed each point, seconds of `time.monotonic`.

    `started` is when the call began, `connected` when it had a connection; `reused` tells whether that had
    carried a request before. A point that was never reached is None.
    """

    started: float
    site: str | None = None
    reused: bool = False
    connected: float | None = None
    committed: float | None = None
    first_byte: float | None = None
    done: float | None = None
    decoded: float | None = None

    @property
    def total(self) -> float | None:
        """Seconds from the call to its decoded answer; None if there was none."""
        return None if self.decoded is None else self.decoded - self.started

    @property
    def queued(self) -> float | None:
        """Seconds from the call to its connection; None if it had none."""
        return None if self.connected is None else self.connected - self.started

    @property
    def round_trip(self) -> float | None:
        """Seconds from the first byte sent to the complete answer; None if there was none."""
        return None if self.done is None or self.committed is None else self.done - self.committed


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about an unknown outcome: one observation, `at` in seconds of `time.monotonic`."""

    what: str
    site: str | None = None
    at: float | None = None
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.site}: {self.what}" if self.site else self.what


class RejectedReason(StrEnum):
    """Why the service refused; each is positive evidence."""

    EXCHANGE = "exchange"
    """The exchange or the EMS answered with a report of status REJECTED."""
    VALIDATION = "validation"
    AUTHENTICATION = "authentication"
    NOT_KNOWN_HERE = "not known here"
    """Of a cancel: the site does not know the order; another may."""
    NOT_ROUTED = "not routed"
    """The address does not exist there."""
    RATE_LIMITED = "rate limited"
    EXCHANGE_UNREACHABLE = "exchange unreachable"
    NOT_FOLLOWED = "redirect not followed"
    REFUSED = "refused"
    """Any other refusal, see `status` and `message`."""


class NotSentReason(StrEnum):
    """Why nothing was sent."""

    DUPLICATE = "duplicate"
    """An order with this client_order_id is in flight, unresolved, or was taken before, in this client."""
    NOT_ROUTABLE = "not routable"
    """No site serves the exchange account."""
    NO_CONNECTION = "no connection"
    """Every site that could serve it was tried, and none could be reached."""
    DEADLINE = "deadline"
    """The call's time was over before a connection was ready."""
    NOT_AFTER = "not after"
    """The caller's `not_after`, or the order's own `expire_time`, had passed at the commit point."""
    NOT_PROCESSED = "not processed"
    """It was sent, and every server that had it proved that it did nothing with it (HTTP/2)."""
    JOURNAL = "journal"
    """The client keeps a journal, and could not record the order in it."""
    ABANDONED = "abandoned"
    """The caller stopped waiting, or the client was closed, before the commit point."""


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    client_order_id: str | None
    site: str | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    timing: Timing | None = None
    raw: bytes = b""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Any:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "raw" and value not in (None, (), ""):
                yield name, value


class Accepted(_Outcome, frozen=True, kw_only=True):
    """The service took the request; `report` is the order as it knew it then, seldom its final state.

    After `cancel_all` there is no report and `message` holds the service's words; it acknowledges the
    request and does not prove that every order is canceled: read the open orders.
    """

    report: "ExecutionReport | None" = None
    message: str | None = None


class Rejected(_Outcome, frozen=True, kw_only=True):
    """The service or the exchange refused; `status` is the HTTP code, `report` the exchange's if there is one."""

    reason: RejectedReason
    status: int
    message: str = ""
    reject_reason: "RejectReason | None" = None
    report: "ExecutionReport | None" = None


class NotSent(_Outcome, frozen=True, kw_only=True):
    """Nothing was executed: no byte of the request left this process, or the server proved it (NOT_PROCESSED)."""

    reason: NotSentReason
    message: str = ""


class Unknown(_Outcome, frozen=True, kw_only=True):
    """The request may have been executed; never send it again because of this.

    `open_orders`, of a cancel-all: what was open right after it, None if that could not be read.
    """

    evidence: tuple[Evidence, ...] = ()
    message: str = ""
    status: int | None = None
    open_orders: "tuple[ExecutionReport, ...] | None" = None


Outcome = Accepted | Rejected | NotSent | Unknown


def error_of(outcome: Rejected | NotSent | Unknown) -> OrderError:
    """Return the exception that `place` and `cancel` raise for the outcome."""
    if isinstance(outcome, Rejected):
        said = f": {outcome.message}" if outcome.message else ""
        return OrderRejected(f"rejected ({outcome.reason}, HTTP {outcome.status}){said}", outcome=outcome)
    if isinstance(outcome, NotSent):
        return OrderNotSent(f"not sent ({outcome.reason}): {outcome.message}", outcome=outcome)
    advice = "await ems.orders.resolve(client_order_id)" if outcome.client_order_id else "read the open orders"
    return OrderUnknown(
        f"outcome unknown ({outcome.message}); it may have been executed: do not send it again, {advice}",
        outcome=outcome,
    )
