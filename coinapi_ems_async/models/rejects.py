"""Bodies of refusals, in every shape on record (EMS REST, MessageReject, ValidationError, MessageError)."""

from typing import Any, ClassVar

from .enums import RejectReason
from .reading import Answer, AnswerReader, Undecodable, number, open_enum, plain, plain_json, text

__all__ = ["MessageReject", "Problem", "read_problem", "refusal_text"]


class MessageReject(Answer, frozen=True, kw_only=True):
    """The service's own refusal; cancel-all is acknowledged in the same shape (EMS REST, MessageReject).

    `rejected_message` is the refused request as text, byte for byte.
    """

    type: str | None = None
    reject_reason: RejectReason | None = None
    exchange_id: str | None = None
    message: str | None = None
    rejected_message: str | None = None
    severity: str | None = None

    readers: ClassVar = {
        "type": text,
        "reject_reason": open_enum(RejectReason),
        "exchange_id": text,
        "message": text,
        "rejected_message": text,
        "severity": text,
    }

    @property
    def is_reject(self) -> bool:
        """Whether the body is the service's own refusal rather than any other JSON object."""
        return self.reject_reason is not None or self.type == "MESSAGE_REJECT"


class Problem(Answer, frozen=True, kw_only=True):
    """The web framework's refusal of malformed input (EMS REST, ValidationError).

    `errors` is what the service found, by field; documented as a text, sent as an object of lists (C-15).
    """

    type: str | None = None
    title: str | None = None
    status: Any = None
    traceId: str | None = None  # noqa: N815  # the wire's name
    errors: Any = None
    detail: str | None = None

    readers: ClassVar = {
        "type": text,
        "title": text,
        "status": number,
        "traceId": text,
        "errors": plain,
        "detail": text,
    }


def read_problem(body: bytes) -> Problem | None:
    """Return the framework's refusal in `body`, None if it is none."""
    try:
        problem = _PROBLEMS.one(body)
    except Undecodable:
        return None
    return problem if problem.errors is not None or problem.title is not None else None


_PROBLEMS = AnswerReader(Problem)

_TEXT_FIELDS = ("message", "detail", "error", "title", "errors")


def refusal_text(body: bytes) -> str:
    """Return the human-readable reason in a refusal's body, as long as it is; empty if there is none.

    The first of message, detail, error, title, errors that says something, else the text itself (C-14, U-11).
    """
    try:
        return _reason(plain_json(body))
    except Exception:  # any body is allowed here, of any depth; it is shown as it is
        return body.decode("utf-8", "replace").strip()


def _reason(data: Any) -> str:
    if isinstance(data, dict):
        if data.get("errors") and not data.get("message"):
            return _joined((data.get("title"), data["errors"]))
        data = next((data[field] for field in _TEXT_FIELDS if data.get(field)), "")
    return _joined((data,))


def _joined(parts: Any) -> str:
    return ": ".join(filter(None, (_said(plain(part)) for part in parts)))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_said(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return "" if value is None else str(value)
