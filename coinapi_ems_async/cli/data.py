"""Values of the client as plain data: the wire's field names, numbers digit for digit, no secrets."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from ..errors import AnswerError, EMSError
from ..models.numbers import number_text
from ..models.reading import Answer
from ..operations import Request
from ..outcomes import Accepted, AttemptRecord, NotSent, Outcome, Rejected, Timing, Unknown, error_of
from ..sites.view import SiteView
from .exits import exit_of_error, sentence

__all__ = ["as_data", "as_json", "error_data", "names", "outcome_data", "request_data", "with_settled"]


def as_json(value: object) -> str:
    """Return one line of JSON; Decimals are plain numbers without exponent."""
    return msgspec.json.encode(as_data(value)).decode()


def as_data(value: Any) -> Any:
    """Return a value as what a JSON encoder takes; secret fields are left out."""
    match value:
        case Decimal():
            return msgspec.Raw(number_text(value).encode())
        case Answer():
            return _answer(value)
        case SiteView():
            return _site(value)
        case AttemptRecord():
            return msgspec.to_builtins(value) | {"milliseconds": round(value.milliseconds, 3)}
        case Timing():
            return _timing(value)
        case datetime():
            return value.isoformat()
        case list() | tuple() | set() | frozenset():
            return [as_data(item) for item in value]
        case dict():
            return {str(key): as_data(item) for key, item in value.items()}
        case _:
            return value


def _answer(value: Answer) -> dict[str, Any]:
    # `unread` holds whatever could not be understood, which may be a secret in a new dress.
    return {
        field.encode_name: as_data(getattr(value, field.name))
        for field in msgspec.structs.fields(value)
        if field.name != "unread" and field.name not in value.hidden
    }


def _site(view: SiteView) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(view)
    del data["samples"]  # their times are this process's own
    if view.latency is not None:
        data["latency"] = round(view.latency, 6)
    return data


def _timing(timing: Timing) -> dict[str, Any]:
    total, trip = timing.total, timing.round_trip
    return {
        "total_milliseconds": None if total is None else round(total * 1000, 3),
        "round_trip_milliseconds": None if trip is None else round(trip * 1000, 3),
    }


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome; anything but accepted also carries `error`."""
    data: dict[str, Any] = {
        "outcome": names(outcome),
        "client_order_id": outcome.client_order_id,
        "site": outcome.site,
        "attempts": outcome.attempts,
        "timing": outcome.timing,
        "message": outcome.message or None,
    }
    match outcome:
        case Accepted():
            data["report"] = outcome.report
        case Rejected():
            data |= {"reason": outcome.reason, "status": outcome.status, "report": outcome.report}
            data["reject_reason"] = outcome.reject_reason
        case NotSent():
            data["reason"] = outcome.reason
        case Unknown():
            data |= {"status": outcome.status, "evidence": [str(one) for one in outcome.evidence]}
    if not isinstance(outcome, Accepted):
        error = error_of(outcome)
        data["error"] = {
            "type": type(error).__name__,
            "message": sentence(error),
            "exit_code": int(exit_of_error(error)),
        }
    return data


def with_settled(data: dict[str, Any], settled: Outcome) -> dict[str, Any]:
    """Return an unknown outcome with what was found out since, which is no error of its own any more."""
    return {name: value for name, value in data.items() if name != "error"} | {"settled": outcome_data(settled)}


def names(outcome: Outcome) -> str:
    """Return the word for how it ended."""
    match outcome:
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case NotSent():
            return "not_sent"
        case Unknown():
            return "unknown"


def error_data(error: EMSError) -> dict[str, Any]:
    """Return an error as the value of `error`."""
    data: dict[str, Any] = {
        "type": type(error).__name__,
        "message": sentence(error),
        "exit_code": int(exit_of_error(error)),
        "client_order_id": error.client_order_id,
        "site": error.site,
        "attempts": error.attempts,
    }
    if isinstance(error, AnswerError):
        data["status"] = error.status
    return data


def request_data(request: Request, *, body: Any = None) -> dict[str, Any]:
    """Return a request as it would be sent; body: what to show in place of a secret one."""
    if body is None and request.body is not None:
        body = msgspec.Raw(request.body)
    return {"method": request.operation.method, "path": request.target, "body": body}
