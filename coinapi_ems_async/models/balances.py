"""Balances and positions of exchange accounts (EMS REST, Balances and Positions)."""

from typing import Any, ClassVar

from .enums import BalanceSource, Side
from .reading import Answer, Number, flag, number, open_enum, plain, rows, text

__all__ = ["Balance", "BalanceData", "Position", "PositionData"]


class BalanceData(Answer, frozen=True, kw_only=True):
    """Balance of one asset; numbers are Decimal, any field may be None (EMS REST, Balance.data).

    `rate_usd` may be an hour stale, and is None where there is no rate.
    """

    asset_id_exchange: str | None = None
    asset_id_coinapi: str | None = None
    balance: Number = None
    available: Number = None
    locked: Number = None
    traded: Number = None
    last_updated_by: BalanceSource | None = None
    rate_usd: Number = None

    numbers: ClassVar = ("balance", "available", "locked", "traded", "rate_usd")
    readers: ClassVar = {
        "asset_id_exchange": text,
        "asset_id_coinapi": text,
        "balance": number,
        "available": number,
        "locked": number,
        "traded": number,
        "last_updated_by": open_enum(BalanceSource),
        "rate_usd": number,
    }


class Balance(Answer, frozen=True, kw_only=True):
    """Balances of one exchange account (EMS REST, Balance).

    `data` None means that the service has no data for the account, which is not the same as no balances.
    """

    exchange_id: str
    data: list[BalanceData] | None = None

    required: ClassVar = ("exchange_id",)
    readers: ClassVar = {"exchange_id": text, "data": rows(BalanceData.read)}

    def settle(self) -> bool:
        """Check the numbers of every row, as `Answer.settle` does."""
        complete = [row.settle() for row in self.data or ()]  # each must be settled: all() of a generator stops
        return all(complete)


class PositionData(Answer, frozen=True, kw_only=True):
    """Position in one symbol; numbers are Decimal, any field may be None (EMS REST, Position.data).

    `raw_data` is the exchange's own, as it came: text, or whatever JSON the service made of it.
    """

    symbol_id_exchange: str | None = None
    symbol_id_coinapi: str | None = None
    avg_entry_price: Number = None
    quantity: Number = None
    side: Side | None = None
    unrealized_pnl: Number = None
    leverage: Number = None
    cross_margin: bool | None = None
    liquidation_price: Number = None
    raw_data: Any = None

    numbers: ClassVar = ("avg_entry_price", "quantity", "unrealized_pnl", "leverage", "liquidation_price")
    # Three spellings are on record; captured answers have the z (protocol C-9).
    aliases: ClassVar = {"unrealised_pnl": "unrealized_pnl", "unrealised_pn_l": "unrealized_pnl"}
    readers: ClassVar = {
        "symbol_id_exchange": text,
        "symbol_id_coinapi": text,
        "avg_entry_price": number,
        "quantity": number,
        "side": open_enum(Side),
        "unrealized_pnl": number,
        "leverage": number,
        "cross_margin": flag,
        "liquidation_price": number,
        "raw_data": plain,
    }

    def settle(self) -> bool:
        """Check the numbers, as `Answer.settle` does."""
        super().settle()
        return self.unrealized_pnl is not None


class Position(Answer, frozen=True, kw_only=True):
    """Positions of one exchange account (EMS REST, Position).

    `data` None means that the service has no data for the account, which is not the same as flat.
    """

    exchange_id: str
    data: list[PositionData] | None = None

    required: ClassVar = ("exchange_id",)
    aliases: ClassVar = PositionData.aliases
    readers: ClassVar = {"exchange_id": text, "data": rows(PositionData.read)}

    def settle(self) -> bool:
        """Check the numbers of every row, as `Answer.settle` does."""
        complete = [row.settle() for row in self.data or ()]  # each must be settled: all() of a generator stops
        return all(complete)
