"""From (status, headers, body) of a complete answer to a value, a rejection, or unknown. No input or output.

Bodies are read by their content, never by the declared type (protocol C-14: the service's documentation
spells it `appliction/json`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from .errors import (
    AnswerError,
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    EMSError,
    ExchangeUnreachable,
    HistoryNotConfigured,
    NotFound,
    NotRoutable,
    OrderNotFound,
    RateLimited,
    ServerFailed,
    UnexpectedAnswer,
    ValidationFailed,
)
from .matrix import REJECTED_AS, SUCCESS, Kind, Row
from .models.enums import RejectReason
from .models.orders import ExecutionReport
from .models.reading import AnswerReader, Undecodable
from .models.rejects import MessageReject, refusal_text
from .operations import ACCOUNT_SAVE, ORDER_STATUS, ORDERS_HISTORY, ORDERS_OPEN, Request
from .redaction import NOTHING_HIDDEN, Redaction

__all__ = ["ERROR_CLASSES", "Reading", "Verdict", "read_answer", "retry_after_seconds"]

_REJECTS: Final = AnswerReader(MessageReject)


class Verdict(Enum):
    """What a complete answer amounts to."""

    VALUE = "value"
    REJECTION = "rejection"
    UNKNOWN = "unknown"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer, understood: `row` says how the attempt ended, `value` is a success's.

    `message` is the server's reason in words, on one line; `reject` its MessageReject if the body was one,
    `retry_after` the header as it came.
    """

    row: Row
    status: int
    value: Any = None
    message: str = ""
    reject: MessageReject | None = None
    retry_after: str | None = None

    def __repr__(self) -> str:  # the value may be a private key
        return f"Reading({self.row.name}, HTTP {self.status}, {self.message!r})"

    def __rich_repr__(self) -> Iterable[tuple[str, Any]]:  # type: ignore[override]  # msgspec types it narrower
        yield "row", self.row
        yield "status", self.status
        yield "message", self.message

    @property
    def verdict(self) -> Verdict:
        """Value, rejection, or unknown; a report of status REJECTED is a value here."""
        if self.row is Row.SUCCESS:
            return Verdict.VALUE
        return Verdict.REJECTION if self.row in REJECTED_AS else Verdict.UNKNOWN


def read_answer(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    redaction: Redaction = NOTHING_HIDDEN,
) -> Reading:
    """Read a complete answer to `request`; `headers` has lower-case names. Never raises.

    redaction: what must not stand in the server's words, though it may say it.
    """
    if 200 <= status < 300:
        return _success(request, status, body, redaction)
    reject = _reject(body)
    row = _cloud_row(request, status) if request.operation.is_cloud else _ems_row(status, reject)
    message = redaction.line((reject.message if reject else None) or refusal_text(body))
    reject = _shown_reject(reject, redaction) if reject is not None else None
    return Reading(row=row, status=status, message=message, reject=reject, retry_after=headers.get("retry-after"))


def _success(request: Request, status: int, body: bytes, redaction: Redaction) -> Reading:
    try:
        value = request.operation.decode(body)
    except Undecodable as error:
        said = redaction.line(f"{Row.UNREADABLE.value}: {error}")
        return Reading(row=Row.UNREADABLE, status=status, message=said)
    if isinstance(value, ExecutionReport):
        if value.error_message is not None:
            value = _shown_report(value, redaction)
        if value.client_order_id == request.client_order_id and request.exchange_order_id is None:
            return Reading(row=SUCCESS, status=status, value=value)
        row = _report_row(request, value)
        said = "" if row is Row.SUCCESS else redaction.line(f"the answer is about {value.client_order_id!r}")
        return Reading(row=row, status=status, value=value, message=said)
    if request.kind is Kind.CANCEL_ALL:
        return _acknowledged(_shown_reject(value, redaction), status, body, redaction)
    if request.operation is ORDERS_OPEN:
        value = [report if report.error_message is None else _shown_report(report, redaction) for report in value]
    return Reading(row=SUCCESS, status=status, value=value)


