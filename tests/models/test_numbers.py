"""Numbers go in and come out digit for digit, whatever the global decimal context says."""

import decimal
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coinapi_ems_async import ExecutionReport, InvalidRequest, NewOrder, Parameter
from coinapi_ems_async.models.numbers import (
    NUMERIC_TEXT,
    check_number,
    number_text,
    read_number,
    shown,
    to_decimal,
    usual_number,
)
from coinapi_ems_async.operations import ORDER_STATUS, new_order

from ..conftest import an_order

SIGNALS = list(decimal.Context().traps)
ALL_TRAPS = decimal.Context(prec=1, Emax=1, Emin=-1, traps=SIGNALS)
NO_TRAPS = decimal.Context(prec=1, Emax=1, Emin=-1, traps=[])
CONTEXTS = [ALL_TRAPS, NO_TRAPS, decimal.DefaultContext]


@contextmanager
def under(context: decimal.Context) -> Iterator[None]:
    with decimal.localcontext(context):
        yield


@st.composite
def within(draw: st.DrawFn, *, positive: bool = False) -> Decimal:
    """Any number within the limits: 64 digits, exponent from -64 to 64, either sign, zeros at the end."""
    digits = (
        draw(st.text("0123456789", min_size=1, max_size=64))
        if not positive
        else str(draw(st.integers(1, 10**64 - 1)))
    )
    sign = 0 if positive else draw(st.integers(0, 1))
    return Decimal((sign, tuple(map(int, digits)), draw(st.integers(-64, 64))))


def same(one: Decimal, other: Decimal) -> bool:
    """Identical where the exponent is not positive; a positive one is written out as zeros."""
    with decimal.localcontext(decimal.Context(prec=200)):
        return (
            one == other
            and one.is_signed() == other.is_signed()
            and (one.as_tuple() == other.as_tuple() or int(one.as_tuple().exponent) > 0)
        )


def report_with(price: str) -> ExecutionReport:
    body = b'{"exchange_id":"X","client_order_id":"a","status":"NEW","price":%s}' % price.encode()
    found: ExecutionReport = ORDER_STATUS.decode(body)
    return found


@given(within(positive=True), st.sampled_from(CONTEXTS))
@example(Decimal("10.00"), ALL_TRAPS)
@example(Decimal("9" * 64), NO_TRAPS)
def test_a_number_within_the_limits_travels_unchanged(value: Decimal, context: decimal.Context) -> None:
    with under(context):
        body = new_order(an_order(price=value, amount_order=str(value))).body or b""
    fields = json.loads(body, parse_float=str, parse_int=str)
    assert fields["price"] == fields["amount_order"]
    assert same(value, Decimal(fields["price"]))
    assert "e" not in fields["price"].lower()
    assert b'"price":%s,' % fields["price"].encode() in body


@given(within(), st.sampled_from(CONTEXTS))
@example(Decimal("-0.00"), ALL_TRAPS)
@example(Decimal("5e-15"), ALL_TRAPS)
def test_a_number_within_the_limits_is_read_unchanged(value: Decimal, context: decimal.Context) -> None:
    literal = f"{value:e}" if value else number_text(value)
    quoted = f'"{literal}"'
    with under(context):
        found, slow = report_with(literal), report_with(quoted)
    assert found.unread == slow.unread == {}
    assert isinstance(found.price, Decimal)
    assert isinstance(slow.price, Decimal)
    assert found.price.as_tuple()[1:] == slow.price.as_tuple()[1:] == Decimal(literal).as_tuple()[1:]
    assert slow.price == value


@given(within(), st.sampled_from(CONTEXTS))
def test_text_and_number_are_inverse(value: Decimal, context: decimal.Context) -> None:
    with under(context):
        text = number_text(value)
        assert NUMERIC_TEXT.fullmatch(text)
        if len(value.as_tuple().digits) + max(0, int(value.as_tuple().exponent)) <= 64:
            assert same(value, read_number(text))
        assert check_number(value) is value
        assert to_decimal("price", value) is value


OUTSIDE = [
    "1e65",
    "1e-65",
    "1" + "0" * 64,
    "0." + "1" * 65,
    "1e99999999",
    "1e-99999999",
    "1e99999999999999999999",
    "-1e400",
    "9" * 5000,
    "1e" + "9" * 400,
]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("literal", OUTSIDE)
def test_a_number_outside_the_limits_is_refused_in_and_unread_out(literal: str, context: decimal.Context) -> None:
    with under(context):
        for spelling in (literal, f'"{literal}"'):
            found = report_with(spelling)
            assert found.price is None
            assert found.unread == {"price": literal}
        with pytest.raises(InvalidRequest, match="price must be a finite Decimal"):
            an_order(price=literal)


