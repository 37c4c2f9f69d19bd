"""What a test or a demonstration sees and steers while the servers run."""

import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from coinapi_ems_async.models.enums import Side

from .api import World
from .book import BookView
from .catalog import base_name, symbols_of
from .clock import Moment
from .injections import Injection
from .ledger import Balance, PositionView
from .orders import Order, Ticket
from .records import MANAGEMENT, Record, Records
from .variants import Variants


class Controls:
    """The part of the simulator that needs no sockets: records, orders, money, faults."""

    def __init__(self, world: World, record_limit: int) -> None:
        self._world = world
        self._records = Records(record_limit)
        self._injections: list[Injection] = []

    @property
    def auth_fail(self) -> Literal[401, 403] | None:
        """Status that every operation that needs a key answers; None: the key decides."""
        return self._world.guard.fail

    @auth_fail.setter
    def auth_fail(self, status: Literal[401, 403] | None) -> None:
        self._world.guard.fail = status

    @property
    def variants(self) -> Variants:
        """How the wire looks; may be replaced at any time."""
        return self._world.variants

    @variants.setter
    def variants(self, variants: Variants) -> None:
        self._world.variants = variants

    def refuse_callers(self, status: Literal[401, 403] | None) -> None:
        """Set `auth_fail`."""
        self.auth_fail = status

    def vary(self, **changes: Any) -> None:
        """Change some of the variants.

        Raises TypeError: if there is no such variant.
        """
        self.variants = replace(self.variants, **changes)

    # What happened

    @property
    def requests(self) -> Sequence[Record]:
        """What the servers have read, oldest first; it grows as they read on."""
        return self._records

    def clear(self) -> None:
        """Forget the requests; orders stay."""
        self._records.clear()

    def executions(self, client_order_id: str) -> int:
        """Return how many orders with this id were given to an exchange, over all sites."""
        self._world.catch_up()
        return self._world.market.executions[client_order_id]

    @property
    def orders(self) -> tuple[Order, ...]:
        """Every order the exchanges have not yet forgotten."""
        self._advance()
        return tuple(self._world.market.orders())

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts the Managed Cloud API knows."""
        return tuple(self._world.directory.parameters)

    def symbols(self, exchange_id: str) -> dict[str, str]:
        """Return what can be traded there: CoinAPI id -> exchange id."""
        return {one.coinapi_id: one.exchange_id for one in symbols_of(base_name(exchange_id))}

    def book(self, exchange_id: str, symbol: str) -> BookView:
        """Return the book of a symbol, given by its CoinAPI or exchange id.

        Raises KeyError: if there is no such exchange or symbol.
        """
        self._advance()
        return self._world.market.book(exchange_id, symbol)

    def balance(self, exchange_id: str, asset: str) -> Balance:
        """Return an account's money in an asset, given by its CoinAPI or exchange id; a live view.

        Raises KeyError: if there is no such account or asset.
        """
        self._advance()
        return self._world.market.ledger(exchange_id).balance(asset)

    def positions(self, exchange_id: str) -> tuple[PositionView, ...]:
        """Return an account's positions as they are now.

        Raises KeyError: if there is no such account.
        """
        self._advance()
        return tuple(self._world.market.positions(exchange_id))

    # What is to happen

    def fund(self, exchange_id: str, asset: str, amount: Decimal | int | str) -> None:
        """Add to an account's available money (negative: take away).

        Raises KeyError: if there is no such account or asset.
        Raises ValueError: if less than that is available.
        """
        self._advance()
        self._world.market.fund(exchange_id, asset, Decimal(amount))

    def trade(
        self,
        exchange_id: str,
        symbol: str,
        side: Side,
        amount: Decimal | int | str,
        price: Decimal | int | str,
    ) -> Decimal:
        """Let an outside trader take from a book up to `price`; return the base units traded.

        Raises KeyError: if there is no such exchange or symbol.
        """
        moment, market = self._advance(), self._world.market
        return market.trade(exchange_id, symbol, Side(side), Decimal(price), Decimal(amount), moment)

    def exchange_down(self, exchange_id: str) -> None:
        """Make an account unreachable: 490, and no order reaches it.

        Raises KeyError: if there is no such account.
        """
        self._world.market.down.add(self._account(exchange_id))

    def exchange_up(self, exchange_id: str) -> None:
        """Make an account reachable again."""
        self._world.market.down.discard(exchange_id)

    def exchange_slow(self, exchange_id: str, slow: bool = True) -> None:
        """Make an account too slow to answer new orders: 504 after `Pace.timeout`, although each reaches it.

        Raises KeyError: if there is no such account.
        """
        self._mark(self._world.market.slow, exchange_id, slow)

    def exchange_stubborn(self, exchange_id: str, stubborn: bool = True) -> None:
        """Let an account's exchange refuse cancels: PENDING_CANCEL, then NEW or PARTIALLY_FILLED again.

        Raises KeyError: if there is no such account.
        """
        self._mark(self._world.market.stubborn, exchange_id, stubborn)

    def _mark(self, marked: set[str], exchange_id: str, on: bool) -> None:
        if on:
            marked.add(self._account(exchange_id))
        else:
            marked.discard(exchange_id)

    def discover(
        self,
        exchange_id: str,
        symbol: str,
        side: Side,
        amount: Decimal | int | str,
        price: Decimal | int | str,
    ) -> str:
        """Let the service find an order in the book that the account's owner placed elsewhere; return its id.

        Its client_order_id is the exchange's id, for want of another; every site knows it.

        Raises KeyError: if there is no such account or symbol.
        Raises ValueError: if the exchange would not take it, or it would trade at once.
        """
        moment, names = self._advance(), self.symbols(self._account(exchange_id))
        known = next((coinapi_id for coinapi_id, name in names.items() if symbol in (coinapi_id, name)), None)
        if known is None:
            raise KeyError(symbol)
        ticket = Ticket(
            exchange_id=exchange_id,
            client_order_id="",
            symbol_id_exchange=None,
            symbol_id_coinapi=known,
            amount=Decimal(amount),
            price=Decimal(price),
            side=Side(side),
            order_type="LIMIT",
            time_in_force="GOOD_TILL_CANCEL",
        )
        return self._world.market.discover(ticket, moment).client_order_id

    def inject(self, injection: Injection) -> Injection:
        """Force an answer; of several that match, the oldest not used up is taken.

        Raises TypeError: if it is no Injection. KeyError: if there is no such site.
        """
        if not isinstance(injection, Injection):
            raise TypeError(f"expected an Injection, got {type(injection).__name__}")
        if injection.site not in (None, MANAGEMENT, *self._world.directory.sites):
            raise KeyError(f"no such site: {injection.site!r}; there are {', '.join(self._world.directory.sites)}")
        self._injections.append(injection)
        return injection

    def clear_injections(self) -> None:
        """Force no more answers; requests that hang go on hanging until `release`."""
        self._injections.clear()

    def _account(self, exchange_id: str) -> str:
        if exchange_id not in self.accounts:
            raise KeyError(f"no such account: {exchange_id!r}; there are {', '.join(self.accounts)}")
        return exchange_id

    def _advance(self) -> Moment:
        self._world.catch_up()
        moment = read_clock()
        self._world.market.advance(moment)
        return moment


def read_clock() -> Moment:
    """Return the present instant."""
    return Moment(time.monotonic(), time.time_ns() // 100)
