"""Orders that may only take off a position (DO_NOT_INCREASE), where the exchange has them.

Such an order is refused if there is no position it could reduce, fills for no more than that, and what is left
then is cancelled. In the book those of one account offer together no more than its position: the youngest give
way.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from coinapi_ems_async.models.enums import ExecInst, Side

from .book import Book
from .clock import Moment
from .ledger import Ledger
from .numbers import ZERO
from .orders import Order
from .support import supports


class Reducing:
    """Those that rest in the books of one exchange; `close` cancels one. The caller provides the exact context."""

    def __init__(
        self,
        base: str,
        ledgers: Mapping[str, Ledger],
        books: Mapping[str, Book],
        close: Callable[[Order, Moment], None],
    ) -> None:
        self._has_them = supports(base, ExecInst.DO_NOT_INCREASE)
        self._ledgers = ledgers
        self._books = books
        self._close = close
        self._resting: list[Order] = []

    def includes(self, order: Order) -> bool:
        """Whether an order is such a one."""
        return self._has_them and ExecInst.DO_NOT_INCREASE in order.ticket.exec_inst

    def room(self, order: Order) -> Decimal:
        """Return for how much an order may fill: such a one for what it can reduce, others for all they want."""
        ticket = order.ticket
        if order.symbol is None or not self.includes(order):
            return ticket.amount
        return min(ticket.amount, self._ledgers[ticket.exchange_id].reducible(order.symbol, ticket.side))

    def rest(self, order: Order, moment: Moment) -> None:
        """Note an order that now rests in its book, if it is such a one."""
        if self.includes(order):
            self._resting.append(order)
            self.trim(order.exchange_id, moment)

    def trim(self, exchange_id: str, moment: Moment) -> None:
        """Let those of an account offer no more than its positions; to be called after each of its fills."""
        offered: dict[tuple[str, Side], Decimal] = {}
        for order in self._resting:
            quote, symbol = order.quote, order.symbol
            if order.exchange_id != exchange_id or quote is None or symbol is None:
                continue
            key = (symbol.coinapi_id, quote.side)
            taken = offered.get(key, ZERO)
            before = quote.amount
            now = min(order.left, self._ledgers[exchange_id].reducible(symbol, quote.side) - taken)
            if not now:
                self._close(order, moment)
                continue
            offered[key] = taken + now
            quote.amount = now
            if not before:  # it was sold out, and the position has grown again
                self._books[symbol.coinapi_id].add(quote)
        self._resting = [one for one in self._resting if not one.is_final]
