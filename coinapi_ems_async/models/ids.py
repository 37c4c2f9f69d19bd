"""Checks of the texts that name things: exchange accounts, orders, symbols."""

import re
import warnings
from os import urandom
from typing import Final

from ..errors import InvalidRequest

__all__ = [
    "UnusualClientOrderId",
    "base_exchange",
    "check_client_order_id",
    "check_id",
    "new_client_order_id",
]

MAX_ID: Final = 128
"""Longest id accepted, characters; the longest the service shows is a tagged account of about 50."""

# Seen on the wire: letters, digits and dashes up to 36 characters. Anything else is sent, percent-encoded.
_USUAL_CLIENT_ORDER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
_BASE_EXCHANGE: Final = re.compile(r"[A-Z0-9]+")


class UnusualClientOrderId(UserWarning):
    """A client_order_id outside `[A-Za-z0-9_-]{1,36}`: exchanges may refuse or shorten it."""


def new_client_order_id() -> str:
    """Return a fresh UUID4 as text: 122 random bits (RFC 9562, 5.4).

    Written out: `uuid.uuid4` makes an object on the way, 1 us more for every order, and 4 ms more for the import.
    """
    text = urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def check_id(field: str, value: object) -> str:
    """Return `value` if it can name something on the wire.

    Raises InvalidRequest: if it is not text, empty, over 128 characters, a dot segment, begins or ends with a
    blank, or holds a control character, a line end or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"{field} must be text, got {type(value).__name__}")
    if not value or len(value) > MAX_ID:
        raise InvalidRequest(f"{field} must have 1 to {MAX_ID} characters, got {len(value)}")
    if not value.isprintable() or value != value.strip():
        raise InvalidRequest(
            f"{field} must not hold control characters or line ends, nor begin or end with a blank: {value!r}"
        )
    if value in (".", ".."):  # percent-encoding does not protect a dot segment: servers resolve it
        raise InvalidRequest(f"{field} must not be {value!r}, which a path would resolve")
    return value


def check_client_order_id(value: object, *, stacklevel: int = 3) -> str:
    """Return `value` if it can be a client_order_id; warns `UnusualClientOrderId` if it is an odd one.

    Raises InvalidRequest: as `check_id` does.
    """
    text = check_id("client_order_id", value)
    if not _USUAL_CLIENT_ORDER_ID.fullmatch(text):
        warnings.warn(
            f"client_order_id {text!r} is outside [A-Za-z0-9_-]{{1,36}}; it is sent as it is, "
            "but the exchange may refuse or shorten it",
            UnusualClientOrderId,
            stacklevel=stacklevel,
        )
    return text


def base_exchange(exchange_id: str) -> str | None:
    """Return the exchange's name without account tag (`KRAKEN` of `KRAKEN/JOHN`), None if there is none.

    Exchange names are upper-case letters and digits; the first other character begins the tag
    (EMS guide, account tags).
    """
    match = _BASE_EXCHANGE.match(exchange_id)
    return match.group() if match else None
