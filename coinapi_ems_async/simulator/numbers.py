"""Exact numbers: Decimal in and out, digit for digit, whatever the global decimal context says."""

from collections.abc import Callable, Mapping
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    localcontext,
)
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

ZERO: Final = Decimal(0)
MAX_DIGITS: Final = 29
"""Digits before and after the point that the service's number type can hold; more is a bad request."""

# Wide enough that no sum or product of numbers within MAX_DIGITS is ever rounded.
_EXACT: Final = Context(
    prec=160,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
_RATIO: Final = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)

P = ParamSpec("P")
R = TypeVar("R")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Make every Decimal operator inside `function` exact, independent of the caller's context."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        """`function`, in the exact context."""
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return inside


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Return the quotient with at most 28 significant digits, half even."""
    return _RATIO.divide(numerator, denominator)


def plain(value: Decimal) -> str:
    """Return the digits of `value` without an exponent."""
    return format(value, "f")


def fits(value: Decimal) -> bool:
    """Whether `value` is finite and small enough for the service's number type."""
    if not value.is_finite():
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_DIGITS and value.adjusted() < MAX_DIGITS


def read_json(body: bytes) -> Any:
    """Decode JSON, fractions as Decimal with all their digits.

    Raises ValueError: if `body` is not one JSON document in UTF-8.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, ArithmeticError) as error:
        raise ValueError(f"not a JSON document: {type(error).__name__}") from None


def write_json(value: Any) -> bytes:
    """Encode `value` compactly, each Decimal as a plain JSON number."""
    return msgspec.json.encode(_raw(value))


def _raw(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.Raw(plain(value).encode())
    if isinstance(value, Mapping):
        return {key: _raw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_raw(item) for item in value]
    return value
