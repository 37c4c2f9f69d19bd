"""Each way in which the sources disagree about the wire."""

import json
from decimal import Decimal
from typing import Any

import pytest

from coinapi_ems_async.simulator import Simulator, Variants

from .helpers import ACCOUNT, Caller, new_order

CANCEL_ALL = {"exchange_id": ACCOUNT}
HISTORY = "/v1/orders/history?time_start=2000-01-01&time_end=2099-01-01"


async def report(sim: Simulator, call: Caller, fields: dict[str, Any], **variants: Any) -> Any:
    sim.variants = Variants(**variants)
    return await call.place(**fields)


async def test_cancel_all_bodies(sim: Simulator, call: Caller) -> None:
    await call.place()
    sim.variants = Variants(cancel_all="report")
    assert (await call("POST", "/v1/orders/cancel/all", CANCEL_ALL)).json["status"] == "PENDING_CANCEL"
    assert (await call("POST", "/v1/orders/cancel/all", CANCEL_ALL)).json["type"] == "message"
    sim.variants = Variants(cancel_all="message_reject")
    found = (await call("POST", "/v1/orders/cancel/all", CANCEL_ALL)).json
    assert found == {"type": "MESSAGE_REJECT", "exchange_id": ACCOUNT, "message": "Ok"}
    sim.variants = Variants(cancel_all="empty")
    assert (await call("POST", "/v1/orders/cancel/all", CANCEL_ALL)).body == b""


@pytest.mark.parametrize(("sent", "other"), [("OMS", "oeml"), ("OEML", "oms")])
async def test_good_till_time(sim: Simulator, call: Caller, sent: str, other: str) -> None:
    fields: dict[str, Any] = {
        "time_in_force": f"GOOD_TILL_TIME_{sent}",
        "expire_time": "2099-01-01",
    }
    found = await report(sim, call, fields)
    assert found["time_in_force"] == f"GOOD_TILL_TIME_{sent}"
    found = await report(sim, call, fields, good_till_time=other)
    assert found["time_in_force"] == f"GOOD_TILL_TIME_{other.upper()}"


async def test_exec_inst(sim: Simulator, call: Caller) -> None:
    fields: dict[str, Any] = {"exec_inst": ["MAKER_OR_CANCEL", "DO_NOT_INCREASE"]}
    assert (await report(sim, call, fields))["exec_inst"] == fields["exec_inst"]
    joined = (await report(sim, call, fields, exec_inst="string"))["exec_inst"]
    assert joined == "MAKER_OR_CANCEL,DO_NOT_INCREASE"
    assert (await report(sim, call, fields, exec_inst="null"))["exec_inst"] is None
    assert "exec_inst" not in await report(sim, call, fields, exec_inst="absent")


async def test_exchange_order_id(sim: Simulator, call: Caller) -> None:
    assert (await report(sim, call, {}, exchange_order_id="null"))["exchange_order_id"] is None
    number = (await report(sim, call, {"client_order_id": "n"}, exchange_order_id="number"))["exchange_order_id"]
    assert isinstance(number, int)
    body = {"exchange_id": ACCOUNT, "exchange_order_id": str(number)}
    assert (await call("POST", "/v1/orders/cancel", body)).json["client_order_id"] == "n"


async def test_status_history(sim: Simulator, call: Caller) -> None:
    deep = (await report(sim, call, {}, status_history_depth=4))["status_history"]
    assert deep[0][0][0][0] == "RECEIVED"
    old = await report(sim, call, {}, time_order=True)
    assert "status_history" not in old
    assert old["time_order"][0][0] == "RECEIVED"


async def test_history_arrays(sim: Simulator, call: Caller) -> None:
    await call.place(amount_order=1, price=10802)
    sim.variants = Variants(history_arrays="nested")
    nested = (await call("GET", HISTORY)).json[-1]
    assert nested["statusHistoryStatus"][0][0] == "RECEIVED"
    assert nested["fillsPrice"] == [[10801]]
    sim.variants = Variants(history_arrays="string", numbers="string")
    row = (await call("GET", HISTORY)).json[-1]
    assert json.loads(row["statusHistoryStatus"])[0] == "RECEIVED"
    assert json.loads(row["fillsAmount"]) == ["1"]
    sim.variants = Variants(history_configured=False)
    reply = await call("GET", HISTORY)
    assert (reply.status, reply.json) == (400, {"message": "Orders log is not configured"})


