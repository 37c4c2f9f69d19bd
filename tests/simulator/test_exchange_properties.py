"""Random orders, cancels and time: what must hold after every step."""

from decimal import Decimal
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.models.lifecycle import ORDER_TRANSITIONS, OrderStatus
from coinapi_ems_async.simulator.catalog import MARGIN_RATE
from coinapi_ems_async.simulator.clock import Moment
from coinapi_ems_async.simulator.market import Market
from coinapi_ems_async.simulator.numbers import exact
from coinapi_ems_async.simulator.orders import Order, Ticket
from coinapi_ems_async.simulator.variants import Pace

ACCOUNTS = {
    "KRAKEN": "KRAKEN_SPOT_BTC_USDT",
    "KRAKEN/JOHN": "KRAKEN_SPOT_BTC_USDT",
    "BITMEX/JOHN": "BITMEX_PERP_BTC_USDT",
    "DERIBIT": "DERIBIT_PERP_BTC_USDC",
}
FORCES = ("GOOD_TILL_CANCEL", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL")
SIDES = st.sampled_from([Side.BUY, Side.SELL])
PRICES = st.integers(1_078_500, 1_081_500).map(lambda cents: Decimal(cents).scaleb(-2))
AMOUNTS = st.integers(1, 500_000_000).map(lambda units: Decimal(units).scaleb(-8))


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.market = Market(Pace(), seed=3)
        for account in ACCOUNTS:
            self.market.open_account(account)
        self.market.fund("KRAKEN", "USDT", Decimal(-99_950_000))
        self.now = Moment(0.0, 17_000_000_000_000_000)
        self.orders: list[Order] = []
        self.ends: dict[int, OrderStatus] = {}

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        side=SIDES,
        price=PRICES,
        amount=AMOUNTS,
        force=st.sampled_from(FORCES),
        instructions=st.sets(st.sampled_from(["MAKER_OR_CANCEL", "DO_NOT_INCREASE"])),
    )
    def place(
        self, account: str, side: Side, price: Decimal, amount: Decimal, force: str, instructions: set[str]
    ) -> None:
        ticket = Ticket(
            exchange_id=account,
            client_order_id=str(len(self.orders)),
            symbol_id_exchange=None,
            symbol_id_coinapi=ACCOUNTS[account],
            amount=amount,
            price=price,
            side=side,
            order_type="LIMIT",
            time_in_force=force,
            exec_inst=tuple(instructions),
        )
        self.orders.append(self.market.place(ticket, "site", self.now))

    @rule(choice=st.integers(0, 1_000))
    def cancel(self, choice: int) -> None:
        if self.orders:
            self.market.cancel(self.orders[choice % len(self.orders)], self.now)

    @rule(side=SIDES, price=PRICES, amount=AMOUNTS)
    def trade(self, side: Side, price: Decimal, amount: Decimal) -> None:
        self.market.trade("KRAKEN", "XBT/USDT", side, price, amount, self.now)

    @rule(milliseconds=st.integers(0, 1_500))
    def wait(self, milliseconds: int) -> None:
        self.now = self.now.at(self.now.now + milliseconds / 1_000)
        self.market.advance(self.now)

    @invariant()
    @exact
    def locks_are_what_unfinished_orders_need(self) -> None:
        for account in ACCOUNTS:
            need: dict[str, Decimal] = {}
            for order in self.market.open_orders({account}, None):
                if order.verdict is not None:  # refused already, though the service has not heard of it
                    continue
                assert order.symbol is not None
                ticket, symbol = order.ticket, order.symbol
                price = ticket.price * MARGIN_RATE if symbol.derivative else ticket.price
                pays = symbol.derivative or ticket.side == Side.BUY
                asset = symbol.quote if pays else symbol.base
                need.setdefault(asset.coinapi_id, Decimal(0))
                need[asset.coinapi_id] += order.left * (price if pays else 1)
            for name, balance in self.market.ledger(account).balances.items():
                assert balance.available >= 0
                assert balance.locked == need.get(name, 0)
                assert balance.total == balance.available + balance.locked

    @invariant()
    @exact
    def no_more_is_offered_to_reduce_than_there_is(self) -> None:
        ledger = self.market.ledger("DERIBIT")
        for side in Side:
            resting = [
                order.quote.amount
                for order in self.market.open_orders({"DERIBIT"}, None)
                if "DO_NOT_INCREASE" in order.ticket.exec_inst
                and order.quote is not None
                and order.ticket.side == side
            ]
            symbol = self.market.exchange("DERIBIT").symbols[0]
            assert all(resting)
            assert sum(resting) <= ledger.reducible(symbol, side)

    @invariant()
    @exact
    def no_money_is_made(self) -> None:
        for account in ("BITMEX/JOHN", "DERIBIT"):
            ledger = self.market.ledger(account)
            symbol = self.market.exchange(account).symbols[0]
            spent = sum(
                fill.amount * fill.price * (1 if order.ticket.side == Side.BUY else -1)
                for order in self.orders
                for fill in order.fills
                if order.exchange_id == account
            )
            value = sum(one.value for one in ledger.positions.values())
            assert spent == value + symbol.quote.opening - ledger.balance(symbol.quote.coinapi_id).total

    @invariant()
    def books_are_never_crossed(self) -> None:
        for account, symbol in ACCOUNTS.items():
            book = self.market.book(account, symbol)
            assert all(level.amount > 0 for level in (*book.bids, *book.asks))
            if book.bids and book.asks:
                assert book.bids[0].price < book.asks[0].price

    @invariant()
    @exact
    def lives_obey_the_table(self) -> None:
        for place, order in enumerate(self.orders):
            steps = [status for status, _ in order.history]
            foreseen = [status for status, _ in order.replied().history]
            assert foreseen[: len(steps)] == steps
            assert len(foreseen) >= 3
            assert all(after in ORDER_TRANSITIONS[before] for before, after in pairwise(steps))
            assert sum((fill.amount for fill in order.fills), Decimal(0)) == order.filled
            assert 0 <= order.filled <= order.ticket.amount
            assert (order.status == OrderStatus.FILLED) == (order.filled == order.ticket.amount)
            if order.is_final and order.status is not None:
                assert self.ends.setdefault(place, order.status) == order.status


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestLife = Life.TestCase