@given(
    st.one_of(
        st.decimals(allow_nan=True, allow_infinity=True),
        st.builds(
            Decimal,
            st.tuples(
                st.integers(0, 1), st.just((1,)), st.one_of(st.integers(65, 10**15), st.integers(-(10**15), -65))
            ),
        ),
        st.integers(),
        st.integers(10**64, 10**70),
    ),
    st.sampled_from(CONTEXTS),
)
def test_any_number_is_taken_whole_or_refused(value: Any, context: decimal.Context) -> None:
    with under(context):
        try:
            taken = to_decimal("price", value)
        except InvalidRequest:
            return
        assert taken.is_finite()
        assert len(taken.as_tuple().digits) <= 64
        assert -64 <= int(taken.as_tuple().exponent) <= 64
        assert taken == value


@given(
    st.one_of(
        st.from_regex(r"[0-9]{1,34}(\.[0-9]{1,34})?", fullmatch=True), st.text("0123456789.eE+-_ \n", max_size=9)
    ),
    st.sampled_from(CONTEXTS),
)
@example("0.045", ALL_TRAPS)
def test_one_look_at_a_usual_number_sees_what_a_closer_one_does(text: str, context: decimal.Context) -> None:
    with under(context):
        found = usual_number(text)
        if found is not None:
            assert found.as_tuple() == to_decimal("price", text).as_tuple()
            assert found > 0
    assert (found is not None) == bool(
        re.fullmatch(r"[0-9]{1,32}(\.[0-9]{1,32})?", text) and re.search("[1-9]", text)
    )


class NumpyFloat(float):
    """As numpy's: a float that shows its own name."""

    def __repr__(self) -> str:
        return f"np.float64({float.__repr__(self)})"


class Wide(int):
    pass


class Level(IntEnum):
    ONE = 1


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Money(Decimal):
    pass


@pytest.mark.parametrize("value", [0.1, 1e22, NumpyFloat(0.1), -0.0])
def test_a_float_is_refused_with_advice(value: float) -> None:
    text = float.__repr__(value)
    with pytest.raises(InvalidRequest) as caught:
        an_order(price=value)
    assert f'write price=Decimal("{text}") or price="{text}"' in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, -math.inf, NumpyFloat("nan")),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity")),
        *(True, False, None, b"1", [1], 1j, Fraction(1, 2), Level.ONE, Broken(), Parameter(key="k")),
        *("", " 1", "1 ", "1_000", "NaN", "Infinity", "1.", ".5", "+1", "0x1", "١", "1e", "1,5", "1\n", "1" * 300),
        *(10**64, 10**5000, -(10**5000), Wide(10**5000), [10**5000], Decimal("1" * 65), Decimal("1e65")),
        *(0, "0", "0.00", Decimal("-0"), -1, "-1", "-1e-64", Decimal("-0.1")),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("field", ["price", "amount_order"])
def test_what_is_no_positive_number_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=field) as caught:
        an_order(**{field: value})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [5, "5", Decimal(5), Money("5"), "5.0", "5e0", "0.5e1", 10**63, "00005"])
def test_what_is_a_positive_number_is_taken(value: Any) -> None:
    order = an_order(price=value)
    assert type(order.price) is Decimal
    assert order.price == Decimal(value)
    assert msgspec.structs.replace(order, price="7").price == 7


def test_check_number_takes_what_a_decoder_makes() -> None:
    assert check_number(7) == 7
    for bad in ("7", 7.0, True, None, Decimal("NaN"), Decimal("sNaN"), 10**100):
        with pytest.raises(ValueError):
            check_number(bad)


def test_everything_can_be_shown() -> None:
    assert shown(Broken()) == "a value of type Broken"
    assert len(shown("x" * 10**6)) == 80


def test_an_order_is_written_without_the_contexts_help() -> None:
    with under(ALL_TRAPS):
        order = NewOrder(
            exchange_id="KRAKEN", symbol_id_coinapi="S", side="BUY", amount_order="0.045", price="10799.20"
        )
        assert b'"amount_order":0.045,"price":10799.20,' in (new_order(order).body or b"")
        assert repr(order).count("Decimal") == 2
