"""Every operation of the EMS REST API and its documented statuses, over real sockets."""

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import pytest

from coinapi_ems_async.simulator import Pace, Simulator
from coinapi_ems_async.simulator.clock import read_time

from .helpers import ACCOUNT, EAST, SYMBOL, WEST, Caller, new_order, until

CANCEL = {"exchange_id": ACCOUNT, "client_order_id": "order-1"}
REPORT_KEYS = [
    *("type", "id", "client_order_id_format_exchange", "exchange_order_id", "amount_open", "amount_filled"),
    *("status", "status_history", "error_message", "fills", "exchange_id", "client_order_id"),
    *("symbol_id_exchange", "symbol_id_coinapi", "amount_order", "price", "avg_px", "side", "order_type"),
    *("time_in_force", "expire_time", "exec_inst"),
]


async def test_place_status_cancel(call: Caller) -> None:
    placed = await call.place()
    assert list(placed) == REPORT_KEYS
    assert [step for step, _ in placed["status_history"]] == ["RECEIVED", "ROUTING", "ROUTED"]
    assert placed["symbol_id_exchange"] == "XBT/USDT"
    assert (placed["amount_open"], placed["price"]) == (Decimal("0.045"), Decimal("10799.2"))
    assert (await call.status("order-1"))["status"] == "NEW"
    cancelled = await call("POST", "/v1/orders/cancel", CANCEL)
    assert cancelled.json["status"] == "PENDING_CANCEL"
    assert (await call.status("order-1"))["status"] == "CANCELED"
    assert (await call("GET", "/v1/orders")).json == []
    again = await call("POST", "/v1/orders/cancel", CANCEL)
    assert (again.status, again.json["status"]) == (200, "CANCELED")


async def test_cancel_by_the_exchanges_id(call: Caller) -> None:
    placed = await call.place()
    body = {"exchange_id": ACCOUNT, "exchange_order_id": placed["exchange_order_id"]}
    assert (await call("POST", "/v1/orders/cancel", body)).status == 200
    assert (await call.status("order-1"))["status"] == "CANCELED"


async def test_digits_survive(call: Caller) -> None:
    body = json.dumps(new_order()).replace("0.045", "0.10000000").replace("10799.2", "1.07990e4")
    reply = await call("POST", "/v1/orders", body.encode())
    assert b'"amount_order":0.10000000,"price":10799.0,' in reply.body


async def test_whole_numbers_are_written_as_doubles(call: Caller) -> None:
    reply = await call("POST", "/v1/orders", new_order(amount_order=10, price=150))
    for text in (b'"amount_open":10.0,"amount_filled":0.0,', b'"amount_order":10.0,"price":150.0,"avg_px":0.0,'):
        assert text in reply.body
    reply = await call("POST", "/v1/orders", new_order(client_order_id="b", amount_order=1, price=10801))
    reply = await call("GET", "/v1/orders/status/b")
    assert b'"price":10801.0,"amount":1.0}]' in reply.body
    assert b'"avg_px":10801.0,' in reply.body
    reply = await call("GET", f"/v1/balances?exchange_id={ACCOUNT}")
    assert b'"balance":10001.0,"available":10001.0,"locked":0.0,"traded":0.0,' in reply.body
    assert b'"rate_usd":10800.00000000000}' in reply.body
    assert b'"rate_usd":null}' in reply.body


@pytest.mark.parametrize(
    ("symbol", "found"), [({"symbol_id_coinapi": ..., "symbol_id_exchange": "XBT/USDT"}, SYMBOL)]
)
async def test_either_symbol_id_will_do(call: Caller, symbol: dict[str, Any], found: str) -> None:
    assert (await call.place(**symbol))["symbol_id_coinapi"] == found


async def test_ids_are_decoded(call: Caller) -> None:
    await call.place(client_order_id="a/b c%ü")
    assert (await call.status("a%2Fb%20c%25%C3%BC"))["client_order_id"] == "a/b c%ü"


