"""The quick look at usual orders lets nothing past that the full check would stop."""

import decimal
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import InvalidRequest, NewOrder, OrderType, Side, TimeInForce, operations
from coinapi_ems_async.models import ids
from coinapi_ems_async.models.numbers import is_positive, to_decimal

from ..conftest import SYMBOL, an_order

ODD_CONTEXTS = [
    decimal.Context(prec=1, capitals=0, traps=[]),
    decimal.Context(prec=1, Emax=1, Emin=-1, traps=[decimal.InvalidOperation, decimal.FloatOperation]),
]


def passes_the_full_check(value: Decimal) -> bool:
    try:
        return to_decimal("price", value) > 0
    except InvalidRequest:
        return False


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_number_is_positive_or_it_is_not(value: Decimal) -> None:
    expected = passes_the_full_check(value)
    assert is_positive(value) is expected
    for context in ODD_CONTEXTS:
        with decimal.localcontext(context):
            assert is_positive(value) is expected


@pytest.mark.parametrize("text", ["1E+64", "1E+65", "1E-64", "1E-65", "9" * 64, "9" * 65, "0", "-0", "-1", "sNaN"])
def test_the_edges_of_the_limits(text: str) -> None:
    assert is_positive(Decimal(text)) is passes_the_full_check(Decimal(text))


@pytest.mark.parametrize("field", ["amount_order", "price"])
def test_an_exponent_never_travels(field: str) -> None:
    for number, plain in (("1E+3", "1000"), ("1E-9", "0.000000001"), ("1.50E+1", "15.0"), ("0.10", "0.10")):
        for context in (decimal.getcontext(), *ODD_CONTEXTS):
            with decimal.localcontext(context):
                body = operations.new_order(an_order(**{field: Decimal(number)})).body or b""
            assert f'"{field}":{plain},'.encode() in body


def test_ids_that_look_like_exponents_are_left_alone() -> None:
    name = "1E-3E+4e-5"
    with pytest.warns(ids.UnusualClientOrderId):
        order = an_order(exchange_id=name, symbol_id_coinapi=name, client_order_id=name, price=Decimal("1E+1"))
    told = json.loads(operations.new_order(order).body or b"")
    assert (told["exchange_id"], told["symbol_id_coinapi"], told["client_order_id"]) == (name, name, name)
    assert told["price"] == 10


def test_the_order_of_the_fields_on_the_wire() -> None:
    order = an_order(client_order_id="mine", exec_inst=["MAKER_OR_CANCEL"])
    assert operations.new_order(order).body == (
        b'{"exchange_id":"KRAKEN/JOHN","client_order_id":"mine","symbol_id_coinapi":"KRAKEN_SPOT_BTC_USDT",'
        b'"amount_order":0.045,"price":9000,"side":"BUY","order_type":"LIMIT",'
        b'"time_in_force":"GOOD_TILL_CANCEL","exec_inst":["MAKER_OR_CANCEL"]}'
    )
    other = an_order(client_order_id="mine", symbol_id_coinapi=None, symbol_id_exchange="XBT/USDT")
    assert b'"client_order_id":"mine","symbol_id_exchange":"XBT/USDT","amount_order"' in (
        operations.new_order(other).body or b""
    )


class Shout(str):
    """Compares as another text does, so that a lookup alone would take it for one."""

    def isprintable(self) -> bool:
        return False


def test_only_real_texts_are_told_by_a_look() -> None:
    assert an_order().exchange_id in ids.CHECKED
    assert SYMBOL in ids.CHECKED
    for field in ("exchange_id", "symbol_id_coinapi"):
        with pytest.raises(InvalidRequest, match=field):
            an_order(**{field: Shout(SYMBOL)})


def test_what_is_remembered_of_names_is_bounded() -> None:
    for number in range(10_000):
        ids.check_repeated_id("exchange_id", f"BITSTAMP/{number}")
        assert len(ids.CHECKED) <= 4_096
    assert "BITSTAMP/9999" in ids.CHECKED
    for bad in ("", "x" * 129, "a\nb", " "):
        with pytest.raises(InvalidRequest):
            ids.check_repeated_id("exchange_id", bad)
        assert bad not in ids.CHECKED


@pytest.mark.parametrize(
    ("field", "value", "taken"),
    [
        ("side", "SELL", Side.SELL),
        ("order_type", "LIMIT", OrderType.LIMIT),
        ("time_in_force", "IMMEDIATE_OR_CANCEL", TimeInForce.IMMEDIATE_OR_CANCEL),
        ("time_in_force", "FILL_OR_KILL", TimeInForce.FILL_OR_KILL),
    ],
)
def test_texts_become_members(field: str, value: str, taken: Any) -> None:
    assert getattr(an_order(**{field: value}), field) is taken


@pytest.mark.parametrize("field", ["side", "order_type", "time_in_force"])
def test_a_stranger_of_the_right_type_is_refused(field: str) -> None:
    kind: Any = {"side": Side, "order_type": OrderType, "time_in_force": TimeInForce}[field]
    with pytest.raises(InvalidRequest, match=f"{field} must be one of"):
        an_order(**{field: kind("INVENTED")})


@pytest.mark.parametrize("tif", ["GOOD_TILL_CANCEL", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL"])
def test_an_expire_time_out_of_place_is_refused(tif: str) -> None:
    with pytest.raises(InvalidRequest, match="goes only with"):
        an_order(time_in_force=tif, expire_time="2099-01-01T00:00:00Z")


def test_the_first_fault_is_told() -> None:
    """The order of the checks is that of the fields."""
    everything: dict[str, Any] = {
        "exchange_id": "",
        "client_order_id": "",
        "symbol_id_coinapi": "",
        "amount_order": "0",
        "price": "0",
        "side": "",
        "time_in_force": "",
        "exec_inst": "x",
    }
    fine = {"exchange_id": "K", "client_order_id": "a", "symbol_id_coinapi": "S", "amount_order": 1, "price": 1}
    fine |= {"side": "BUY", "time_in_force": "GOOD_TILL_CANCEL", "exec_inst": ()}
    for field in everything:
        with pytest.raises(InvalidRequest, match=f"^{field}"):
            NewOrder(**everything)
        everything[field] = fine[field]
    assert NewOrder(**everything).exchange_id == "K"
