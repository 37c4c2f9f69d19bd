"""One simulated exchange: matching, balances, positions. No I/O and no clock: time comes in.

House rule of the simulated market: on each side of every book the house quotes `LEVELS` prices around a
fixed middle. Size that was taken comes back whole `Pace.replenish` seconds later, as an order that first
trades with whatever then crosses it, so that an order for more than the house quotes fills step by step.
Orders of all accounts, and of outside traders, share the book by price, then by time.

CANCEL_ON_DISCONNECT and its opposite change nothing: a caller of REST has no session that could end.
"""

import heapq
import string
from collections.abc import Callable, Set
from dataclasses import replace
from decimal import Decimal
from itertools import count
from random import Random
from typing import Final, NamedTuple

from coinapi_ems_async.models.enums import ExecInst, Side, TimeInForce
from coinapi_ems_async.models.lifecycle import LIVE, OrderStatus

from .book import Book, Quote
from .catalog import LEVELS, Symbol, symbols_of
from .clock import Moment, read_time
from .ledger import Ledger, PositionView
from .orders import Event, Order, Ticket
from .reducing import Reducing
from .support import lack
from .variants import Pace

_S = OrderStatus
_ROUTING: Final = 0.0004  # s of the service's own work before it forwards an order
_LETTERS: Final = string.ascii_uppercase + string.digits
_NEVER_RESTS: Final = (TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)


class _Step(NamedTuple):
    due: float
    turn: int
    run: Callable[[Moment], None]