@pytest.mark.parametrize("name", ["unrealized_pnl", "unrealised_pnl", "unrealised_pn_l"])
async def test_pnl_and_undeclared_fields(sim: Simulator, call: Caller, name: Any) -> None:
    await call.place(exchange_id="BITMEX/JOHN", symbol_id_coinapi="BITMEX_PERP_BTC_USDT", price=10802)
    sim.variants = Variants(pnl=name, undeclared=False)
    (row,) = (await call("GET", "/v1/positions?exchange_id=BITMEX/JOHN")).json
    assert "type" not in row
    assert name in row["data"][0]
    assert "id" not in row["data"][0]
    (row,) = (await call("GET", "/v1/balances?exchange_id=BITMEX/JOHN")).json
    assert "type" not in row
    assert not any("id" in one for one in row["data"])
    assert not {"type", "id"} & set(await call.place(client_order_id="other"))


@pytest.mark.parametrize(
    ("nulls", "in_reports", "in_balances", "in_positions"),
    [("mixed", True, True, False), ("null", True, True, True), ("absent", False, False, False)],
)
async def test_nulls(
    sim: Simulator, call: Caller, nulls: str, in_reports: bool, in_balances: bool, in_positions: bool
) -> None:
    found = await report(sim, call, {}, nulls=nulls)
    assert ("error_message" in found) is in_reports
    (row,) = (await call("GET", f"/v1/balances?exchange_id={ACCOUNT}")).json
    yen = next(one for one in row["data"] if one["id"] == "ZJPY")
    assert yen.get("rate_usd") is None
    assert ("rate_usd" in yen) is in_balances
    await call.place(exchange_id="BITMEX/JOHN", symbol_id_coinapi="BITMEX_PERP_BTC_USDT", price=10802)
    (row,) = (await call("GET", "/v1/positions?exchange_id=BITMEX/JOHN")).json
    assert ("liquidation_price" in row["data"][0]) is in_positions


async def test_sparse_reports(sim: Simulator, call: Caller) -> None:
    found = await report(sim, call, {}, sparse=True)
    assert found == {"exchange_id": ACCOUNT, "client_order_id": "order-1", "status": "ROUTED"}


@pytest.mark.parametrize(
    ("kind", "media"),
    [
        ("normal", "application/json; charset=utf-8"),
        ("typo", "appliction/json"),
        ("problem", "application/problem+json; charset=utf-8"),
    ],
)
async def test_content_types(sim: Simulator, call: Caller, kind: Any, media: str) -> None:
    sim.variants = Variants(content_type=kind)
    reply = await call("POST", "/v1/orders", new_order(exchange_id="GEMINI"))
    assert (reply.status, reply.media) == (490, media)


@pytest.mark.parametrize(("kind", "shape"), [("object", dict), ("string", str), ("list", list)])
async def test_errors(sim: Simulator, call: Caller, kind: Any, shape: type) -> None:
    sim.variants = Variants(errors=kind)
    assert isinstance((await call("POST", "/v1/orders", {})).json["errors"], shape)
    sim.variants = Variants(errors="absent")
    assert "errors" not in (await call("POST", "/v1/orders", {})).json


async def test_misses(sim: Simulator, call: Caller) -> None:
    sim.variants = Variants(status_miss=400, cancel_miss=490)
    reply = await call("GET", "/v1/orders/status/x")
    assert (reply.status, reply.json["reject_reason"]) == (400, "ORDER_ID_NOT_FOUND")
    body = {"exchange_id": ACCOUNT, "client_order_id": "x"}
    reply = await call("POST", "/v1/orders/cancel", body)
    assert (reply.status, reply.json["reject_reason"]) == (490, "ORDER_ID_NOT_FOUND")


async def test_duplicates(sim: Simulator, call: Caller) -> None:
    first = await call.place()
    second = await call.place()
    assert first["exchange_order_id"] != second["exchange_order_id"]
    assert sim.executions("order-1") == 2
    sim.variants = Variants(duplicates="replay")
    assert (await call.place())["exchange_order_id"] == second["exchange_order_id"]
    sim.variants = Variants(duplicates="reject")
    reply = await call("POST", "/v1/orders", new_order())
    assert "client_order_id" in reply.json["errors"]
    assert sim.executions("order-1") == 2


async def test_numbers(sim: Simulator, call: Caller) -> None:
    assert (await report(sim, call, {}, numbers="string"))["price"] == "10799.2"
    sim.variants = Variants(numbers="exponent")
    reply = await call("POST", "/v1/orders", new_order())
    assert b'"price":1.07992e+4' in reply.body
    assert reply.json["price"] == Decimal("10799.2")
    json.loads(reply.body)