def _acknowledged(value: MessageReject, status: int, body: bytes, redaction: Redaction) -> Reading:
    """A cancel-all's success is one unless it gives a reason for refusing (protocol C-1)."""
    if value.reject_reason:
        row, message = _ems_row(400, value), redaction.line(value.message or refusal_text(body))
        return Reading(row=row, status=status, message=message, reject=value)
    if "reject_reason" in value.unread:
        return Reading(row=Row.UNREADABLE, status=status, message="the reject_reason cannot be read")
    return Reading(row=SUCCESS, status=status, value=value)


def _shown_report(report: ExecutionReport, redaction: Redaction) -> ExecutionReport:
    """The report without secrets in its words."""
    said = redaction.text(report.error_message or "")
    return report if said == report.error_message else replace(report, error_message=said)


def _shown_reject(reject: MessageReject, redaction: Redaction) -> MessageReject:
    """The service's refusal without secrets in what outcomes show of it."""
    reason = reject.reject_reason
    if reason is not None and not reason.is_known:
        reason = RejectReason(redaction.line(reason))
    message = None if reject.message is None else redaction.line(reject.message)
    return replace(reject, reject_reason=reason, message=message)


def _report_row(request: Request, report: ExecutionReport) -> Row:
    """A report of another order than was asked for means that the connection is out of step."""
    asked = request.client_order_id
    if asked is not None and report.client_order_id != asked:
        return Row.OUT_OF_STEP
    asked = request.exchange_order_id
    if asked is not None and report.exchange_order_id not in (None, asked):
        return Row.OUT_OF_STEP
    return Row.SUCCESS


def _reject(body: bytes) -> MessageReject | None:
    try:
        reject = _REJECTS.one(body)
    except Undecodable:
        return None
    return reject if reject.is_reject else None


_EMS_ROWS: Final[Mapping[int, Row]] = {
    307: Row.REDIRECT_KEEPING,
    308: Row.REDIRECT_KEEPING,
    400: Row.VALIDATION,
    401: Row.AUTHENTICATION,
    403: Row.AUTHENTICATION,
    404: Row.NOT_ROUTED,
    405: Row.NOT_ROUTED,
    421: Row.MISDIRECTED,
    429: Row.RATE_LIMITED,
    490: Row.EXCHANGE_UNREACHABLE,
    500: Row.SERVER_ERROR,
    502: Row.UNAVAILABLE,
    503: Row.UNAVAILABLE,
    504: Row.GATEWAY_TIMEOUT,
}


def _by_status(status: int, rows: Mapping[int, Row]) -> Row:
    if (row := rows.get(status)) is not None:
        return row
    if 300 <= status < 400:
        return Row.REDIRECT
    return Row.OTHER_REFUSAL if 400 <= status < 500 else Row.OTHER_FAILURE


def _ems_row(status: int, reject: MessageReject | None) -> Row:
    """The service's own reason counts for more than the code it came with (protocol C-16, U-6, U-27)."""
    if reject is not None and status < 500:
        if reject.reject_reason == RejectReason.EXCHANGE_RESPONSE_TIMEOUT:
            return Row.EXCHANGE_TIMEOUT  # whatever the code says, the exchange may have the order
        if reject.reject_reason == RejectReason.EXCHANGE_UNREACHABLE:
            return Row.EXCHANGE_UNREACHABLE
        if reject.reject_reason == RejectReason.ORDER_ID_NOT_FOUND or status == 404:
            return Row.NOT_KNOWN_HERE
    if reject is not None and status == 504:
        return Row.EXCHANGE_TIMEOUT
    return _by_status(status, _EMS_ROWS)


_CLOUD_ROWS: Final[Mapping[int, Row]] = {**_EMS_ROWS, 404: Row.NOT_KNOWN_HERE, 422: Row.VALIDATION}
_CLOUD_ROWS_OF_SAVE: Final[Mapping[int, Row]] = {**_CLOUD_ROWS, 405: Row.VALIDATION}


def _cloud_row(request: Request, status: int) -> Row:
    """405 is validation only where the service documents it so: on saving an account (protocol C-18)."""
    saving = request.operation is ACCOUNT_SAVE
    return _by_status(status, _CLOUD_ROWS_OF_SAVE if saving else _CLOUD_ROWS)