class Exchange:
    """One exchange and the accounts on it.

    `emit` hears every change of an order; `down` are the accounts that the service cannot reach, `stubborn`
    those whose cancels are refused. Callers run inside the exact decimal context (`numbers.exact`).
    """

    def __init__(
        self,
        base: str,
        pace: Pace,
        random: Random,
        emit: Callable[[Event], None],
        down: Set[str] = frozenset(),
        stubborn: Set[str] = frozenset(),
    ) -> None:
        self.base = base
        self.pace = pace
        self.symbols = symbols_of(base)
        self.ledgers: dict[str, Ledger] = {}
        self.books = {symbol.coinapi_id: Book() for symbol in self.symbols}
        self._random = random
        self._emit = emit
        self._down = down
        self._stubborn = stubborn
        self._reducing = Reducing(base, self.ledgers, self.books, self._close)
        self._steps: list[_Step] = []
        self._turns = count()
        self._restocking: set[tuple[str, Side, Decimal]] = set()
        self._house: dict[tuple[str, Side, Decimal], Quote] = {}
        for symbol in self.symbols:
            for level in range(1, LEVELS + 1):
                self._quote(symbol, Side.BUY, symbol.middle - level * symbol.gap)
                self._quote(symbol, Side.SELL, symbol.middle + level * symbol.gap)

    def open_account(self, exchange_id: str) -> None:
        """Give the account its opening balances, unless it has been here before."""
        if exchange_id not in self.ledgers:
            self.ledgers[exchange_id] = Ledger(self.symbols)

    def symbol(self, name: str) -> Symbol | None:
        """Return the symbol with this CoinAPI or exchange id."""
        return next((one for one in self.symbols if name in (one.coinapi_id, one.exchange_id)), None)

    def middle(self, symbol: Symbol) -> Decimal:
        """Return the middle between the best bid and the best ask; the house's if there is none of either."""
        book = self.books[symbol.coinapi_id]
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        return symbol.middle if bid is None or ask is None else (bid.price + ask.price) / 2

    def positions(self, exchange_id: str) -> list[PositionView]:
        """Return the positions of an account as they are now."""
        ledger = self.ledgers[exchange_id]
        return [ledger.view(one, self.middle(one.symbol)) for one in ledger.positions.values()]

    def place(self, ticket: Ticket, site: str, serial: int, moment: Moment, *, strict: bool = False) -> Order:
        """Receive an order and decide on it; ROUTING, and ROUTED or REJECTED, follow at their times.

        strict: refuse a time in force or an instruction that the guide says the exchange lacks.
        """
        symbol = self.symbol(ticket.symbol_id_coinapi or ticket.symbol_id_exchange or "")
        order = Order(ticket, symbol, site, serial)
        if self.base.startswith("KRAKEN"):
            order.exchange_tag = str(74_000_000 + serial)
        replied = moment.at(moment.now + self.pace.reply)
        routing = moment.at(min(moment.now + _ROUTING, replied.now))
        self._emit(order.step(_S.RECEIVED, moment.ticks))
        order.verdict = (lack(self.base, ticket) if strict else None) or self._refusal(order, replied)
        if order.verdict is None:
            order.number = self._exchange_order_id(serial)
        end = _S.ROUTED if order.verdict is None else _S.REJECTED
        order.coming = ((_S.ROUTING, routing.ticks), (end, replied.ticks))
        self._at(routing.now, moment, lambda _: self._emit(order.proceed()))
        self._at(replied.now, moment, lambda then: self._reply(order, then))
        return order

    def discover(self, ticket: Ticket, serial: int, moment: Moment) -> Order:
        """Let an order rest in the book that came another way, and be found there: NEW is its first step.

        Raises ValueError: if it would not be taken, or trades at once: what is found rests.
        """
        number = self._exchange_order_id(serial)
        order = Order(
            replace(ticket, client_order_id=number), self.symbol(ticket.symbol_id_coinapi or ""), None, serial
        )
        order.number = number
        if order.symbol is not None:
            crossed = self.books[order.symbol.coinapi_id].first_match(ticket.side, ticket.price)
            if crossed is not None:
                raise ValueError(f"it would trade at once, at {crossed.price}")
        refusal = self._refusal(order, moment)
        if refusal is not None:
            raise ValueError(refusal)
        self._enter(order, moment)
        return order

    def cancel(self, order: Order, moment: Moment) -> None:
        """Ask for the end of an order: PENDING_CANCEL at once, or as soon as it has reached the book."""
        if order.is_final or order.status == _S.PENDING_CANCEL:
            return
        if order.status not in LIVE:
            order.cancel_requested = True
            return
        self._emit(order.step(_S.PENDING_CANCEL, moment.ticks))
        self._later(moment.now + self.pace.cancel, lambda then: self._answer_cancel(order, then))

    def advance(self, moment: Moment) -> None:
        """Run every step that is due, in order of its time."""
        while self._steps and self._steps[0].due <= moment.now:
            step = heapq.heappop(self._steps)
            step.run(moment.at(step.due))

    def trade(self, symbol: Symbol, side: Side, price: Decimal, amount: Decimal, moment: Moment) -> Decimal:
        """Let an outside trader take what the book offers up to `price`; return the base units traded."""
        return amount - self._sweep(None, symbol, side, price, amount, moment)

    def _later(self, due: float, run: Callable[[Moment], None]) -> None:
        heapq.heappush(self._steps, _Step(due, next(self._turns), run))

    def _at(self, due: float, moment: Moment, run: Callable[[Moment], None]) -> None:
        """Run a step now if its time has come, else when it comes."""
        if due <= moment.now:
            run(moment)
        else:
            self._later(due, run)

    def _reply(self, order: Order, moment: Moment) -> None:
        self._emit(order.proceed())
        if order.is_final:
            return
        self._later(moment.now + self.pace.book, lambda then: self._enter(order, then))
        if order.ticket.expire_time is not None:
            due = moment.when(read_time(order.ticket.expire_time))
            self._later(due, lambda then: self._expire(order, then))

    def _exchange_order_id(self, serial: int) -> str:
        if not self.base.startswith("KRAKEN"):
            return str(72_327_000_000 + serial)
        parts = ("".join(self._random.choices(_LETTERS, k=size)) for size in (5, 5, 6))
        return "O" + "-".join(parts)

    def _refusal(self, order: Order, replied: Moment) -> str | None:
        ticket, symbol = order.ticket, order.symbol
        if symbol is None:
            return "EQuery:Unknown asset pair"
        if ticket.amount % symbol.amount_step:
            return "EGeneral:Invalid arguments:volume"
        if ticket.price % symbol.price_step:
            return "EGeneral:Invalid arguments:price"
        if ticket.expire_time is not None and read_time(ticket.expire_time) <= replied.ticks:
            return "EGeneral:Invalid arguments:expiretm"
        ledger = self.ledgers[ticket.exchange_id]
        if not self._reducing.room(order):
            return "EOrder:Reduce only:No position exists"
        if not ledger.lock(symbol, ticket.side, ticket.price, ticket.amount):
            return "EOrder:Insufficient funds"
        return None

    def _enter(self, order: Order, moment: Moment) -> None:
        if order.is_final or order.symbol is None:
            return None
        ticket, book = order.ticket, self.books[order.symbol.coinapi_id]
        force = TimeInForce(ticket.time_in_force)
        crosses = book.first_match(ticket.side, ticket.price) is not None
        if ExecInst.MAKER_OR_CANCEL in ticket.exec_inst and crosses:
            return self._close(order, moment)
        amount = self._reducing.room(order)
        if force == TimeInForce.FILL_OR_KILL and ticket.amount > min(
            amount, book.depth(ticket.side, ticket.price)
        ):
            return self._close(order, moment)
        left = self._sweep(order, order.symbol, ticket.side, ticket.price, amount, moment)
        if not order.left:
            return None
        if force in _NEVER_RESTS or not left:
            return self._close(order, moment)
        self._rest(order, book, left, moment)
        if order.cancel_requested:
            self.cancel(order, moment)
        return None

    def _rest(self, order: Order, book: Book, left: Decimal, moment: Moment) -> None:
        ticket = order.ticket
        if not order.filled:
            self._emit(order.step(_S.NEW, moment.ticks))
        order.quote = Quote(order, ticket.side, ticket.price, left)
        book.add(order.quote)
        self._reducing.rest(order, moment)

    def _close(self, order: Order, moment: Moment) -> None:
        if order.is_final or order.symbol is None:
            return
        ticket = order.ticket
        quote, order.quote = order.quote, None
        if quote is not None and quote.amount:
            self.books[order.symbol.coinapi_id].remove(quote)
        self.ledgers[ticket.exchange_id].release(order.symbol, ticket.side, ticket.price, order.left)
        self._emit(order.step(_S.CANCELED, moment.ticks))

    def _answer_cancel(self, order: Order, moment: Moment) -> None:
        if order.exchange_id not in self._stubborn:
            self._close(order, moment)
        elif order.status == _S.PENDING_CANCEL:  # else a fill has taken it back already
            self._emit(order.step(_S.PARTIALLY_FILLED if order.filled else _S.NEW, moment.ticks))

    def _expire(self, order: Order, moment: Moment) -> None:
        # The exchange ends the order by itself, the service sends a cancel, once and only if it can (EMS guide,
        # time in force).
        if order.ticket.time_in_force == TimeInForce.GOOD_TILL_TIME_EXCHANGE:
            self._close(order, moment)
        elif order.exchange_id not in self._down:
            self.cancel(order, moment)

    def _sweep(
        self,
        taker: Order | None,
        symbol: Symbol,
        side: Side,
        limit: Decimal,
        amount: Decimal,
        moment: Moment,
    ) -> Decimal:
        book = self.books[symbol.coinapi_id]
        while amount and (quote := book.first_match(side, limit)) is not None:
            size = min(amount, quote.amount)
            amount -= size
            quote.amount -= size
            if not quote.amount:
                book.remove(quote)
            for order in (quote.owner, taker):
                if order is not None:
                    self._fill(order, symbol, quote.price, size, moment)
            for account in {one.exchange_id for one in (quote.owner, taker) if one is not None}:
                self._reducing.trim(account, moment)
            if quote.owner is None:
                self._restock(symbol, quote, moment)
        return amount

    def _fill(self, order: Order, symbol: Symbol, price: Decimal, size: Decimal, moment: Moment) -> None:
        ticket = order.ticket
        self.ledgers[ticket.exchange_id].fill(symbol, ticket.side, ticket.price, price, size)
        event = order.fill(price, size, moment.ticks)
        if order.is_final:
            order.quote = None
        self._emit(event)

    def _quote(self, symbol: Symbol, side: Side, price: Decimal) -> None:
        if price <= 0:
            return
        quote = Quote(None, side, price, symbol.level_amount)
        self._house[symbol.coinapi_id, side, price] = quote
        self.books[symbol.coinapi_id].add(quote)

    def _restock(self, symbol: Symbol, quote: Quote, moment: Moment) -> None:
        key = (symbol.coinapi_id, quote.side, quote.price)
        if key not in self._restocking:
            self._restocking.add(key)
            self._later(moment.now + self.pace.replenish, lambda then: self._refill(symbol, key, then))

    def _refill(self, symbol: Symbol, key: tuple[str, Side, Decimal], moment: Moment) -> None:
        self._restocking.discard(key)
        quote = self._house[key]
        missing = symbol.level_amount - quote.amount
        left = self._sweep(None, symbol, quote.side, quote.price, missing, moment)
        if left and not quote.amount:
            self.books[symbol.coinapi_id].add(quote)
        quote.amount += left
        if left < missing:
            self._restock(symbol, quote, moment)
