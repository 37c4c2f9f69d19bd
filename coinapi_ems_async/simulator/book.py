"""An order book: price levels in price order, time order within a level."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from coinapi_ems_async.models.enums import Side

from .numbers import ZERO
from .orders import Order


class Quote:
    """What rests in the book: an order, or (owner None) a quote of the house; `amount` is what is left."""

    __slots__ = ("amount", "owner", "price", "side")

    def __init__(self, owner: Order | None, side: Side, price: Decimal, amount: Decimal) -> None:
        self.owner = owner
        self.side = side
        self.price = price
        self.amount = amount


class Level(NamedTuple):
    """One price of a book and the base units that rest there."""

    price: Decimal
    amount: Decimal


class BookView(NamedTuple):
    """A copy of a book: bids from the highest price down, asks from the lowest up."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


def opposite(side: Side) -> Side:
    """Return the side an order on `side` trades against."""
    return Side.SELL if side == Side.BUY else Side.BUY


class Book:
    """Resting quotes of one symbol."""

    def __init__(self) -> None:
        self._prices: dict[Side, list[Decimal]] = {Side.BUY: [], Side.SELL: []}
        # A dict per price keeps arrival order and forgets a cancelled quote at once.
        self._levels: dict[Side, dict[Decimal, dict[int, Quote]]] = {Side.BUY: {}, Side.SELL: {}}

    def add(self, quote: Quote) -> None:
        """Let `quote` rest, behind those that came to its price before it."""
        levels = self._levels[quote.side]
        if quote.price not in levels:
            levels[quote.price] = {}
            insort(self._prices[quote.side], quote.price)
        levels[quote.price][id(quote)] = quote

    def remove(self, quote: Quote) -> None:
        """Take `quote` out.

        Raises KeyError: if it does not rest here.
        """
        level = self._levels[quote.side][quote.price]
        del level[id(quote)]
        if not level:
            del self._levels[quote.side][quote.price]
            prices = self._prices[quote.side]
            del prices[bisect_left(prices, quote.price)]

    def best(self, side: Side) -> Quote | None:
        """Return the quote on `side` that trades first."""
        prices = self._prices[side]
        if not prices:
            return None
        price = prices[-1] if side == Side.BUY else prices[0]
        return next(iter(self._levels[side][price].values()))

    def first_match(self, side: Side, limit: Decimal) -> Quote | None:
        """Return the quote that an order on `side` with this limit trades with first."""
        best = self.best(opposite(side))
        if best is None or (best.price > limit if side == Side.BUY else best.price < limit):
            return None
        return best

    def depth(self, side: Side, limit: Decimal) -> Decimal:
        """Return the base units that an order on `side` with this limit could get at once."""
        total = ZERO
        for level in self.levels(opposite(side)):
            if level.price > limit if side == Side.BUY else level.price < limit:
                break
            total += level.amount
        return total

    def levels(self, side: Side) -> Iterator[Level]:
        """Yield the prices of `side`, best first, with what rests at each."""
        prices = self._prices[side]
        for price in reversed(prices) if side == Side.BUY else prices:
            yield Level(price, sum((quote.amount for quote in self._levels[side][price].values()), ZERO))

    def view(self) -> BookView:
        """Return a copy to look at."""
        return BookView(tuple(self.levels(Side.BUY)), tuple(self.levels(Side.SELL)))
