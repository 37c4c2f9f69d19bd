"""One account's money and positions on one exchange."""

from dataclasses import dataclass
from decimal import Decimal

from coinapi_ems_async.models.enums import Side

from .catalog import MARGIN_RATE, Asset, Symbol
from .numbers import ZERO, ratio


@dataclass(slots=True)
class Balance:
    """Money in one asset; `total` is always `available` plus `locked`, and none is ever negative."""

    asset: Asset
    available: Decimal
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All the money, locked or not."""
        return self.available + self.locked


@dataclass(slots=True)
class Position:
    """Net holding of one derivative: `quantity` above zero is long, below zero short."""

    symbol: Symbol
    quantity: Decimal = ZERO
    average: Decimal = ZERO

    def add(self, amount: Decimal, price: Decimal) -> None:
        """Book a fill of signed `amount`; only growth moves the average entry price."""
        before, after = self.quantity, self.quantity + amount
        if before * amount >= 0:
            value = abs(before) * self.average + abs(amount) * price
            self.average = ratio(value, abs(after))
        elif before * after < 0:
            self.average = price
        self.quantity = after


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
        if balance.available + amount < 0:
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

        Derivatives change the position and free the order's margin: positions hold none.
        """
        self.release(symbol, side, limit, amount)
        signed = amount if side == Side.BUY else -amount
        if symbol.derivative:
            position = self.positions.setdefault(symbol.coinapi_id, Position(symbol))
            position.add(signed, price)
            if not position.quantity:
                del self.positions[symbol.coinapi_id]
            return
        self.balances[symbol.base.coinapi_id].available += signed
        self.balances[symbol.quote.coinapi_id].available -= signed * price


def _need(symbol: Symbol, side: Side, price: Decimal, amount: Decimal) -> tuple[Asset, Decimal]:
    if symbol.derivative:
        return symbol.quote, amount * price * MARGIN_RATE
    if side == Side.BUY:
        return symbol.quote, amount * price
    return symbol.base, amount
