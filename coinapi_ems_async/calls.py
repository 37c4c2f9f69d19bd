"""One call over all its attempts, and what it amounts to in the end. Nothing here sends anything."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import operations
from .answers import Reading, error_for, retry_after_seconds
from .errors import EMSError
from .matrix import MATRIX, REJECTED_AS, SUCCESS, UNPROCESSED, Kind, Move, Row
from .models.lifecycle import OrderStatus
from .models.orders import ExecutionReport
from .operations import Request
from .outcomes import (
    Accepted,
    AttemptRecord,
    Evidence,
    NotSent,
    NotSentReason,
    Outcome,
    Rejected,
    RejectedReason,
    Unknown,
)
from .redaction import one_line

if TYPE_CHECKING:
    from .doubts import Doubt
    from .sites.roster import SiteEntry
    from .transport.base import Attempt

__all__ = ["Call", "Try", "outcome_of", "read_error", "settled_as", "settled_late", "with_evidence"]


_NOTHING: Final[frozenset[Any]] = frozenset()


class Try:
    """How one attempt of a call ended."""

    __slots__ = ("_record", "attempt", "entry", "message", "reading", "row")

    def __init__(
        self, entry: "SiteEntry", attempt: "Attempt", row: Row, message: str, reading: Reading | None = None
    ) -> None:
        self.entry = entry
        self.attempt = attempt
        self.row = row
        self.message = message
        self.reading = reading
        # What is settled stays as it is; anything else may yet change, and this try with it.
        self._record = None if attempt.done is not None else attempt.record(message)

    @property
    def record(self) -> AttemptRecord:
        """How the attempt stood when this try ended."""
        if self._record is None:
            self._record = self.attempt.record(None if self.reading is not None else self.message)
        return self._record

    def may_have_executed(self, kind: Kind) -> bool:
        """Whether nothing is proved of a change: the table says so, or it was committed and nobody answered."""
        if MATRIX[self.row].for_kind(kind) in (Move.UNKNOWN, Move.RECHECK):
            return True
        return self.reading is None and self.attempt.committed is not None and self.row not in UNPROCESSED


class Call:
    """One call of the user's; times on the monotonic clock, `not_after` wall-clock, all in seconds."""

    again: "SiteEntry | None"
    """The site to ask next, instead of the best one."""
    doubt: "Doubt | None"
    """Of a new order of unknown outcome: what settles it."""
    given_up: frozenset[str]
    """Sites that were given up once while it waited there for a connection, by URL."""
    number: int | None
    """Of its entry in the journal."""
    outcome: Outcome | None
    """Of a new order that was not taken."""
    report: ExecutionReport | None
    """Of a new order that was taken."""
    spent: frozenset[Move]
    """Moves that a call may make only once, and has made."""
    tried: frozenset[str]
    """Sites that it has been to, by URL."""

    __slots__ = (
        "_tries",
        "_usual_end",
        "again",
        "doubt",
        "given_up",
        "kind",
        "not_after",
        "number",
        "outcome",
        "report",
        "request",
        "spent",
        "started",
        "tried",
        "until",
    )

    # One is made for every order: hardly any ever adds to the three sets, or is asked for its tries.
    def __init__(self, request: Request, started: float, timeout: float, not_after: float | None = None) -> None:
        self.request = request
        self.kind = request.operation.kind
        self.started = started
        self.until = started + timeout
        self.not_after = not_after
        self._tries: list[Try] | None = None
        self._usual_end: tuple[SiteEntry, Attempt] | None = None
        self.again = self.report = self.outcome = self.doubt = self.number = None
        self.tried = self.given_up = self.spent = _NOTHING

    @property
    def tries(self) -> list[Try]:
        """How each attempt ended, oldest first."""
        if self._tries is None:
            self._tries = []
        if self._usual_end is not None:
            entry, attempt = self._usual_end
            self._usual_end = None
            self._tries.append(Try(entry, attempt, SUCCESS, "", attempt.reading))
        return self._tries

    def ended(self, entry: "SiteEntry", attempt: "Attempt") -> None:
        """Note that the last attempt ended in success: it is made a try only for those who ask, which few do."""
        self._usual_end = entry, attempt

    @property
    def sent(self) -> int:
        """Attempts that came past the commit point."""
        return sum(one.attempt.committed is not None for one in self.tries)

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """Every attempt, oldest first."""
        return tuple(one.record for one in self.tries)

    def been_at(self, url: str, row: Row) -> None:
        """Note how an attempt at a site ended: one that was given up meanwhile was not asked, the first time."""
        if row is Row.GIVEN_UP and url not in self.given_up:
            self.given_up |= {url}
        else:
            self.tried |= {url}

    def first_time(self, move: Move) -> bool:
        """Whether the call makes this move for the first time; notes that it has."""
        if move in self.spent:
            return False
        self.spent |= {move}
        return True


def outcome_of(call: Call, *, no_site: Callable[[], str] = str, closing: bool = False) -> Outcome:
    """Return how a change ended: whatever may have executed decides, else the last answer, else the first failure.

    no_site: says why there was no site to try. closing: whether the client was being closed.
    """
    if call.outcome is not None:
        return call.outcome
    last = call.tries[-1] if call.tries else None
    if last is not None and last.row is Row.SUCCESS and len(call.tries) == 1:
        return settled_as(call, last)
    for one in call.tries:
        if one.may_have_executed(call.kind):
            return _unknown(call, one)
    answered = [one for one in call.tries if one.reading is not None]
    if answered:
        return settled_as(call, answered[-1])
    return _not_sent(call, no_site, closing)


