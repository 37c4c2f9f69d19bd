"""Orders with an end in time, and what exchanges lack."""

from typing import Any

import pytest

from coinapi_ems_async.models.enums import ExecInst, TimeInForce
from coinapi_ems_async.simulator import Simulator, Variants
from coinapi_ems_async.simulator.catalog import EXCHANGES
from coinapi_ems_async.simulator.clock import stamp
from coinapi_ems_async.simulator.market import Market
from coinapi_ems_async.simulator.support import INSTRUCTIONS, TIMES

from .helpers import ACCOUNT, Caller, new_order
from .test_exchange import PACE, START, S, at, ticket, walk

EXCHANGE, OMS, OEML = "GOOD_TILL_TIME_EXCHANGE", "GOOD_TILL_TIME_OMS", "GOOD_TILL_TIME_OEML"
SEVEN = "2099-02-03T04:05:06.1677709Z"


@pytest.fixture
def market() -> Market:
    found = Market(PACE, seed=1)
    for account in ("KRAKEN/JOHN", "DYDX", "LMAXDIGITAL"):
        found.open_account(account)
    return found


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ("2099-02-03T04:05:06.1677709Z", "2099-02-03T04:05:06.1677709Z"),
        ("2099-02-03T04:05:06.1677709", "2099-02-03T04:05:06.1677709Z"),
        ("2099-02-03T04:05:06.167", "2099-02-03T04:05:06.1670000Z"),
        ("2099-02-03T04:05:06", "2099-02-03T04:05:06.0000000Z"),
        ("2099-02-03T04:05", "2099-02-03T04:05:00.0000000Z"),
        ("2099-02-03T04", "2099-02-03T04:00:00.0000000Z"),
        ("2099-02-03", "2099-02-03T00:00:00.0000000Z"),
        ("20990203T0405061677709", "2099-02-03T04:05:06.1677709Z"),
        ("20990203T040506167", "2099-02-03T04:05:06.1670000Z"),
        ("20990203T040506", "2099-02-03T04:05:06.0000000Z"),
        ("20990203T0405", "2099-02-03T04:05:00.0000000Z"),
        ("20990203T04", "2099-02-03T04:00:00.0000000Z"),
        ("20990203", "2099-02-03T00:00:00.0000000Z"),
    ],
)
async def test_every_documented_form_is_read_and_one_is_written(
    sim: Simulator, call: Caller, sent: str, means: str
) -> None:
    report = await call.place(time_in_force=EXCHANGE, expire_time=sent)
    assert (report["status"], report["time_in_force"], report["expire_time"]) == ("ROUTED", EXCHANGE, means)
    sim.variants = Variants(expire_time="as_sent")
    assert (await call.status("order-1"))["expire_time"] == sent


@pytest.mark.parametrize(
    "sent", ["soon", "2099-13-01", "2099-02-03T25:00", "02/03/2099", "2099-02-03T04:05:06+01:00"]
)
async def test_other_forms_are_bad_requests(call: Caller, sent: str) -> None:
    reply = await call("POST", "/v1/orders", new_order(time_in_force=OMS, expire_time=sent))
    assert (reply.status, list(reply.json["errors"])) == (400, ["expire_time"])


@pytest.mark.parametrize("force", [EXCHANGE, OMS, OEML])
async def test_a_time_that_is_past_is_refused_by_report(sim: Simulator, call: Caller, force: str) -> None:
    report = await call.place(time_in_force=force, expire_time="2020-01-01T10:45:20.1677709Z")
    assert (report["status"], report["time_in_force"]) == ("REJECTED", force)
    assert report["error_message"] == "EGeneral:Invalid arguments:expiretm"
    assert report["expire_time"] == "2020-01-01T10:45:20.1677709Z"
    assert sim.executions("order-1") == 1


def test_an_order_may_end_before_it_rests(market: Market) -> None:
    ends = stamp(at(0.01).ticks)
    by_exchange = market.place(ticket("a", time_in_force=EXCHANGE, expire_time=ends), "s", START)
    by_service = market.place(ticket("b", time_in_force=OMS, expire_time=ends), "s", START)
    market.advance(at(1))
    assert walk(by_exchange)[2:] == [S.ROUTED, S.CANCELED]
    assert walk(by_service)[2:] == [S.ROUTED, S.NEW, S.PENDING_CANCEL, S.CANCELED]