def retry_after_seconds(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, from whole seconds or an HTTP date (C-27).

    None if it is absent or unreadable; never negative.
    """
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    from email.utils import parsedate_to_datetime  # 5 ms that hardly anybody needs

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - now).total_seconds())


ERROR_CLASSES: Final[Mapping[Row, Callable[..., EMSError]]] = {
    Row.NO_SITE: NotRoutable,
    Row.NAME_LOOKUP: ConnectFailed,
    Row.REFUSED: ConnectFailed,
    Row.CONNECT_TIMEOUT: ConnectFailed,
    Row.TLS_VERIFICATION: ConnectFailed,
    Row.TLS_HANDSHAKE: ConnectFailed,
    Row.POOL_WAIT: DeadlineExceeded,
    Row.GIVEN_UP: ConnectFailed,
    Row.STALE_CONNECTION: ConnectFailed,
    Row.ABANDONED: DeadlineExceeded,
    Row.LATE: DeadlineExceeded,
    Row.LOST: ConnectionLost,
    Row.LOST_REUSED: ConnectionLost,
    Row.NO_ANSWER: DeadlineExceeded,
    Row.CUT_ANSWER: ConnectionLost,
    Row.MALFORMED: ConnectionLost,
    Row.GOAWAY_UNPROCESSED: ConnectionLost,
    Row.GOAWAY_LOST: ConnectionLost,
    Row.REFUSED_STREAM: ConnectionLost,
    Row.STREAM_RESET: ConnectionLost,
    Row.UNREADABLE: UnexpectedAnswer,
    Row.OUT_OF_STEP: UnexpectedAnswer,
    Row.REDIRECT_KEEPING: UnexpectedAnswer,
    Row.REDIRECT: UnexpectedAnswer,
    Row.VALIDATION: ValidationFailed,
    Row.AUTHENTICATION: AuthenticationFailed,
    Row.NOT_KNOWN_HERE: NotFound,
    Row.NOT_ROUTED: NotFound,
    Row.MISDIRECTED: UnexpectedAnswer,
    Row.RATE_LIMITED: RateLimited,
    Row.EXCHANGE_UNREACHABLE: ExchangeUnreachable,
    Row.SERVER_ERROR: ServerFailed,
    Row.UNAVAILABLE: ServerFailed,
    Row.EXCHANGE_TIMEOUT: ServerFailed,
    Row.GATEWAY_TIMEOUT: ServerFailed,
    Row.OTHER_REFUSAL: UnexpectedAnswer,
    Row.OTHER_FAILURE: ServerFailed,
}
"""What a read or a management call raises, by how its last attempt ended."""


def error_for(request: Request, row: Row, message: str, **context: Any) -> EMSError:
    """Return the exception for a read or a management call that ended in `row`.

    context: keywords of AnswerError (`status`, `raw`, ...) and of EMSError (`site`, `attempts`, ...).
    """
    cls: Any = ERROR_CLASSES[row]
    if request.operation is ORDER_STATUS and row is Row.NOT_KNOWN_HERE:
        cls = OrderNotFound
    elif request.operation is ORDERS_HISTORY and row is Row.VALIDATION and _is_message_error(context):
        cls = HistoryNotConfigured
    if not issubclass(cls, AnswerError):
        context = {key: value for key, value in context.items() if key not in ("status", "raw", "shown")}
    if cls is not RateLimited:
        context.pop("retry_after", None)
    said = message if message.startswith(row.value) else ": ".join(filter(None, (row.value, message)))
    status: int = context.get("status") or 0
    if status:
        said = f"HTTP {status}, {said}"
    if status in _ADVICE:
        said = f"{said.rstrip('.')}; {_ADVICE[status]}"
    path = request.target.partition("?")[0]
    error: EMSError = cls(f"{request.operation.method} {path}: {said}", **context)
    return error


_ADVICE: Final = {
    401: "check the API key (a fresh one may take some minutes to be known everywhere)",
    403: "the key is known, but its plan, quota or rights forbid this: see the customer portal",
}


def _is_message_error(context: Mapping[str, Any]) -> bool:
    """A bare `{message}` says that there is no order log; other refusals have a shape of their own."""
    try:
        data = msgspec.json.decode(context.get("raw", b""))
    except Exception:  # whatever it is, it is not that
        return False
    return isinstance(data, dict) and "message" in data and not {"errors", "reject_reason"} & data.keys()
