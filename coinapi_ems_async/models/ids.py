"""Checks of the texts that name things: exchange accounts, orders, symbols."""

import re
import warnings
from os import urandom
from typing import Final

from ..errors import InvalidRequest

__all__ = [
    "CHECKED",
    "UnusualClientOrderId",
    "base_exchange",
    "check_client_order_id",
    "check_id",
    "check_repeated_id",
    "new_client_order_id",
]

MAX_ID: Final = 128
"""Longest id accepted, characters; the longest the service shows is a tagged account of about 50."""

# Seen on the wire: letters, digits and dashes up to 36 characters. Anything else is sent, percent-encoded.
_usual_client_order_id: Final = re.compile(r"[A-Za-z0-9_-]{1,36}").fullmatch
_BASE_EXCHANGE: Final = re.compile(r"[A-Z0-9]+")
_VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))

CHECKED: Final[set[str]] = set()
"""Accounts and symbols that passed `check_id` lately: an order names the same few again and again."""
_MOST_CHECKED: Final = 4_096


class UnusualClientOrderId(UserWarning):
    """A client_order_id outside `[A-Za-z0-9_-]{1,36}`: exchanges may refuse or shorten it."""


def new_client_order_id() -> str:
    """Return a fresh UUID4 as text: 122 random bits (RFC 9562, 5.4).

    Written out: `uuid.uuid4` makes an object on the way, 1 us more for every order, and 4 ms more for the import.
    """
    text = urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:]}"


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
            f"{field} must be printable text, without control characters, line ends or half surrogates, and not "
            f"begin or end with a blank: {value!r}"
        )
    if value in (".", ".."):  # percent-encoding does not protect a dot segment: servers resolve it
        raise InvalidRequest(f"{field} must not be {value!r}, which a path would resolve")
    return value


def check_repeated_id(field: str, value: object) -> None:
    """Check an account or a symbol, and remember it in `CHECKED`. Raises InvalidRequest: as `check_id` does."""
    text = check_id(field, value)
    if len(CHECKED) >= _MOST_CHECKED:
        CHECKED.clear()
    CHECKED.add(str.__str__(text))


def check_client_order_id(value: object, *, stacklevel: int = 3) -> str:
    """Return `value` if it can be a client_order_id; warns `UnusualClientOrderId` if it is an odd one.

    Raises InvalidRequest: as `check_id` does.
    """
    if isinstance(value, str) and _usual_client_order_id(value):
        return value
    text = check_id("client_order_id", value)
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
