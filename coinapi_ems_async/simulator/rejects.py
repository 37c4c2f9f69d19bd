"""Bodies that say no: the framework's validation problem and the service's MessageReject."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from coinapi_ems_async.models.enums import RejectReason

from .messages import JSON, Answer, Request, json_answer
from .variants import Variants

PROBLEM: Final = "application/problem+json; charset=utf-8"
_REJECT_TYPES: Final = {"normal": JSON, "typo": "appliction/json", "problem": PROBLEM}
_SECTION: Final = "https://tools.ietf.org/html/rfc9110#section-15.5."

Errors = Mapping[str, Sequence[str]]


def problem(status: int, title: str, section: str, **more: Any) -> Answer:
    """Return the framework's problem document; `section` is the status' place in RFC 9110, 15.5."""
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    body = {"type": _SECTION + section, "title": title, "status": status, "traceId": trace, **more}
    return json_answer(body, status=status, content_type=PROBLEM)


def validation_problem(errors: Errors, variants: Variants, status: int = 400) -> Answer:
    """Return the 400 of a request with bad fields (EMS REST, ValidationError; protocol C-15)."""
    shapes: dict[str, dict[str, Any]] = {
        "object": {"errors": {name: list(texts) for name, texts in errors.items()}},
        "string": {"errors": " ".join(f"{name}: {text}" for name, texts in errors.items() for text in texts)},
        "list": {"errors": [text for texts in errors.values() for text in texts]},
        "absent": {},
    }
    return problem(status, "One or more validation errors occurred.", "1", **shapes[variants.errors])


def unsupported_media_type() -> Answer:
    """Return the framework's 415."""
    return problem(415, "Unsupported Media Type", "16")


def message_reject(
    request: Request,
    variants: Variants,
    status: int,
    reason: RejectReason,
    exchange_id: str | None,
    message: str,
) -> Answer:
    """Return a MessageReject; `rejected_message` is the request body byte for byte (EMS REST)."""
    body = {
        "type": "MESSAGE_REJECT",
        "reject_reason": reason.value,
        "exchange_id": exchange_id,
        "message": message,
        "rejected_message": request.body.decode("utf-8", "replace") or None,
    }
    if variants.nulls != "null":
        body = {name: value for name, value in body.items() if value is not None}
    return json_answer(body, status=status, content_type=_REJECT_TYPES[variants.content_type])


def unreachable(request: Request, variants: Variants, exchange_id: str) -> Answer:
    """Return the 490 of an exchange that is down or not registered (EMS REST; protocol C-37)."""
    text = f"Exchange {exchange_id} is unreachable"
    return message_reject(request, variants, 490, RejectReason.EXCHANGE_UNREACHABLE, exchange_id, text)
