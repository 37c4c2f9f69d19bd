"""Positions of derivatives: what they cost, what they make, and that no money comes from nowhere."""

from decimal import Decimal, localcontext
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.models.lifecycle import OrderStatus
from coinapi_ems_async.simulator import PositionView, Simulator
from coinapi_ems_async.simulator.catalog import Symbol
from coinapi_ems_async.simulator.ledger import Position
from coinapi_ems_async.simulator.market import Market
from coinapi_ems_async.simulator.numbers import exact
from coinapi_ems_async.simulator.orders import Order

from .helpers import EAST, INSTANT, Caller, new_order
from .test_exchange import PACE, S, at, ticket

D = Decimal
BTC, ACCOUNT = "DERIBIT_PERP_BTC_USDC", "DERIBIT"
REDUCE = ("DO_NOT_INCREASE",)
SIDES = st.sampled_from([Side.BUY, Side.SELL])
AMOUNTS = st.integers(1, 600_000_000).map(lambda units: Decimal(units).scaleb(-8))
PRICES = st.integers(1_078_500, 1_081_500).map(lambda cents: Decimal(cents).scaleb(-2))


class Desk:
    """One account of one exchange, and a clock that goes on with every order."""

    def __init__(self, account: str = ACCOUNT, symbol: str = BTC) -> None:
        self.market = Market(PACE, seed=1)
        self.market.open_account(account)
        self.account, self.symbol = account, symbol
        self.seconds = 0.0
        self.orders: list[Order] = []

    def deal(self, side: Side, amount: Any, price: Any, wait: float = 0.5, **fields: Any) -> Order:
        asked = ticket(
            f"{len(self.orders)}",
            exchange_id=self.account,
            symbol_id_coinapi=self.symbol,
            side=side,
            amount=D(amount),
            price=D(price),
            **fields,
        )
        order = self.market.place(asked, "s", at(self.seconds))
        self.orders.append(order)
        self.pass_time(wait)
        return order

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.market.advance(at(self.seconds))

    @property
    def position(self) -> PositionView | None:
        found = self.market.positions(self.account)
        return found[0] if found else None

    @property
    @exact
    def filled(self) -> dict[Side, Decimal]:
        """What all orders of each side have traded."""
        return {
            side: sum((order.filled for order in self.orders if order.ticket.side == side), D(0)) for side in Side
        }

    @property
    def traded(self) -> Symbol:
        return self.market.exchange(self.account).symbols[0]

    @property
    def money(self) -> Decimal:
        return self.market.ledger(self.account).balance("USDC").total


@exact
def spent(orders: list[Order]) -> Decimal:
    """What all fills cost: bought at their prices, less what was sold."""
    return sum(
        (
            fill.amount * fill.price * (1 if order.ticket.side == Side.BUY else -1)
            for order in orders
            for fill in order.fills
        ),
        D(0),
    )


@exact
def no_money_is_made(desk: Desk, before: Decimal) -> bool:
    ledger = desk.market.ledger(desk.account)
    value = sum((one.value for one in ledger.positions.values()), D(0))
    return spent(desk.orders) == value + (before - desk.money)


@exact
def only_reduced(desk: Desk, held: PositionView, order: Order, done: dict[Side, Decimal]) -> None:
    """The order took from the position only; others that rest trade meanwhile, and may add to it or turn it."""
    against = desk.filled[held.side] - done[held.side]
    with_it = desk.filled[order.ticket.side] - done[order.ticket.side] - order.filled
    assert order.filled <= held.quantity + against
    if not against and not with_it:
        now = desk.position
        assert (now.quantity if now else 0) == held.quantity - order.filled
        assert now is None or now.side == held.side


def test_a_long_position_is_valued_at_the_middle() -> None:
    desk = Desk()
    desk.deal(Side.BUY, 4, 10805)  # 2 at 10801, 2 at 10802
    desk.pass_time(2)
    found = desk.position
    assert found is not None
    assert (found.side, found.quantity, found.avg_entry_price) == (Side.BUY, D(4), D("10801.5"))
    assert (found.middle, found.unrealized_pnl) == (D(10800), D(-6))
    # 4 x (10801.5 - price) would be all the money only far below zero.
    assert found.liquidation_price is None
    desk.market.fund(ACCOUNT, "USDC", D(20_000) - desk.money)
    found = desk.position
    assert found is not None
    assert found.liquidation_price == D("5801.5")


