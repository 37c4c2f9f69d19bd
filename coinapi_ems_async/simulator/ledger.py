"""One account's money and positions on one exchange."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from coinapi_ems_async.models.enums import Side

from .catalog import MARGIN_RATE, Asset, Symbol
from .numbers import ZERO, ratio

_CENT: Final = Decimal("1e-10")
"""To what money a position has made is rounded: the product of the smallest steps of amount and price."""


@dataclass(slots=True)
class Balance:
    """Money in one asset; `total` is always `available` plus `locked`.

    `locked` is never negative; `available` only where a position lost more than there was.
    """

    asset: Asset
    available: Decimal
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All the money, locked or not."""
        return self.available + self.locked


@dataclass(slots=True)
class Position:
    """Net holding of one derivative: `quantity` above zero is long, below zero short.

    `value` is what it cost to enter, with the sign of `quantity`; `average` is that per unit, to 28 digits.
    """

    symbol: Symbol
    quantity: Decimal = ZERO
    average: Decimal = ZERO
    value: Decimal = ZERO

    def add(self, amount: Decimal, price: Decimal) -> Decimal:
        """Book a fill of signed `amount`; return what it realised.

        Only growth moves the average. What rounding takes from a profit stays in `value`, so that no money is made
        or lost: over any fills, amounts times prices add up to the change of `value` less what was realised.
        """
        before, after = self.quantity, self.quantity + amount
        self.quantity = after
        if before * amount >= 0:
            self._enter(amount * price)
            return ZERO
        if before * after > 0:
            gain = _rounded(-amount * (price - self.average))
            self.value += amount * price + gain
            return gain
        gain, self.value = before * price - self.value, ZERO
        if after:
            self._enter(after * price)
        return gain

    def _enter(self, value: Decimal) -> None:
        self.value += value
        self.average = ratio(self.value, self.quantity)

    def profit(self, price: Decimal) -> Decimal:
        """Return what closing it at `price` would realise."""
        return self.quantity * price - self.value


class PositionView(NamedTuple):
    """A position at one moment; `quantity` is never negative, `middle` the price it is valued at.

    Of linear contracts: profit and money are in the quote asset. `liquidation_price` is None if no price above
    zero could take all the account's money: see `Ledger.liquidation`.
    """

    symbol: Symbol
    side: Side
    quantity: Decimal
    avg_entry_price: Decimal
    middle: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal | None


class Ledger:
    """Balances and positions of one account; the caller provides the exact decimal context."""

    def __init__(self, symbols: tuple[Symbol, ...]) -> None:
        self.balances: dict[str, Balance] = {}
        self.positions: dict[str, Position] = {}
        for symbol in symbols:
            for asset in (symbol.base, symbol.quote):
                self.balances.setdefault(asset.coinapi_id, Balance(asset, asset.opening))

    def balance(self, asset: str) -> Balance:
        """Return the balance of an asset, by either of its names.

        Raises KeyError: if the exchange does not trade the asset.
        """
        for balance in self.balances.values():
            if asset in (balance.asset.coinapi_id, balance.asset.exchange_id):
                return balance
        raise KeyError(asset)

    def fund(self, asset: str, amount: Decimal) -> None:
        """Add `amount` (negative: take it away) to what is available.

        Raises ValueError: if less than that is available.
        """
        balance = self.balance(asset)
        if amount < 0 and balance.available + amount < 0:
            raise ValueError(f"only {balance.available} {asset} available")
        balance.available += amount

    def lock(self, symbol: Symbol, side: Side, price: Decimal, amount: Decimal) -> bool:
        """Lock what an order needs; False, and nothing changed, if that is not available."""
        asset, need = _need(symbol, side, price, amount)
        balance = self.balances[asset.coinapi_id]
        if balance.available < need:
            return False
        balance.available -= need
        balance.locked += need
        return True

    def release(self, symbol: Symbol, side: Side, price: Decimal, amount: Decimal) -> None:
        """Give back the lock of `amount` of an order with limit `price`."""
        asset, need = _need(symbol, side, price, amount)
        balance = self.balances[asset.coinapi_id]
        balance.locked -= need
        balance.available += need

    def fill(self, symbol: Symbol, side: Side, limit: Decimal, price: Decimal, amount: Decimal) -> None:
        """Book a fill at `price` of an order with limit `limit`; a better price frees the difference.

        Derivatives change the position, and what that realises the money in the quote asset; the order's margin
        is freed, since positions hold none.
        """
        self.release(symbol, side, limit, amount)
        signed = amount if side == Side.BUY else -amount
        quote = self.balances[symbol.quote.coinapi_id]
        if symbol.derivative:
            position = self.positions.setdefault(symbol.coinapi_id, Position(symbol))
            quote.available += position.add(signed, price)
            if not position.quantity:
                del self.positions[symbol.coinapi_id]
            return
        self.balances[symbol.base.coinapi_id].available += signed
        quote.available -= signed * price

    def reducible(self, symbol: Symbol, side: Side) -> Decimal:
        """Return how much an order on `side` can take off the position."""
        position = self.positions.get(symbol.coinapi_id)
        if position is None or (position.quantity > 0) == (side == Side.BUY):
            return ZERO
        return abs(position.quantity)

    def liquidation(self, position: Position) -> Decimal | None:
        """Return the price at which a position's loss is all the money in its quote asset, to two decimals.

        That is the whole model: the margin is crossed, none is kept for maintenance, other positions count as
        even. It is what is shown; nothing is liquidated.
        """
        money = self.balances[position.symbol.quote.coinapi_id].total
        price = ratio(position.value - money, position.quantity).quantize(Decimal("0.01"))
        return price if price > 0 else None

    def view(self, position: Position, middle: Decimal) -> PositionView:
        """Return a position as it is when the market's middle is there."""
        return PositionView(
            symbol=position.symbol,
            side=Side.BUY if position.quantity > 0 else Side.SELL,
            quantity=abs(position.quantity),
            avg_entry_price=position.average,
            middle=middle,
            unrealized_pnl=position.profit(middle),
            liquidation_price=self.liquidation(position),
        )


def _rounded(money: Decimal) -> Decimal:
    exponent = money.as_tuple().exponent
    fine = isinstance(exponent, int) and exponent < _CENT.adjusted()
    return money.quantize(_CENT) if fine else money


def _need(symbol: Symbol, side: Side, price: Decimal, amount: Decimal) -> tuple[Asset, Decimal]:
    if symbol.derivative:
        return symbol.quote, amount * price * MARGIN_RATE
    if side == Side.BUY:
        return symbol.quote, amount * price
    return symbol.base, amount
