"""An order as the exchange side keeps it: what was asked, and every step of its life."""

from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.models.lifecycle import OrderStatus, check_transition

from .catalog import Symbol
from .clock import stamp
from .numbers import ZERO, ratio

if TYPE_CHECKING:
    from .book import Quote

UNANSWERED: Final = frozenset({None, OrderStatus.RECEIVED, OrderStatus.ROUTING})
"""Statuses of an order to which the exchange has not yet replied: no id, no refusal is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A valid request for an order; texts are kept as they were sent."""

    exchange_id: str
    client_order_id: str
    symbol_id_exchange: str | None
    symbol_id_coinapi: str | None
    amount: Decimal
    price: Decimal
    side: Side
    order_type: str
    time_in_force: str
    expire_time: str | None = None
    exec_inst: tuple[str, ...] = ()


class Fill(NamedTuple):
    """One trade of an order."""

    time: str
    price: Decimal
    amount: Decimal


class Event(NamedTuple):
    """One change of an order: what the order history lists (times in ticks of 100 ns)."""

    order: "Order"
    ticks: int
    status: OrderStatus
    filled: Decimal
    average: Decimal
    steps: int
    fills: int


class Order:
    """An order in the hands of an exchange; read it freely, only the exchange changes it.

    The exchange decides when it gets the order, the service hears of it later: `verdict` is why it will be
    refused, `number` the id it will have, and `coming` the steps up to the reply with their times in ticks.
    """

    __slots__ = (
        *("average", "cancel_requested", "coming", "exchange_tag", "filled", "fills", "history", "last_ticks"),
        *("notional", "number", "quote", "serial", "site", "status", "symbol", "ticket", "verdict"),
    )

    def __init__(self, ticket: Ticket, symbol: Symbol | None, site: str | None, serial: int) -> None:
        self.ticket = ticket
        self.symbol = symbol
        self.site = site
        self.serial = serial
        self.status: OrderStatus | None = None
        self.history: list[tuple[OrderStatus, str]] = []
        self.verdict: str | None = None
        self.number: str | None = None
        self.coming: tuple[tuple[OrderStatus, int], ...] = ()
        self.exchange_tag = ticket.client_order_id
        self.fills: list[Fill] = []
        self.filled = ZERO
        self.notional = ZERO
        self.average = ZERO
        self.quote: Quote | None = None
        self.cancel_requested = False
        self.last_ticks = 0

    def __repr__(self) -> str:
        return f"<Order {self.client_order_id!r} on {self.exchange_id}: {self.status}>"

    @property
    def client_order_id(self) -> str:
        """The id its owner gave it."""
        return self.ticket.client_order_id

    @property
    def exchange_id(self) -> str:
        """The account it belongs to."""
        return self.ticket.exchange_id

    @property
    def exchange_order_id(self) -> str | None:
        """The id the exchange gave it; None until its reply, and for good if that refused the order."""
        return None if self.status in UNANSWERED else self.number

    @property
    def error(self) -> str | None:
        """Why the exchange refused it; None until its reply."""
        return None if self.status in UNANSWERED else self.verdict

    def is_known_at(self, site: str | None) -> bool:
        """Whether a site that knows only the orders placed through it (None: all) knows this one.

        What was placed outside the service (`site` None) is discovered by all.
        """
        return site is None or self.site in (None, site)

    @property
    def is_final(self) -> bool:
        """Whether its life is over."""
        return self.status is not None and self.status.is_final

    @property
    def left(self) -> Decimal:
        """Base units not filled; the caller provides the exact decimal context."""
        return self.ticket.amount - self.filled

    def step(self, status: OrderStatus, ticks: int) -> Event:
        """Take one step of the life cycle; times of one order never go back or repeat.

        Raises ValueError: if the life-cycle table has no such step.
        """
        self.status = check_transition(self.status, status)
        self.last_ticks = max(ticks, self.last_ticks + 1)
        self.history.append((status, stamp(self.last_ticks)))
        return Event(self, self.last_ticks, status, self.filled, self.average, len(self.history), len(self.fills))

    def proceed(self) -> Event:
        """Take the next of the steps that are coming.

        Raises IndexError: if there is none.
        """
        (status, ticks), self.coming = self.coming[0], self.coming[1:]
        return self.step(status, ticks)

    def replied(self) -> Self:
        """Return a copy of the order as the exchange's reply will leave it: nothing can come before that."""
        twin = copy(self)
        twin.history, twin.fills = list(self.history), list(self.fills)
        while twin.coming:
            twin.proceed()
        return twin

    def fill(self, price: Decimal, amount: Decimal, ticks: int) -> Event:
        """Book a trade and take the step that follows from it."""
        self.filled += amount
        self.notional += price * amount
        self.average = ratio(self.notional, self.filled)
        time = stamp(max(ticks, self.last_ticks + 1))
        self.fills.append(Fill(time, price, amount))
        done = self.filled == self.ticket.amount
        return self.step(OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED, ticks)
