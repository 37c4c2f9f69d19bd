"""Decisions about orders: what is sent, and what comes back."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    CancelOrder,
    EMSClient,
    ExecInst,
    InvalidRequest,
    NewOrder,
    NotSent,
    NotSentReason,
    OrderNotFound,
    OrderStatus,
    OrderType,
    Rejected,
    RejectedReason,
    Settings,
    Side,
    TimeInForce,
    Unknown,
)
from coinapi_ems_async.models.lifecycle import FINAL, advance
from coinapi_ems_async.operations import cancel_all, cancel_order, new_order, order_status, orders_history
from coinapi_ems_async.simulator import Injection, Simulator, Variants

from ..conftest import ACCOUNT, SYMBOL, an_order
from ..data import captured
from .helpers import END, START, read, report

LATER = datetime(2099, 1, 1, 10, 45, 20, 167709, tzinfo=UTC)


def sent(order: NewOrder, **options: Any) -> dict[str, Any]:
    body = new_order(order, **options).body
    assert body is not None
    fields: dict[str, Any] = json.loads(body)
    return fields


async def order_of(sim: Simulator, ems: EMSClient, **fields: Any) -> Any:
    order = an_order(**fields)
    return order, await ems.orders.place(order)


# What is sent


@pytest.mark.parametrize("spelling", ["GOOD_TILL_TIME_OMS", "GOOD_TILL_TIME_OEML"])
async def test_c02_both_spellings_are_sent_on_wish_and_read_as_one(sim: Simulator, spelling: Any) -> None:
    order = an_order(time_in_force="GOOD_TILL_TIME_OEML", expire_time=LATER)
    assert order.time_in_force is TimeInForce.GOOD_TILL_TIME_OMS
    assert sent(order)["time_in_force"] == "GOOD_TILL_TIME_OMS"
    settings = Settings(good_till_time_text=spelling)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        found = await ems.orders.place(order)
    (kept,) = sim.orders
    assert kept.ticket.time_in_force == spelling
    assert found.time_in_force is TimeInForce.GOOD_TILL_TIME_OMS


@pytest.mark.parametrize("echo", ["oms", "oeml"])
async def test_c02_whatever_the_echo(sim: Simulator, ems: EMSClient, echo: Any) -> None:
    sim.variants = Variants(good_till_time=echo)
    _, found = await order_of(sim, ems, time_in_force="GOOD_TILL_TIME_OMS", expire_time=LATER)
    assert found.time_in_force is TimeInForce.GOOD_TILL_TIME_OMS
    assert found.unread == {}


def test_c04_six_instructions_may_be_sent_three_are_declared() -> None:
    assert {one for one in ExecInst if one.is_declared} == {
        ExecInst.MAKER_OR_CANCEL,
        ExecInst.AUCTION_ONLY,
        ExecInst.INDICATION_OF_INTEREST,
    }
    assert sent(an_order(exec_inst=list(ExecInst)))["exec_inst"] == [one.value for one in ExecInst]
    assert report(exec_inst=["ICEBERG"]).exec_inst == ["ICEBERG"]


@pytest.mark.parametrize("kind", [TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL])
async def test_c28_a_market_order_is_a_limit_order_that_does_not_rest(
    sim: Simulator, ems: EMSClient, kind: TimeInForce
) -> None:
    order = an_order(
        exchange_id="BITMEX/JOHN", symbol_id_coinapi="BITMEX_PERP_BTC_USDT", price="11000", time_in_force=kind
    )
    assert sent(order)["order_type"] == "LIMIT"
    found = await ems.orders.place(order)
    while not found.is_final:
        found = await ems.orders.status(order.client_order_id)
    assert found.status is OrderStatus.FILLED
    assert sum(fill.amount for fill in found.fills or () if fill.amount) == order.amount_order


def test_c29_limit_is_the_only_type_that_is_sent_and_any_is_read() -> None:
    with pytest.raises(InvalidRequest, match="order_type must be one of LIMIT"):
        an_order(order_type="MARKET")
    kind = report(order_type="STOP").order_type
    assert kind is not None
    assert (kind, kind.is_known) == ("STOP", False)


def test_c30_the_key_of_cancel_all_has_no_blank() -> None:
    from coinapi_ems_async import CancelAll

    assert cancel_all(CancelAll(exchange_id=ACCOUNT)).body == b'{"exchange_id":"KRAKEN/JOHN"}'


@pytest.mark.parametrize("kind", list(TimeInForce))
def test_c31_expire_time_goes_with_good_till_time_and_only_with_it(kind: TimeInForce) -> None:
    needs = "GOOD_TILL_TIME" in kind
    with pytest.raises(InvalidRequest, match="expire_time"):
        an_order(time_in_force=kind, expire_time=None if needs else LATER)
    body = sent(an_order(time_in_force=kind, expire_time=LATER if needs else None))
    assert body.get("expire_time") == ("2099-01-01T10:45:20.1677090Z" if needs else None)


def test_c31_expire_time_is_read_with_any() -> None:
    found = report(time_in_force="GOOD_TILL_CANCEL", expire_time="2020-01-01T10:45:20.1677709Z")
    assert found.expire_time == "2020-01-01T10:45:20.1677709Z"
    assert found.expires_at == datetime(2020, 1, 1, 10, 45, 20, 167770, tzinfo=UTC)


@pytest.mark.parametrize("both", [True, False])
def test_c32_exactly_one_id_of_each_pair(both: bool) -> None:
    said = "both" if both else "neither"
    with pytest.raises(InvalidRequest, match=said):
        an_order(symbol_id_exchange="XBT/USDT" if both else None, symbol_id_coinapi=SYMBOL if both else None)
    with pytest.raises(InvalidRequest, match=said):
        CancelOrder(
            exchange_id=ACCOUNT,
            client_order_id="a" if both else None,
            exchange_order_id="b" if both else None,
        )


def test_c32_the_other_one_is_not_on_the_wire() -> None:
    assert "symbol_id_exchange" not in sent(an_order())
    assert "symbol_id_coinapi" not in sent(an_order(symbol_id_coinapi=None, symbol_id_exchange="XBT/USDT"))
    named = cancel_order(CancelOrder(exchange_id=ACCOUNT, exchange_order_id="b"))
    assert named.body == b'{"exchange_id":"KRAKEN/JOHN","exchange_order_id":"b"}'


@pytest.mark.parametrize("kind", ["plain", "string", "exponent"])
async def test_c34_numbers_in_any_notation(sim: Simulator, ems: EMSClient, kind: Any) -> None:
    sim.variants = Variants(numbers=kind)
    order, found = await order_of(sim, ems, price="10799.20", amount_order="0.04500")
    assert (found.price, found.amount_order) == (order.price, order.amount_order)
    assert all(type(getattr(found, name)) is Decimal for name in found.numbers)
    assert found.unread == {}


def test_c34_every_digit_is_kept() -> None:
    body = new_order(an_order(amount_order="0.0450", price=Decimal("1E+4"))).body or b""
    assert b'"amount_order":0.0450,"price":10000,' in body
    found = report(price="50000.00000000", avg_px="5e-15")
    assert str(found.price) == "50000.00000000"
    assert found.avg_px == Decimal("5e-15")
    beyond = report(price="1e99999999", avg_px=float("inf"))
    assert (beyond.price, beyond.avg_px) == (None, None)
    assert beyond.unread == {"price": "1e99999999", "avg_px": "Infinity"}


async def test_c36_an_exchange_nobody_has_heard_of_is_sent(sim: Simulator) -> None:
    async with EMSClient.self_hosted(next(iter(sim.site_urls.values()))) as ems:
        sim.inject(Injection(operation="order_new", status=490, body=b""))
        outcome = await ems.orders.submit(an_order(exchange_id="NEWEXCHANGE2031/x"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.EXCHANGE_UNREACHABLE


# What comes back


@pytest.mark.parametrize("kind", ["message", "message_reject", "empty", "report"])
async def test_c01_cancel_all_is_acknowledged_in_any_shape(sim: Simulator, ems: EMSClient, kind: Any) -> None:
    await order_of(sim, ems)
    sim.variants = Variants(cancel_all=kind)
    outcome = await ems.orders.submit_cancel_all(exchange_id=ACCOUNT)
    assert isinstance(outcome, Accepted)
    assert outcome.report is None
    assert outcome.message == ("Ok" if kind.startswith("message") else None)


@pytest.mark.parametrize(
    "body", ["null", "[]", "3", '"Ok"', "  ", '{"reject_reason":null}', '{"reject_reason":""}']
)
def test_c01_other_json_is_an_acknowledgement_too(body: str) -> None:
    assert read("order_cancel_all", 200, body.encode()).verdict.value == "value"


@pytest.mark.parametrize(
    ("body", "verdict", "message"),
    [
        (b'{"reject_reason":"OTHER","message":"no"}', "rejection", "no"),
        (b'{"reject_reason":"OTHER"}', "rejection", ""),
        (b'{"reject_reason":"EXCHANGE_UNREACHABLE","message":"gone"}', "rejection", "gone"),
        (b'{"reject_reason":"EXCHANGE_RESPONSE_TIMEOUT","message":"late"}', "unknown", "late"),
        (b'{"reject_reason":7}', "unknown", "the reject_reason cannot be read"),
        (b"Ok", "unknown", None),
        (b"[" * 100_000, "unknown", None),
    ],
)
def test_c01_a_reject_reason_counts(body: bytes, verdict: str, message: str | None) -> None:
    reading = read("order_cancel_all", 200, body)
    assert reading.verdict.value == verdict
    assert message in (None, reading.message)


async def test_c01_a_reject_reason_with_200_is_a_rejection(sim: Simulator, ems: EMSClient) -> None:
    body = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "not now"}
    sim.inject(Injection(operation="order_cancel_all", body=body))
    outcome = await ems.orders.submit_cancel_all(exchange_id=ACCOUNT)
    assert isinstance(outcome, Rejected)
    assert (outcome.message, outcome.status, outcome.reject_reason) == ("not now", 200, "OTHER")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("array", ["MAKER_OR_CANCEL", "DO_NOT_INCREASE"]),
        ("string", ["MAKER_OR_CANCEL", "DO_NOT_INCREASE"]),
        ("null", None),
        ("absent", None),
    ],
)
async def test_c03_instructions_in_any_shape(sim: Simulator, ems: EMSClient, kind: Any, expected: Any) -> None:
    sim.variants = Variants(exec_inst=kind)
    _, found = await order_of(sim, ems, exec_inst=("MAKER_OR_CANCEL", "DO_NOT_INCREASE"))
    assert found.exec_inst == expected
    assert found.unread == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("AUCTION_ONLY", ["AUCTION_ONLY"]),
        ("A, B ,", ["A", "B"]),
        ("", []),
        (' ["A"]', ["A"]),
        ([["A"]], ["A"]),
        ([], []),
        ([None], []),
    ],
)
def test_c03_other_shapes(value: Any, expected: list[str]) -> None:
    assert report(exec_inst=value).exec_inst == expected
    assert "exec_inst" not in sent(an_order())
    assert sent(an_order(exec_inst=["AUCTION_ONLY"]))["exec_inst"] == ["AUCTION_ONLY"]


@pytest.mark.parametrize("value", [5, True, {"a": 1}, ["A", None], ["A", 5], "[broken"])
def test_c03_what_is_no_instruction_is_kept_unread(value: Any) -> None:
    found = report(exec_inst=value)
    assert found.exec_inst is None
    assert found.unread.keys() == {"exec_inst"}


@pytest.mark.parametrize(("kind", "expected"), [("string", str), ("number", str), ("null", type(None))])
async def test_c05_exchange_order_id_is_text(sim: Simulator, ems: EMSClient, kind: Any, expected: type) -> None:
    sim.variants = Variants(exchange_order_id=kind)
    _, found = await order_of(sim, ems)
    name: str | None = found.exchange_order_id
    assert isinstance(name, expected)
    assert found.unread == {}
    if name is not None:
        await ems.orders.cancel(exchange_id=ACCOUNT, exchange_order_id=name)


def test_c05_a_long_number_keeps_its_digits() -> None:
    assert report(exchange_order_id=12345678901234567890123).exchange_order_id == "12345678901234567890123"


@pytest.mark.parametrize(("depth", "old"), [(2, False), (4, False), (2, True), (4, True)])
async def test_c06_history_at_any_depth_and_under_its_old_name(
    sim: Simulator, ems: EMSClient, depth: Any, old: bool
) -> None:
    sim.variants = Variants(status_history_depth=depth, time_order=old)
    order, _ = await order_of(sim, ems)
    for found in (await ems.orders.status(order.client_order_id), (await ems.orders.open(ACCOUNT))[0]):
        assert [step.status for step in found.history][:3] == ["RECEIVED", "ROUTING", "ROUTED"]
        assert all(step.time is not None and step.text.endswith("Z") for step in found.history)
        assert found.unread == {}


def test_c06_the_new_name_wins() -> None:
    pair, other = ["NEW", "2024-01-01T00:00:00Z"], ["ROUTED", "2024-01-01T00:00:00Z"]
    for fields in (
        {"time_order": [other], "status_history": [pair]},
        {"time_order": [other], "status_history": [[pair]]},
    ):
        assert report(**fields).status_history == [tuple(pair)]
    assert report(time_order=[other], status_history=None).status_history == [tuple(other)]


@pytest.mark.parametrize("value", ["x", ["a", "b", "c"], [["NEW", None]], [1], {}])
def test_c06_what_holds_no_pairs_is_kept_unread(value: Any) -> None:
    found = report(status_history=value)
    assert found.history == []
    assert "status_history" in found.unread


@pytest.mark.parametrize("undeclared", [True, False])
async def test_c10_unknown_fields_are_ignored(sim: Simulator, ems: EMSClient, undeclared: bool) -> None:
    sim.variants = Variants(undeclared=undeclared)
    order, found = await order_of(sim, ems)
    assert (found.client_order_id, found.unread) == (order.client_order_id, {})
    assert [row.unread for row in await ems.balances.get()] == [{}] * 4
    assert [row.unread for row in await ems.positions.get()] == [{}] * 4


def test_c10_fields_of_a_later_release_are_ignored() -> None:
    assert report(fee="0.1", nested={"a": [1, {}]}).unread == {}


@pytest.mark.parametrize("kind", ["mixed", "null", "absent"])
async def test_c11_null_is_absent(sim: Simulator, ems: EMSClient, kind: Any) -> None:
    sim.variants = Variants(nulls=kind)
    _, found = await order_of(sim, ems)
    assert (found.error_message, found.expire_time, found.unread) == (None, None, {})
    (balance,) = await ems.balances.get(ACCOUNT)
    assert {row.asset_id_exchange for row in balance.data or () if row.rate_usd is None} == {"ZJPY"}


async def test_c11_missing_data_is_not_an_empty_list(sim: Simulator, ems: EMSClient) -> None:
    sim.exchange_down(ACCOUNT)
    rows = {row.exchange_id: row.data for row in await ems.positions.get()}
    assert rows[ACCOUNT] is None
    assert rows["DERIBIT"] == []


def test_c11_requests_carry_no_null() -> None:
    assert b"null" not in (new_order(an_order()).body or b"")


async def test_c12_three_fields_make_a_report(sim: Simulator, ems: EMSClient) -> None:
    sim.variants = Variants(sparse=True)
    order, found = await order_of(sim, ems)
    assert (found.exchange_id, found.client_order_id) == (ACCOUNT, order.client_order_id)
    assert found.status in (OrderStatus.ROUTED, OrderStatus.NEW)
    assert found.price is None
    assert found.history == []


@pytest.mark.parametrize("field", ["exchange_id", "client_order_id", "status"])
@pytest.mark.parametrize("value", [..., None, "", [], {}, True])
async def test_c12_without_one_of_them_the_order_is_not_lost(
    sim: Simulator, ems: EMSClient, field: str, value: Any
) -> None:
    order = an_order()
    body = {"exchange_id": ACCOUNT, "client_order_id": order.client_order_id, "status": "ROUTED"} | {field: value}
    sim.inject(Injection(operation="order_new", body={key: one for key, one in body.items() if one is not ...}))
    outcome = await ems.orders.submit(order)
    assert isinstance(outcome, Unknown)
    assert outcome.raw
    assert order.client_order_id in ems.orders.unresolved


async def test_c13_routing_to_rejected(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(amount_order="1000000", price="10000")
    outcome = await ems.orders.submit(order)
    assert isinstance(outcome, Rejected)
    assert outcome.report is not None
    assert [step.status for step in outcome.report.history] == ["RECEIVED", "ROUTING", "REJECTED"]


def test_c13_any_step_is_believed_except_out_of_a_final_status() -> None:
    for before in OrderStatus:
        for after in (*OrderStatus, OrderStatus("INVENTED")):
            assert advance(before, after) == (before if before in FINAL else after)


@pytest.mark.parametrize("miss", [404, 400])
async def test_c16_a_status_miss_with_either_code(sim: Simulator, ems: EMSClient, miss: Any) -> None:
    sim.variants = Variants(status_miss=miss)
    with pytest.raises(OrderNotFound, match="proves nothing") as caught:
        await ems.orders.status("nobody")
    assert caught.value.status == miss
    assert len(caught.value.attempts) == 2


async def test_c35_only_the_status_tells_whether_an_order_is_open(sim: Simulator, ems: EMSClient) -> None:
    order, _ = await order_of(sim, ems)
    found = await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    async with asyncio.timeout(10):
        while not found.is_final:
            found = await ems.orders.status(order.client_order_id)
    assert found.status is OrderStatus.CANCELED
    assert found.amount_open == order.amount_order
    assert (found.is_open, found.is_live) == (False, False)


# Assumptions about orders


@pytest.mark.parametrize(
    ("kind", "expected", "executions"), [("accept", Accepted, 2), ("reject", Rejected, 1), ("replay", Accepted, 1)]
)
async def test_u01_a_second_order_with_an_id_is_the_callers_own_decision(
    sim: Simulator, ems: EMSClient, kind: Any, expected: type, executions: int
) -> None:
    order, _ = await order_of(sim, ems)
    sim.variants = Variants(duplicates=kind)
    refused = await ems.orders.submit(order)
    assert isinstance(refused, NotSent)
    assert refused.reason is NotSentReason.DUPLICATE
    assert isinstance(await ems.orders.submit(order, allow_duplicate_id=True), expected)
    assert sim.executions(order.client_order_id) == executions


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a/b", "a%2Fb"),
        ("#&+%=;", "%23%26%2B%25%3D%3B"),
        ("x y?z", "x%20y%3Fz"),
        ("é~", "%C3%A9~"),
        ("%2e%2e", "%252e%252e"),
    ],
)
async def test_u03_ids_are_percent_encoded(sim: Simulator, ems: EMSClient, name: str, encoded: str) -> None:
    assert order_status(name).target == f"/v1/orders/status/{encoded}"
    with pytest.raises(OrderNotFound):
        await ems.orders.status(name)
    asked = [record for record in sim.requests if record.operation == "order_status"]
    assert {(record.path, record.client_order_id) for record in asked} == {(f"/v1/orders/status/{encoded}", name)}


@pytest.mark.parametrize("miss", [404, 400, 490])
async def test_u06_cancelling_an_unknown_order(sim: Simulator, ems: EMSClient, miss: Any) -> None:
    sim.variants = Variants(cancel_miss=miss)
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id="nobody")
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.status) == (RejectedReason.NOT_KNOWN_HERE, miss)
    assert outcome.message == "Order with ID: nobody not found"


def test_u16_times_are_sent_as_utc_without_zone() -> None:
    assert orders_history(START, END).target == (
        "/v1/orders/history?time_start=2000-01-01T00%3A00%3A00&time_end=2100-01-01T00%3A00%3A00"
    )
    fraction = START.replace(microsecond=120)
    assert orders_history(fraction, END).target.startswith(
        "/v1/orders/history?time_start=2000-01-01T00%3A00%3A00.0001200&"
    )


def test_u29_a_status_of_a_later_release_is_not_final() -> None:
    found = report(status="SUSPENDED", side="SHORT")
    assert (found.status, found.side, found.is_open) == ("SUSPENDED", Side("SHORT"), True)
    assert report(status="FILLED").is_final


def test_captured_reports_read_whole() -> None:
    for name in ("report_routed", "report_rejected"):
        body = captured(name)
        reading = read("orders_open", 200, b"[" + body + b"]")
        (found,) = reading.value
        assert found.unread == {}
        assert found.order_type is OrderType.LIMIT
        assert found.symbol_id_exchange == "USDJPY"
        assert [step.time for step in found.history] == sorted(step.time for step in found.history)
        assert found.amount_open == found.amount_order