def settled_as(call: Call, one: Try) -> Outcome:
    """Return the outcome that one attempt alone amounts to."""
    reading = one.reading
    if reading is not None and reading.row is Row.SUCCESS:
        return _success(call, one, reading)
    if reading is not None and one.row in REJECTED_AS:
        return Rejected(
            **_common(call, one),
            reason=REJECTED_AS[one.row],
            status=reading.status,
            message=reading.message,
            reject_reason=reading.reject.reject_reason if reading.reject else None,
        )
    return _unknown(call, one)


def settled_late(call: Call, one: Try) -> Outcome:
    """Return what the late end of a new order's own attempt amounts to.

    That it was not processed is proved then too, unless another attempt of the call may have been.
    """
    others = (other for other in call.tries if other.attempt is not one.attempt)
    if one.row not in UNPROCESSED or any(other.may_have_executed(call.kind) for other in others):
        return settled_as(call, one)
    return NotSent(**_common(call, one), reason=NotSentReason.NOT_PROCESSED, message=one.message)


def _success(call: Call, one: Try, reading: Reading) -> Outcome:
    value = reading.value
    if not isinstance(value, ExecutionReport):
        return Accepted(**_common(call, one), message=value.message)
    if value.status is OrderStatus.REJECTED and call.kind is Kind.NEW_ORDER:
        return Rejected(
            **_common(call, one),
            reason=RejectedReason.EXCHANGE,
            status=reading.status,
            message=one_line(value.error_message or ""),
            report=value,
        )
    return Accepted(**_common(call, one), report=value)


def _unknown(call: Call, one: Try) -> Unknown:
    status = one.reading.status if one.reading else None
    evidence = Evidence(what=one.message, site=one.entry.site.id, at=monotonic(), status=status)
    return Unknown(**_common(call, one), evidence=(evidence,), message=one.message, status=status)


def with_evidence(outcome: Unknown, what: str, call: Call) -> Unknown:
    """Return the outcome with one more observation and the attempts made since."""
    evidence = (*outcome.evidence, Evidence(what=what, at=monotonic()))
    return msgspec.structs.replace(outcome, attempts=call.records, evidence=evidence)


def _common(call: Call, one: Try) -> dict[str, Any]:
    answer = one.attempt.answer
    return {
        "client_order_id": call.request.client_order_id,
        "site": one.entry.site.id,
        "attempts": call.records if len(call.tries) > 1 else (one.record,),
        "timing": one.attempt.timing(call.started),
        "raw": answer.body if answer else b"",
    }


def _not_sent(call: Call, no_site: Callable[[], str], closing: bool) -> NotSent:
    failed = [one for one in call.tries if one.row is not Row.ABANDONED] or call.tries
    first = failed[0] if failed else None
    return NotSent(
        client_order_id=call.request.client_order_id,
        site=first.entry.site.id if first else None,
        attempts=call.records,
        timing=first.attempt.timing(call.started) if first else None,
        reason=_not_sent_reason(call, closing),
        message=first.message if first else no_site(),
    )


def _not_sent_reason(call: Call, closing: bool) -> NotSentReason:
    last = call.tries[-1] if call.tries else None
    if last is None:
        return NotSentReason.NOT_ROUTABLE
    if last.row is Row.LATE:
        return NotSentReason.NOT_AFTER
    if last.row in UNPROCESSED:
        return NotSentReason.NOT_PROCESSED
    if closing:
        return NotSentReason.ABANDONED
    over = last.row in (Row.ABANDONED, Row.POOL_WAIT) or monotonic() >= call.until
    return NotSentReason.DEADLINE if over else NotSentReason.NO_CONNECTION


def read_error(call: Call, *, no_site: Callable[[], str]) -> EMSError:
    """Return what a failed read raises: the last answer of a server, else the first failure."""
    context: dict[str, Any] = {"client_order_id": call.request.client_order_id, "attempts": call.records}
    if not call.tries:
        return error_for(call.request, Row.NO_SITE, no_site(), **context)
    answered = [one for one in call.tries if one.reading is not None]
    one = answered[-1] if answered else call.tries[0]
    reading, attempt = one.reading, one.attempt
    return error_for(
        call.request,
        one.row,
        _not_found(answered) if _is_status_miss(call, one) else one.message,
        status=reading.status if reading else 0,
        raw=attempt.answer.body if attempt.answer else b"",
        shown=attempt.shown_body(),
        retry_after=retry_after_seconds(reading.retry_after, datetime.now(UTC)) if reading else None,
        site=one.entry.site.id,
        phase=one.record.phase,
        **context,
    )


def _is_status_miss(call: Call, one: Try) -> bool:
    return one.row is Row.NOT_KNOWN_HERE and call.request.operation is operations.ORDER_STATUS


def _not_found(answered: list[Try]) -> str:
    asked = ", ".join(dict.fromkeys(one.entry.site.id for one in answered))
    return f"not known there: asked {asked}, which proves nothing: it may be on its way, or known elsewhere"
