"""The pure part: no socket, and time is what the test says it is."""

from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.models.lifecycle import ORDER_TRANSITIONS, OrderStatus
from coinapi_ems_async.simulator.clock import Moment, stamp
from coinapi_ems_async.simulator.market import Market
from coinapi_ems_async.simulator.orders import Order, Ticket
from coinapi_ems_async.simulator.variants import Pace

S = OrderStatus
START = Moment(1_000.0, 17_000_000_000_000_000)
PACE = Pace(reply=0.005, book=0.02, cancel=0.02, replenish=1.0)
BTC = "KRAKEN_SPOT_BTC_USDT"
D = Decimal


def at(seconds: float) -> Moment:
    return START.at(START.now + seconds)


def ticket(name: str = "a", **fields: Any) -> Ticket:
    given: dict[str, Any] = {
        "exchange_id": "KRAKEN/JOHN",
        "client_order_id": name,
        "symbol_id_exchange": None,
        "symbol_id_coinapi": BTC,
        "amount": D("0.5"),
        "price": D("10799.2"),
        "side": Side.BUY,
        "order_type": "LIMIT",
        "time_in_force": "GOOD_TILL_CANCEL",
    }
    return Ticket(**(given | fields))


def walk(order: Order) -> list[OrderStatus]:
    steps = [status for status, _ in order.history]
    assert all(after in ORDER_TRANSITIONS[before] for before, after in pairwise(steps))
    times = [time for _, time in order.history]
    assert times == sorted(set(times))
    return steps


@pytest.fixture
def market() -> Market:
    found = Market(PACE, seed=1)
    for account in ("KRAKEN", "KRAKEN/JOHN", "BITMEX/JOHN", "DERIBIT"):
        found.open_account(account)
    return found


def money(market: Market, asset: str, account: str = "KRAKEN/JOHN") -> tuple[Any, Any]:
    balance = market.ledger(account).balance(asset)
    return balance.available, balance.locked