def test_a_short_position() -> None:
    desk = Desk()
    desk.market.fund(ACCOUNT, "USDC", D(20_000) - desk.money)
    desk.deal(Side.SELL, 4, 10795)
    desk.pass_time(2)
    found = desk.position
    assert found is not None
    assert (found.side, found.quantity, found.avg_entry_price) == (Side.SELL, D(4), D("10798.5"))
    assert (found.unrealized_pnl, found.liquidation_price) == (D(-6), D("15798.5"))


def test_the_middle_follows_the_book() -> None:
    desk = Desk()
    desk.deal(Side.BUY, 1, 10801)
    desk.deal(Side.BUY, 1, "10800.5")  # rests, and is the best bid
    found = desk.position
    assert found is not None
    assert found.middle == D("10800.75")
    assert found.unrealized_pnl == D("-0.25")


def test_a_loss_larger_than_the_money_leaves_a_debt_and_no_new_order() -> None:
    desk = Desk()
    desk.market.fund(ACCOUNT, "USDC", D(1_100) - desk.money)
    desk.deal(Side.BUY, 1, 10801)
    desk.market.fund(ACCOUNT, "USDC", D(-1_099))
    desk.market.exchange(ACCOUNT).ledgers[ACCOUNT].fill(desk.traded, Side.SELL, D(0), D(10_000), D(1))
    assert desk.money == D(1) - D(801)
    assert desk.position is None
    assert desk.deal(Side.BUY, "0.001", 9000).error == "EOrder:Insufficient funds"
    desk.market.fund(ACCOUNT, "USDC", D(500))
    assert desk.money == D(-300)


@given(st.lists(st.tuples(SIDES, AMOUNTS, PRICES), min_size=1, max_size=20))
@exact
def test_amounts_times_prices_are_value_less_what_was_realised(fills: list[tuple[Side, Decimal, Decimal]]) -> None:
    position = Position(Desk().traded)
    cost = realised = D(0)
    for side, amount, price in fills:
        signed = amount if side == Side.BUY else -amount
        cost += signed * price
        realised += position.add(signed, price)
        assert cost == position.value - realised
        assert realised == realised.quantize(D("1e-10"))
        if position.quantity:
            prices = [one[2] for one in fills]
            assert min(prices) - 1 <= position.average <= max(prices) + 1
        else:
            assert position.value == 0
    if position.quantity:
        position.add(-position.quantity, D(10_800))
    assert (position.quantity, position.value) == (D(0), D(0))


@settings(max_examples=60)
@given(st.lists(st.tuples(SIDES, AMOUNTS, PRICES, st.booleans()), min_size=1, max_size=12))
def test_money_is_conserved_on_a_market_and_a_closed_account_is_flat(
    deals: list[tuple[Side, Decimal, Decimal, bool]],
) -> None:
    desk = Desk()
    before = desk.money
    with localcontext() as context:
        context.prec = 6
        for side, amount, price, reduce in deals:
            held, done = desk.position, desk.filled
            order = desk.deal(side, amount, price, exec_inst=REDUCE if reduce else ())
            assert no_money_is_made(desk, before)
            if reduce and (held is None or held.side == side):
                assert order.status == OrderStatus.REJECTED
            elif reduce and held is not None:
                only_reduced(desk, held, order, done)
        for order in desk.orders:
            desk.market.cancel(order, at(desk.seconds))
        desk.pass_time(100)
        while (held := desk.position) is not None:
            side = Side.SELL if held.side == Side.BUY else Side.BUY
            price = D(10_000) if side == Side.SELL else D(11_600)
            desk.deal(side, held.quantity, price, 100, exec_inst=REDUCE, time_in_force="IMMEDIATE_OR_CANCEL")
            assert no_money_is_made(desk, before)
    assert before - desk.money == spent(desk.orders)
    assert desk.market.ledger(ACCOUNT).balance("USDC").locked == 0


# DO_NOT_INCREASE


def test_without_a_position_to_reduce_it_is_refused() -> None:
    desk = Desk()
    assert desk.deal(Side.SELL, 1, 10790, exec_inst=REDUCE).error == "EOrder:Reduce only:No position exists"
    desk.deal(Side.BUY, 1, 10801)
    assert desk.deal(Side.BUY, 1, 10801, exec_inst=REDUCE).status == S.REJECTED


