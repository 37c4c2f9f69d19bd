"""All exchanges together, and the index of their orders. No I/O and no clock: time comes in."""

from collections import Counter, deque
from collections.abc import Iterator, Set
from decimal import Decimal
from random import Random

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.models.lifecycle import OrderStatus

from .book import BookView
from .catalog import Symbol, base_name
from .clock import Moment
from .exchange import Exchange
from .ledger import Ledger, PositionView
from .numbers import exact
from .orders import Event, Order, Ticket
from .variants import Pace


class Market:
    """The world behind the sites.

    Args:
        pace: delays of an order's walk.
        seed: makes the ids that exchanges give out repeatable.
        limit: finished orders, and history rows, that are kept; the oldest are forgotten first.
    """

    def __init__(self, pace: Pace, *, seed: int | None = None, limit: int = 100_000) -> None:
        self.down: set[str] = set()
        self.slow: set[str] = set()
        self.stubborn: set[str] = set()
        self.executions: Counter[str] = Counter()
        self.events: deque[Event] = deque(maxlen=limit)
        self._pace = pace
        self._random = Random(seed)  # noqa: S311 - ids of simulated orders
        self._limit = limit
        self._exchanges: dict[str, Exchange] = {}
        self._by_client: dict[str, list[Order]] = {}
        self._by_exchange: dict[str, Order] = {}
        self._live: dict[int, Order] = {}
        self._finished: deque[Order] = deque()
        self._placed = 0

    @exact
    def open_account(self, exchange_id: str) -> None:
        """Let the account trade; its exchange comes to life with its first account."""
        base = base_name(exchange_id)
        if base not in self._exchanges:
            self._exchanges[base] = Exchange(base, self._pace, self._random, self._heard, self.down, self.stubborn)
        self._exchanges[base].open_account(exchange_id)

    def exchange(self, exchange_id: str) -> Exchange:
        """Return the exchange of an account.

        Raises KeyError: if no account was ever opened there.
        """
        return self._exchanges[base_name(exchange_id)]

    def ledger(self, exchange_id: str) -> Ledger:
        """Return money and positions of an account.

        Raises KeyError: if it was never opened.
        """
        return self.exchange(exchange_id).ledgers[exchange_id]

    def book(self, exchange_id: str, symbol: str) -> BookView:
        """Return the book of a symbol, given by either of its ids.

        Raises KeyError: if there is no such exchange or symbol.
        """
        exchange, found = self._symbol(exchange_id, symbol)
        return exchange.books[found.coinapi_id].view()

    @exact
    def advance(self, moment: Moment) -> None:
        """Run every step that is due on any exchange."""
        for exchange in self._exchanges.values():
            exchange.advance(moment)

    @exact
    def positions(self, exchange_id: str) -> list[PositionView]:
        """Return the positions of an account as they are now.

        Raises KeyError: if it was never opened.
        """
        return self.exchange(exchange_id).positions(exchange_id)

    @exact
    def place(self, ticket: Ticket, site: str, moment: Moment, *, strict: bool = False) -> Order:
        """Give an order to its exchange; strict: which refuses what the guide says it lacks.

        Raises KeyError: if its account was never opened.
        """
        self._placed += 1
        order = self.exchange(ticket.exchange_id).place(ticket, site, self._placed, moment, strict=strict)
        self.executions[ticket.client_order_id] += 1
        self._by_client.setdefault(ticket.client_order_id, []).append(order)
        return order

    @exact
    def discover(self, ticket: Ticket, moment: Moment) -> Order:
        """Let an order be found in the book that was placed outside the service; its id is the exchange's.

        Raises KeyError: if its account was never opened.
        Raises ValueError: if the exchange would not take it, or it would trade at once.
        """
        self._placed += 1
        order = self.exchange(ticket.exchange_id).discover(ticket, self._placed, moment)
        self._by_client.setdefault(order.client_order_id, []).append(order)
        self._by_exchange[order.client_order_id] = order
        return order

    @exact
    def cancel(self, order: Order, moment: Moment) -> None:
        """Ask the exchange to cancel an order; finished ones stay as they are."""
        self.exchange(order.exchange_id).cancel(order, moment)

    @exact
    def fund(self, exchange_id: str, asset: str, amount: Decimal) -> None:
        """Add to an account's available balance (negative: take away).

        Raises KeyError: if there is no such account or asset.
        Raises ValueError: if less than that is available.
        """
        self.ledger(exchange_id).fund(asset, amount)

    @exact
    def trade(
        self, exchange_id: str, symbol: str, side: Side, price: Decimal, amount: Decimal, moment: Moment
    ) -> Decimal:
        """Let an outside trader take from a book; return the base units traded.

        Raises KeyError: if there is no such exchange or symbol.
        """
        exchange, found = self._symbol(exchange_id, symbol)
        return exchange.trade(found, side, price, amount, moment)

    def orders(self) -> Iterator[Order]:
        """Yield every order not yet forgotten, by client order id in order of first use."""
        for placed in self._by_client.values():
            yield from placed

    def open_orders(self, accounts: Set[str], site: str | None) -> list[Order]:
        """Return the unfinished orders of `accounts`; `site`: only those placed there."""
        return [
            order for order in self._live.values() if order.exchange_id in accounts and order.is_known_at(site)
        ]

    def by_client_id(self, client_order_id: str, site: str | None, exchange_id: str | None = None) -> Order | None:
        """Return the latest order with this id, preferring one that is not finished.

        `site`: only one placed there; `exchange_id`: only one of that account.
        """
        placed = [
            order
            for order in self._by_client.get(client_order_id, ())
            if order.is_known_at(site) and exchange_id in (None, order.exchange_id)
        ]
        live = [order for order in placed if not order.is_final]
        found = live or placed
        return found[-1] if found else None

    def by_exchange_id(self, exchange_order_id: str, site: str | None) -> Order | None:
        """Return the order to which the exchange gave this id."""
        order = self._by_exchange.get(exchange_order_id)
        return order if order is not None and order.is_known_at(site) else None

    def _symbol(self, exchange_id: str, name: str) -> tuple[Exchange, Symbol]:
        exchange = self.exchange(exchange_id)
        symbol = exchange.symbol(name)
        if symbol is None:
            raise KeyError(name)
        return exchange, symbol

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        order = event.order
        if event.status == OrderStatus.ROUTED and order.exchange_order_id is not None:
            self._by_exchange[order.exchange_order_id] = order
        if not event.status.is_final:
            self._live[order.serial] = order
            return
        self._live.pop(order.serial, None)
        self._finished.append(order)
        if len(self._finished) > self._limit:
            self._forget(self._finished.popleft())

    def _forget(self, order: Order) -> None:
        placed = self._by_client.get(order.client_order_id, [])
        if order in placed:
            placed.remove(order)
        if not placed:
            self._by_client.pop(order.client_order_id, None)
        self._by_exchange.pop(order.exchange_order_id or "", None)