def test_an_order_rests_and_is_cancelled(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    market.advance(at(0.0249))
    assert walk(order) == [S.RECEIVED, S.ROUTING, S.ROUTED]
    assert walk(order)[-1] == S.ROUTED
    market.advance(at(0.026))
    assert walk(order)[-1] == S.NEW
    assert order.history[-1][1] == stamp(at(0.025).ticks)
    market.cancel(order, at(0.03))
    assert walk(order)[-1] == S.PENDING_CANCEL
    market.advance(at(0.06))
    assert walk(order)[3:] == [S.NEW, S.PENDING_CANCEL, S.CANCELED]
    assert not market.open_orders({"KRAKEN/JOHN"}, None)
    assert money(market, "USDT") == (D(100_000_000), 0)


def test_a_cancel_that_comes_before_the_book_waits_for_it(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    market.advance(at(0.006))
    market.cancel(order, at(0.006))
    assert order.status == S.ROUTED
    market.advance(at(1))
    assert walk(order)[3:] == [S.NEW, S.PENDING_CANCEL, S.CANCELED]


def test_nothing_is_known_before_its_time(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    for seconds, steps in ((0.0003, 1), (0.0049, 2), (0.0051, 3), (0.0249, 3), (0.0251, 4)):
        market.advance(at(seconds))
        assert walk(order) == [S.RECEIVED, S.ROUTING, S.ROUTED, S.NEW][:steps]
        assert order.history[-1][1] <= stamp(at(seconds).ticks)
        assert (order.exchange_order_id is not None) is (steps > 2)
        known = market.by_exchange_id(order.number or "", None)
        assert known is (order if steps > 2 else None)
    assert order.history[2][1] == stamp(at(0.005).ticks)


@pytest.mark.parametrize(("amount", "end"), [("0.5", S.ROUTED), ("5e-15", S.REJECTED)])
def test_the_reply_is_foreseen_exactly(market: Market, amount: str, end: OrderStatus) -> None:
    order = market.place(ticket(amount=D(amount)), "s", START)
    foreseen = order.replied()
    assert walk(order) == [S.RECEIVED]
    assert (order.error, order.exchange_order_id) == (None, None)
    market.advance(at(0.006))
    assert walk(foreseen) == [S.RECEIVED, S.ROUTING, end]
    for name in ("history", "status", "error", "exchange_order_id"):
        assert getattr(foreseen, name) == getattr(order, name)
    assert walk(order.replied()) == walk(order)


def test_without_a_delay_the_reply_is_there_at_once() -> None:
    market = Market(Pace(reply=0.0))
    market.open_account("KRAKEN/JOHN")
    order = market.place(ticket(), "s", START)
    assert walk(order) == [S.RECEIVED, S.ROUTING, S.ROUTED]
    assert market.by_exchange_id(order.exchange_order_id or "", None) is order


def test_a_cancel_while_routing_waits_for_the_book(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    refused = market.place(ticket("b", amount=D("5e-15")), "s", START)
    market.advance(at(0.002))
    for one in (order, refused):
        market.cancel(one, at(0.002))
        assert one.status == S.ROUTING
    market.advance(at(1))
    assert walk(order)[2:] == [S.ROUTED, S.NEW, S.PENDING_CANCEL, S.CANCELED]
    assert walk(refused)[2:] == [S.REJECTED]
    assert money(market, "USDT") == (D(100_000_000), 0)


def test_a_cancel_is_asked_for_once_and_finished_orders_stay(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    for second in (0.03, 0.031, 0.032):
        market.advance(at(second))
        market.cancel(order, at(second))
    market.advance(at(1))
    market.cancel(order, at(2))
    assert walk(order).count(S.PENDING_CANCEL) == 1
    assert order.status == S.CANCELED


def test_a_large_order_sweeps_levels_at_their_prices(market: Market) -> None:
    order = market.place(ticket(amount=D(5), price=D(10805)), "s", START)
    assert money(market, "USDT")[1] == 5 * D(10805)
    market.advance(at(0.1))
    assert walk(order)[3:] == [S.PARTIALLY_FILLED, S.PARTIALLY_FILLED, S.FILLED]
    assert order.fills[0][1:] == (D(10801), D(2))
    assert [fill.price for fill in order.fills] == [D(10801), D(10802), D(10803)]
    assert order.average == D("10801.8")
    assert money(market, "USDT") == (D(100_000_000) - 5 * D("10801.8"), 0)
    assert money(market, "BTC") == (D(10_005), 0)


def test_house_size_comes_back_and_fills_what_still_rests(market: Market) -> None:
    order = market.place(ticket(amount=D(5), price=D(10801)), "s", START)
    market.advance(at(0.1))
    assert order.status == S.PARTIALLY_FILLED
    assert order.filled == 2
    market.advance(at(1.1))
    assert order.filled == 4
    market.advance(at(10))
    assert walk(order)[3:] == [S.PARTIALLY_FILLED, S.PARTIALLY_FILLED, S.FILLED]
    assert market.book("KRAKEN", BTC).asks[0] == (D(10801), D(2))


def test_a_fill_overtakes_a_cancel(market: Market) -> None:
    order = market.place(ticket(), "s", START)
    market.advance(at(0.1))
    market.cancel(order, at(0.1))
    assert market.trade("KRAKEN", BTC, Side.SELL, D(10799), D("0.2"), at(0.105)) == D("0.2")
    market.advance(at(1))
    assert walk(order)[4:] == [S.PENDING_CANCEL, S.PARTIALLY_FILLED, S.CANCELED]
    assert order.filled == D("0.2")
    assert money(market, "USDT")[1] == 0


def test_orders_match_each_other_by_price_then_time(market: Market) -> None:
    later = market.place(ticket("later", price=D("10799.5")), "s", START)
    first = market.place(ticket("first", price=D("10799.6")), "s", at(0.001))
    second = market.place(ticket("second", price=D("10799.60"), exchange_id="KRAKEN"), "s", at(0.002))
    market.advance(at(0.1))
    sell = market.place(ticket("sell", side=Side.SELL, price=D(10799), amount=D("0.7")), "s", at(0.2))
    market.advance(at(0.3))
    assert walk(sell)[-1] == S.FILLED
    assert [(fill.price, fill.amount) for fill in sell.fills] == [
        (D("10799.6"), D("0.5")),
        (D("10799.6"), D("0.2")),
    ]
    assert (first.status, second.status, later.status) == (S.FILLED, S.PARTIALLY_FILLED, S.NEW)


@pytest.mark.parametrize(
    ("fields", "steps", "filled"),
    [
        ({"time_in_force": "IMMEDIATE_OR_CANCEL"}, [S.CANCELED], 0),
        ({"time_in_force": "FILL_OR_KILL"}, [S.CANCELED], 0),
        (
            {"time_in_force": "IMMEDIATE_OR_CANCEL", "price": D(10801), "amount": D(3)},
            [S.PARTIALLY_FILLED, S.CANCELED],
            2,
        ),
        ({"time_in_force": "FILL_OR_KILL", "price": D(10801), "amount": D(3)}, [S.CANCELED], 0),
        (
            {"time_in_force": "FILL_OR_KILL", "price": D(10802), "amount": D(3)},
            [S.PARTIALLY_FILLED, S.FILLED],
            3,
        ),
        ({"exec_inst": ("MAKER_OR_CANCEL",), "price": D(10801)}, [S.CANCELED], 0),
        ({"exec_inst": ("MAKER_OR_CANCEL",)}, [S.NEW], 0),
    ],
)
def test_orders_that_may_not_rest(
    market: Market, fields: dict[str, Any], steps: list[OrderStatus], filled: int
) -> None:
    order = market.place(ticket(**fields), "s", START)
    market.advance(at(0.1))
    assert walk(order)[3:] == steps
    assert order.filled == filled
    if order.is_final:
        assert money(market, "USDT")[1] == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"amount": D("5e-15")}, "EGeneral:Invalid arguments:volume"),
        ({"price": D("10799.001")}, "EGeneral:Invalid arguments:price"),
        ({"amount": D(555555555555555)}, "EOrder:Insufficient funds"),
        ({"side": Side.SELL, "amount": D(10_001)}, "EOrder:Insufficient funds"),
        ({"symbol_id_coinapi": "KRAKEN_SPOT_NO_WHERE"}, "EQuery:Unknown asset pair"),
        (
            {"time_in_force": "GOOD_TILL_TIME_OMS", "expire_time": "2020-01-01"},
            "EGeneral:Invalid arguments:expiretm",
        ),
    ],
)
def test_refusals_of_the_exchange(market: Market, fields: dict[str, Any], error: str) -> None:
    order = market.place(ticket(**fields), "s", START)
    market.advance(at(0.006))
    assert walk(order) == [S.RECEIVED, S.ROUTING, S.REJECTED]
    assert order.error == error
    assert order.exchange_order_id is None
    assert order.left == order.ticket.amount
    assert market.executions["a"] == 1
    assert money(market, "USDT") == (D(100_000_000), 0)


@pytest.mark.parametrize("account", ["BITMEX/JOHN", "DERIBIT"])
def test_positions_follow_fills(market: Market, account: str) -> None:
    symbol = market.exchange(account).symbols[0]
    name, quote = symbol.coinapi_id, symbol.quote.coinapi_id

    def deal(side: Side, amount: int, price: int, second: float) -> None:
        order = ticket(
            f"{second}", exchange_id=account, symbol_id_coinapi=name, side=side, amount=D(amount), price=D(price)
        )
        market.place(order, "s", at(second))
        market.advance(at(second + 0.5))

    deal(Side.BUY, 4, 10805, 0)
    position = market.ledger(account).positions[name]
    assert (position.quantity, position.average) == (D(4), D("10801.5"))
    deal(Side.SELL, 1, 10790, 1)
    assert (position.quantity, position.average) == (D(3), D("10801.5"))
    deal(Side.SELL, 5, 10790, 10)
    assert position.quantity == -2
    assert position.average == D("10797.5")
    assert money(market, quote, account) == (D(100_000_000) - 11, 0)
    deal(Side.BUY, 2, 10810, 20)
    assert not market.ledger(account).positions
    assert money(market, quote, account) == (D(100_000_000) - 18, 0)


@pytest.mark.parametrize(
    ("force", "end"),
    [
        ("GOOD_TILL_TIME_EXCHANGE", [S.CANCELED]),
        ("GOOD_TILL_TIME_OMS", [S.PENDING_CANCEL, S.CANCELED]),
        ("GOOD_TILL_TIME_OEML", [S.PENDING_CANCEL, S.CANCELED]),
    ],
)
def test_orders_expire(market: Market, force: str, end: list[OrderStatus]) -> None:
    order = market.place(ticket(time_in_force=force, expire_time=stamp(at(5).ticks)), "s", START)
    market.advance(at(4.9))
    assert order.status == S.NEW
    market.advance(at(6))
    assert walk(order)[4:] == end


def test_the_callers_decimal_context_does_not_matter(market: Market) -> None:
    with localcontext() as context:
        context.prec = 3
        order = market.place(ticket(amount=D("0.12345678"), price=D("10799.21")), "s", START)
        market.advance(at(0.1))
        market.trade("KRAKEN", BTC, Side.SELL, D(10799), D("0.00000001"), at(0.1))
    assert order.filled == D("0.00000001")
    assert order.average == D("10799.21")
    assert money(market, "USDT")[1] == D("0.12345677") * D("10799.21")


def test_the_oldest_finished_orders_are_forgotten() -> None:
    market = Market(PACE, limit=2)
    market.open_account("KRAKEN/JOHN")
    for name in "abcd":
        market.place(ticket(name, amount=D("5e-15")), "s", START)
    market.advance(at(1))
    assert [order.client_order_id for order in market.orders()] == ["c", "d"]
    assert market.by_client_id("a", None) is None
    assert market.executions["a"] == 1


def test_funding(market: Market) -> None:
    market.fund("KRAKEN/JOHN", "XBT", D("0.5"))
    assert money(market, "BTC")[0] == D("10000.5")
    with pytest.raises(ValueError, match="only"):
        market.fund("KRAKEN/JOHN", "BTC", D(-20_000))
    with pytest.raises(KeyError):
        market.fund("KRAKEN/JOHN", "NONE", D(1))
    with pytest.raises(KeyError):
        market.book("KRAKEN", "NONE")