@pytest.mark.parametrize(
    ("force", "steps"),
    [
        ("GOOD_TILL_CANCEL", [S.PARTIALLY_FILLED, S.CANCELED]),
        ("IMMEDIATE_OR_CANCEL", [S.PARTIALLY_FILLED, S.CANCELED]),
        ("FILL_OR_KILL", [S.CANCELED]),
    ],
)
def test_it_closes_and_does_not_turn(force: str, steps: list[OrderStatus]) -> None:
    desk = Desk()
    desk.deal(Side.BUY, 1, 10801)
    order = desk.deal(Side.SELL, 3, 10790, exec_inst=REDUCE, time_in_force=force)
    assert [status for status, _ in order.history][3:] == steps
    assert (desk.position is None) == (order.filled == 1)


def test_what_rests_never_offers_more_than_the_position() -> None:
    desk = Desk()
    desk.deal(Side.BUY, 2, 10801)
    first = desk.deal(Side.SELL, "1.5", 10850, exec_inst=REDUCE)
    second = desk.deal(Side.SELL, "1.5", 10850, exec_inst=REDUCE)
    third = desk.deal(Side.SELL, 1, 10850, exec_inst=REDUCE)
    assert (first.status, second.status, third.status) == (S.NEW, S.NEW, S.CANCELED)
    assert desk.market.book(ACCOUNT, BTC).asks[-1] == (D(10850), D(2))
    desk.deal(Side.BUY, "0.25", 10801)  # more to reduce
    assert desk.market.book(ACCOUNT, BTC).asks[-1] == (D(10850), D("2.25"))
    desk.deal(Side.SELL, 1, 10790)  # and less: the younger one gives way
    assert second.status == S.CANCELED
    assert desk.market.book(ACCOUNT, BTC).asks[-1] == (D(10850), D("1.25"))
    desk.market.trade(ACCOUNT, BTC, Side.BUY, D(10850), D(1000), at(desk.seconds))
    assert (first.status, first.filled) == (S.CANCELED, D("1.25"))
    assert desk.position is None
    assert desk.market.ledger(ACCOUNT).balance("USDC").locked == 0


def test_a_resting_one_of_ones_own_is_taken_and_offered_again() -> None:
    desk = Desk()
    desk.deal(Side.BUY, 1, 10801)
    resting = desk.deal(Side.SELL, 3, "10800.5", exec_inst=REDUCE)
    desk.deal(Side.BUY, 1, "10800.5")  # from oneself: the position stays what it was
    assert (resting.status, resting.filled) == (S.PARTIALLY_FILLED, D(1))
    assert desk.market.book(ACCOUNT, BTC).asks[0] == (D("10800.5"), D(1))


def test_an_exchange_that_lacks_it_does_not_heed_it() -> None:
    desk = Desk("BITMEX/JOHN", "BITMEX_PERP_BTC_USDT")
    assert desk.deal(Side.BUY, 1, 10801, exec_inst=REDUCE).status == S.FILLED


# On the wire


async def test_positions_on_the_wire() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, seed=7) as sim:
        async with aiohttp.ClientSession() as session:
            call = Caller(sim, session)
            sim.fund(ACCOUNT, "USDC", 20_000 - 100_000_000)
            deal = new_order(exchange_id=ACCOUNT, symbol_id_coinapi=BTC, amount_order=4, price=10802)
            await call("POST", "/v1/orders", deal)
            (row,) = (await call("GET", f"/v1/positions?exchange_id={ACCOUNT}")).json
            (item,) = row["data"]
            (seen,) = sim.positions(ACCOUNT)
    del item["raw_data"]
    assert item == {
        "id": "BTC_USDC-PERPETUAL",
        "symbol_id_exchange": "BTC_USDC-PERPETUAL",
        "symbol_id_coinapi": BTC,
        "avg_entry_price": D("10801.5"),
        "quantity": D(4),
        "side": "BUY",
        "unrealized_pnl": seen.unrealized_pnl,
        "leverage": D(10),
        "cross_margin": True,
        "liquidation_price": D("5801.5"),
    }
    assert seen.unrealized_pnl == 4 * (seen.middle - D("10801.5"))