async def test_an_exchange_refuses_with_200(call: Caller) -> None:
    report = await call.place(amount_order=5e-15)
    assert report["status"] == "REJECTED"
    assert report["error_message"] == "EGeneral:Invalid arguments:volume"
    assert report["exchange_order_id"] is None
    assert report["amount_open"] == report["amount_order"] == Decimal("5e-15")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"exchange_id": ...}, "exchange_id"),
        ({"exchange_id": ""}, "exchange_id"),
        ({"client_order_id": None}, "client_order_id"),
        ({"client_order_id": 5}, "client_order_id"),
        ({"symbol_id_coinapi": ...}, "symbol_id_coinapi"),
        ({"symbol_id_exchange": "XBT/USDT"}, "symbol_id_exchange"),
        ({"amount_order": 0}, "amount_order"),
        ({"amount_order": "1"}, "amount_order"),
        ({"amount_order": True}, "amount_order"),
        ({"price": -1}, "price"),
        ({"price": ...}, "price"),
        ({"price": 10**40}, "price"),
        ({"side": "LONG"}, "side"),
        ({"order_type": "MARKET"}, "order_type"),
        ({"time_in_force": "FOREVER"}, "time_in_force"),
        ({"time_in_force": ...}, "time_in_force"),
        ({"expire_time": "2030-01-01"}, "expire_time"),
        ({"time_in_force": "GOOD_TILL_TIME_OMS"}, "expire_time"),
        ({"time_in_force": "GOOD_TILL_TIME_OEML", "expire_time": "soon"}, "expire_time"),
        ({"exec_inst": "MAKER_OR_CANCEL"}, "exec_inst"),
        ({"exec_inst": ["NONSENSE"]}, "exec_inst"),
    ],
)
async def test_bad_orders(sim: Simulator, call: Caller, fields: dict[str, Any], wrong: str) -> None:
    reply = await call("POST", "/v1/orders", new_order(**fields))
    assert reply.status == 400
    assert reply.media == "application/problem+json; charset=utf-8"
    assert set(reply.json) == {"type", "title", "status", "traceId", "errors"}
    assert wrong in reply.json["errors"]
    assert sim.executions("order-1") == 0


@pytest.mark.parametrize("force", ["GOOD_TILL_TIME_EXCHANGE", "GOOD_TILL_TIME_OMS", "GOOD_TILL_TIME_OEML"])
async def test_expiring_orders(call: Caller, force: str) -> None:
    report = await call.place(time_in_force=force, expire_time="2099-05-01T00:00")
    assert (report["time_in_force"], report["expire_time"]) == (force, "2099-05-01T00:00:00.0000000Z")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/orders/cancel", {"exchange_id": ACCOUNT}),
        ("/v1/orders/cancel", CANCEL | {"exchange_order_id": "x"}),
        ("/v1/orders/cancel", {"client_order_id": "order-1"}),
        ("/v1/orders/cancel/all", {"exchange_id ": ACCOUNT}),
        ("/v1/orders/cancel/all", {}),
        ("/v1/orders/cancel/all", b"[]"),
        ("/v1/orders/cancel/all", b"null"),
        ("/v1/orders", b"{"),
        ("/v1/orders", b"\xff\xfe"),
        ("/v1/orders", b'{"client_order_id": "\\ud800"}'),
        ("/v1/orders", b'{"price": NaN}'),
        ("/v1/orders", b'{"price": 1e999999999999999999999}'),
        ("/v1/orders", b'{"price": ' + b"9" * 5_000 + b"}"),
        ("/v1/orders", b"[" * 100_000),
    ],
)
async def test_bad_bodies(call: Caller, path: str, body: object) -> None:
    reply = await call("POST", path, body)
    assert (reply.status, reply.json["status"]) == (400, 400)


async def test_cancel_all_takes_one_account(sim: Simulator, call: Caller) -> None:
    for name, account in (("a", ACCOUNT), ("b", ACCOUNT), ("c", "KRAKEN")):
        await call.place(client_order_id=name, exchange_id=account)
    assert len((await call("GET", "/v1/orders")).json) == 3
    assert len((await call("GET", f"/v1/orders?exchange_id={ACCOUNT}")).json) == 2
    reply = await call("POST", "/v1/orders/cancel/all", {"exchange_id": ACCOUNT})
    assert reply.json == {"type": "message", "severity": "INFO", "exchange_id": ACCOUNT, "message": "Ok"}
    assert [row["client_order_id"] for row in (await call("GET", "/v1/orders")).json] == ["c"]
    assert {order.status.value for order in sim.orders if order.status} == {"CANCELED", "NEW"}