def test_a_fill_ends_it_before_its_time(market: Market) -> None:
    ends = stamp(at(5).ticks)
    order = market.place(ticket(time_in_force=OMS, expire_time=ends, price=ticket().price + 10), "s", START)
    market.advance(at(6))
    assert walk(order)[3:] == [S.FILLED]


def test_the_service_cannot_cancel_at_an_exchange_that_it_does_not_reach(market: Market) -> None:
    ends = stamp(at(5).ticks)
    by_exchange = market.place(ticket("a", time_in_force=EXCHANGE, expire_time=ends), "s", START)
    by_service = market.place(ticket("b", time_in_force=OEML, expire_time=ends), "s", START)
    market.advance(at(4))
    market.down.add("KRAKEN/JOHN")
    market.advance(at(6))
    market.down.clear()
    market.advance(at(60))
    assert (by_exchange.status, by_service.status) == (S.CANCELED, S.NEW)


# What exchanges lack


def test_the_tables_know_every_exchange() -> None:
    assert set(TIMES) == set(INSTRUCTIONS) == set(EXCHANGES)
    everywhere = {TimeInForce(name) for name in ("GOOD_TILL_CANCEL", OMS, "IMMEDIATE_OR_CANCEL")}
    assert set.intersection(*map(set, TIMES.values())) == everywhere
    by_exchange = [one for one in EXCHANGES if TimeInForce.GOOD_TILL_TIME_EXCHANGE in TIMES[one]]
    assert sorted(by_exchange) == ["BITFINEX", "BLOCKCHAINEXCHANGE", "DYDX", "HITBTC"]
    no_kill = [one for one in EXCHANGES if TimeInForce.FILL_OR_KILL not in TIMES[one]]
    assert sorted(no_kill) == ["BLOCKCHAINEXCHANGE", "KRAKEN", "KRAKENFTS"]
    reducing = [one for one in EXCHANGES if ExecInst.DO_NOT_INCREASE in INSTRUCTIONS[one]]
    assert sorted(reducing) == ["DERIBIT", "DERIBITUAT", "DYDX"]
    assert INSTRUCTIONS["GEMINI"] == {"MAKER_OR_CANCEL", "AUCTION_ONLY", "INDICATION_OF_INTEREST"}
    assert INSTRUCTIONS["LMAXDIGITAL"] == {"CANCEL_ON_DISCONNECT", "DO_NOT_CANCEL_ON_DISCONNECT"}
    assert INSTRUCTIONS["BITSTAMP"] == INSTRUCTIONS["HITBTC"] == set()
    assert INSTRUCTIONS["BINANCE"] == {"MAKER_OR_CANCEL"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"time_in_force": "FILL_OR_KILL"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"time_in_force": EXCHANGE, "expire_time": SEVEN}, "EGeneral:Invalid arguments:timeinforce"),
        ({"exec_inst": ["DO_NOT_INCREASE"]}, "EGeneral:Invalid arguments:oflags"),
        ({"exec_inst": ["MAKER_OR_CANCEL", "AUCTION_ONLY"]}, "EGeneral:Invalid arguments:oflags"),
        ({"exec_inst": ["CANCEL_ON_DISCONNECT"]}, "EGeneral:Invalid arguments:oflags"),
        ({"time_in_force": OEML, "expire_time": SEVEN}, None),
        ({"exec_inst": ["MAKER_OR_CANCEL"], "price": 9000}, None),
    ],
)
async def test_an_exchange_may_refuse_what_it_lacks(
    sim: Simulator, call: Caller, fields: dict[str, Any], error: str | None
) -> None:
    taken = await call.place(client_order_id="before", **fields)
    assert taken["status"] == "ROUTED"
    sim.variants = Variants(unsupported="reject")
    report = await call.place(**fields)
    assert (report["status"], report["error_message"]) == ("REJECTED" if error else "ROUTED", error)
    assert report["exchange_id"] == ACCOUNT


@pytest.mark.parametrize("instruction", ["CANCEL_ON_DISCONNECT", "DO_NOT_CANCEL_ON_DISCONNECT"])
def test_there_is_nothing_to_disconnect_in_rest(market: Market, instruction: str) -> None:
    asked = ticket(
        exchange_id="LMAXDIGITAL",
        symbol_id_coinapi="LMAXDIGITAL_SPOT_BTC_USDT",
        exec_inst=(instruction,),
    )
    order = market.place(asked, "s", START, strict=True)
    market.advance(at(3600))
    assert walk(order)[3:] == [S.NEW]
