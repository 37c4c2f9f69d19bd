"""Numbers as Decimal, digit for digit, whatever the global decimal context says.

Limits, in and out: finite, at most 64 digits, exponent between -64 and 64. They are far beyond any price or
amount (the service's own type, .NET decimal, holds 28 digits), and they keep a hostile `1e99999999` from
becoming a hundred megabytes of text.
"""

import math
import re
from decimal import Clamped, Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow, Rounded
from typing import Final

from ..errors import InvalidRequest

__all__ = [
    "NUMERIC_TEXT",
    "check_number",
    "decimal_of_literal",
    "is_positive",
    "number_text",
    "read_number",
    "shown",
    "to_decimal",
    "usual_number",
]

MAX_DIGITS: Final = 64
MAX_EXPONENT: Final = 64

NUMERIC_TEXT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""What a number in a string may look like; Decimal itself also takes `NaN`, `1_000`, blanks, other digits."""

_usual_text: Final = re.compile(r"[0-9]{1,32}(?:\.[0-9]{1,32})?").fullmatch

# 64 digits + "-", ".", "e-64": longer texts cannot be within the limits, bar padding with zeros.
_MAX_TEXT: Final = 2 * (MAX_DIGITS + MAX_EXPONENT)

# The limits as a context whose every deviation is an exception: precision traps the 65th digit, Emin makes
# -64 the smallest exponent, and Emax with clamping makes 64 the largest. Decoding through it costs nothing.
_LIMITS: Final = Context(
    prec=MAX_DIGITS,
    Emin=-1,
    Emax=MAX_EXPONENT + MAX_DIGITS - 1,
    clamp=1,
    traps=[Rounded, Inexact, Overflow, Clamped, InvalidOperation],
)
_within_limits: Final = _LIMITS.plus

_ZERO: Final = Decimal(0)
_BEYOND: Final = Decimal(f"1E+{MAX_EXPONENT + MAX_DIGITS}")

decimal_of_literal: Final = _LIMITS.create_decimal
"""JSON number literal -> Decimal, the decoder's `float_hook`; a DecimalException outside the limits."""


def check_number(value: object) -> Decimal:
    """Return a number that JSON decoding made (Decimal or int) as Decimal.

    Raises ValueError: if it is anything else or outside the limits.
    """
    if type(value) is not Decimal:
        if type(value) is not int:
            raise ValueError("not a number")
        value = _from_int(value)
    try:
        _within_limits(value)
    except DecimalException:
        raise ValueError("the number is outside 64 digits or an exponent of 64") from None
    if not value.is_finite():
        raise ValueError("the number is not finite")
    return value


def is_positive(value: Decimal) -> bool:
    """Whether a Decimal is above zero, finite and within the limits."""
    try:
        return _ZERO < _within_limits(value) < _BEYOND
    except DecimalException:  # outside the limits, or not a number
        return False


def read_number(text: str) -> Decimal:
    """Return the number in a JSON literal or a numeric string.

    Raises ValueError: if it does not look like a number or is outside the limits.
    """
    if len(text) > _MAX_TEXT or not NUMERIC_TEXT.fullmatch(text):
        raise ValueError("not a number")
    try:
        return decimal_of_literal(text)
    except DecimalException:
        raise ValueError("the number is outside 64 digits or an exponent of 64") from None


def number_text(value: Decimal) -> str:
    """Return the number as a plain JSON number: no exponent, every digit kept."""
    return format(value, "f")


def usual_number(value: object) -> Decimal | None:
    """Return the number in a text as most people write one, above zero; None if it takes a closer look."""
    if type(value) is str and _usual_text(value):
        return Decimal(value) or None
    return None


def to_decimal(field: str, value: object) -> Decimal:
    """Return what a caller passed as a number: Decimal, int, or a numeric string.

    Raises InvalidRequest: if it is a float, not a number, not finite, or outside the limits.
    """
    if isinstance(value, float) and math.isfinite(value):
        text = float.__repr__(value)  # a subclass, such as numpy's, would show its own name
        raise InvalidRequest(
            f"{field} is the float {text}, which may not be the number that was meant: "
            f'write {field}=Decimal("{text}") or {field}="{text}"'
        )
    try:
        if isinstance(value, Decimal):
            return check_number(value if type(value) is Decimal else Decimal(value))
        if isinstance(value, str):
            return read_number(value)
        return check_number(value)
    except ValueError as error:
        raise InvalidRequest(
            f"{field} must be a finite Decimal, int or numeric string of at most 64 digits with an exponent "
            f"between -64 and 64, got {shown(value)} ({error})"
        ) from None


def shown(value: object) -> str:
    """Return a short repr of anything for an error message; never raises, as repr of a huge int does."""
    try:
        return repr(value)[:80]
    except Exception:
        return f"a value of type {type(value).__name__}"


def _from_int(value: int) -> Decimal:
    if value.bit_length() > 256:  # 78 digits: Decimal of a huge int would take seconds before the check
        raise ValueError("the number is outside 64 digits or an exponent of 64")
    return Decimal(value)