async def test_unknown_orders(call: Caller) -> None:
    for reply in (
        await call("GET", "/v1/orders/status/nobody"),
        await call("POST", "/v1/orders/cancel", {"exchange_id": ACCOUNT, "client_order_id": "nobody"}),
    ):
        assert reply.status == 404
        assert reply.json["reject_reason"] == "ORDER_ID_NOT_FOUND"
        assert reply.json["message"] == "Order with ID: nobody not found"
    await call.place()
    other = await call("POST", "/v1/orders/cancel", CANCEL | {"exchange_id": "KRAKEN"})
    assert other.status == 404


@pytest.mark.parametrize("known", [True, False])
async def test_unreachable_exchanges(sim: Simulator, call: Caller, known: bool) -> None:
    account = ACCOUNT if known else "BITSTAMP"
    sim.exchange_down(ACCOUNT)
    sent = json.dumps(new_order(exchange_id=account), indent=1).encode()
    replies = [
        await call("POST", "/v1/orders", sent),
        await call("POST", "/v1/orders/cancel", {"exchange_id": account, "client_order_id": "x"}),
        await call("POST", "/v1/orders/cancel/all", {"exchange_id": account}),
        *[await call("GET", f"/v1/{what}?exchange_id={account}") for what in ("orders", "balances", "positions")],
    ]
    for reply in replies:
        assert reply.status == 490
        assert reply.json["type"] == "MESSAGE_REJECT"
        assert reply.json["reject_reason"] == "EXCHANGE_UNREACHABLE"
        assert reply.json["exchange_id"] == account
    assert replies[0].json["rejected_message"] == sent.decode()
    assert sim.executions("order-1") == 0
    row = next(one for one in (await call("GET", "/v1/balances")).json if one["exchange_id"] == ACCOUNT)
    assert "data" not in row
    sim.exchange_up(ACCOUNT)
    await call.place()


async def test_a_slow_exchange_has_the_order(sim: Simulator, call: Caller) -> None:
    sim.exchange_slow(ACCOUNT)
    began = time.monotonic()
    reply = await call("POST", "/v1/orders", new_order())
    assert time.monotonic() - began >= Pace().timeout
    assert (reply.status, reply.json["reject_reason"]) == (504, "EXCHANGE_RESPONSE_TIMEOUT")
    assert sim.executions("order-1") == 1
    assert (await call.status("order-1"))["status"] == "NEW"
    sim.exchange_slow(ACCOUNT, False)
    await call.place(client_order_id="order-2")


async def test_the_reply_is_not_known_before_it_comes(call: Caller) -> None:
    pace = Pace(reply=0.6, book=3600.0)
    async with Simulator(sites={EAST: 0.0}, pace=pace) as sim:
        slow = Caller(sim, call.session)
        placing = asyncio.create_task(slow("POST", "/v1/orders", new_order()))
        await until(lambda: sim.executions("order-1") == 1)
        await until(lambda: len(sim.orders[0].history) > 1)
        found = await slow.status("order-1")
        (opened,) = (await slow("GET", "/v1/orders")).json
        rows = (await slow("GET", "/v1/orders/history?time_start=2000-01-01&time_end=2099-01-01")).json
        cancelled = (await slow("POST", "/v1/orders/cancel", CANCEL)).json
        assert not placing.done()
        for report in (found, opened, cancelled):
            assert [step for step, _ in report["status_history"]] == ["RECEIVED", "ROUTING"]
            assert (report["status"], report["exchange_order_id"]) == ("ROUTING", None)
        assert [row["status"] for row in rows] == ["RECEIVED", "ROUTING"]
        placed = (await placing).json
        assert [step for step, _ in placed["status_history"]] == ["RECEIVED", "ROUTING", "ROUTED"]
        assert placed["status_history"][:2] == found["status_history"]
        times = [read_time(time) for _, time in placed["status_history"]]
        assert times[2] - times[0] == pytest.approx(6_000_000, abs=2)
        # Nobody who has the answer can read an older report.
        assert (await slow.status("order-1"))["status_history"] == placed["status_history"]


async def test_balances(sim: Simulator, call: Caller) -> None:
    await call.place(amount_order=2, price=10000)
    rows = (await call("GET", f"/v1/balances?exchange_id={ACCOUNT}")).json
    assert (rows[0]["type"], rows[0]["exchange_id"]) == ("BALANCE_SNAPSHOT", ACCOUNT)
    usdt = next(row for row in rows[0]["data"] if row["asset_id_coinapi"] == "USDT")
    assert usdt["balance"] == usdt["available"] + usdt["locked"] == 100_000_000
    assert usdt["locked"] == sim.balance(ACCOUNT, "USDT").locked == 20_000
    assert usdt["last_updated_by"] == "EXCHANGE"
    assert [row["id"] for row in rows[0]["data"]] == ["XBT", "USDT", "ZUSD", "ETH", "ZJPY"]
    assert len((await call("GET", "/v1/balances")).json) == 4


async def test_positions(call: Caller) -> None:
    future = {"exchange_id": "DERIBIT", "symbol_id_coinapi": "DERIBIT_PERP_BTC_USDC"}
    await call.place(**future, price=10805, amount_order=1)
    rows = (await call("GET", "/v1/positions?exchange_id=DERIBIT")).json
    assert [row["exchange_id"] for row in rows] == ["DERIBIT"]
    (position,) = rows[0]["data"]
    assert position["id"] == position["symbol_id_exchange"] == "BTC_USDC-PERPETUAL"
    assert (position["side"], position["quantity"], position["avg_entry_price"]) == ("BUY", 1, 10801)
    assert position["unrealized_pnl"] == -1
    assert json.loads(position["raw_data"])[0]["Key"] == 54
    assert [row["data"] for row in (await call("GET", "/v1/positions")).json[:2]] == [[], []]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/orders/history?time_start=2000-01-01T00:00:00&time_end=20991231T23",
        "/v1/orders/history/2000-01-01/2099-12-31",
    ],
)
async def test_history(sim: Simulator, call: Caller, path: str) -> None:
    await call.place(amount_order=3, price=10802)
    rows = (await call("GET", path)).json
    assert [row["status"] for row in rows][-2:] == ["PARTIALLY_FILLED", "FILLED"]
    last = rows[-1]
    assert last["apikey"] == sim.api_key
    assert (last["side"], last["amountOpen"], last["amountFilled"]) == (1, 0, 3)
    assert last["statusHistoryStatus"] == ["RECEIVED", "ROUTING", "ROUTED", "PARTIALLY_FILLED", "FILLED"]
    assert len(last["statusHistoryTime"]) == 5
    assert (last["fillsPrice"], last["fillsAmount"]) == ([10801, 10802], [2, 1])
    assert last["createdTime"] == last["statusHistoryTime"][-1]
    early = await call("GET", "/v1/orders/history?time_start=2000-01-01&time_end=2000-01-02")
    assert early.json == []


@pytest.mark.parametrize("query", ["", "?time_start=2000-01-01", "?time_start=x&time_end=2000-01-01"])
async def test_history_needs_a_window(call: Caller, query: str) -> None:
    reply = await call("GET", "/v1/orders/history" + query)
    assert reply.status == 400
    assert reply.json["errors"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "//v1/orders", 404),
        ("GET", "/v2/orders", 404),
        ("GET", "/v1/orders/status/", 404),
        ("PUT", "/v1/orders", 405),
        ("HEAD", "/v1/orders", 405),
        ("DELETE", "/v1/orders/cancel", 405),
        ("GET", "/v1/orders/status/%zz", 400),
        ("GET", "/v1/orders/status/%ff", 400),
        ("GET", "/v1/balances?exchange_id=%ff", 400),
        ("GET", "/health/live", 200),
        ("GET", "/v1/orders/", 200),
    ],
)
async def test_framework_faults(call: Caller, method: str, path: str, status: int) -> None:
    reply = await call(method, path)
    assert reply.status == status
    assert status == 200 or reply.body == b""


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_other_media_types(call: Caller, media: str) -> None:
    headers = {"X-CoinAPI-Key": call.sim.api_key, "Content-Type": media}
    reply = await call("POST", "/v1/orders", new_order(), headers=headers)
    assert reply.status == 415


async def test_sites_share_orders(call: Caller) -> None:
    await call.place()
    assert (await call.status("order-1", WEST))["status"] == "NEW"


async def test_the_book_is_open_to_view(sim: Simulator, call: Caller) -> None:
    await call.place(site=EAST)
    await call.status("order-1")
    book = sim.book(ACCOUNT, "XBT/USDT")
    assert book.bids[0] == (Decimal("10799.2"), Decimal("0.045"))
    assert len(book.asks) == 10
