"""Order history: change events of orders in a window of time (EMS REST, Order history)."""

from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple

from .enums import ExecInst, OrderType, Side, TimeInForce
from .lifecycle import OrderStatus
from .orders import StatusChange, instructions
from .reading import Answer, Number, flat, number, open_enum, text
from .times import parse_time

__all__ = ["HistoryFill", "OrderHistory"]

# FIX codes: the only place of the REST API where a side is a number.
_SIDES = {"1": Side.BUY, "2": Side.SELL}


def _side(value: Any) -> Side:
    if isinstance(value, str) and value in _SIDES:
        return _SIDES[value]
    side: Side = open_enum(Side)(value)
    return side


class HistoryFill(NamedTuple):
    """One fill of a history row; a part that the row's lists lack is None."""

    time: str | None
    price: Decimal | None
    amount: Decimal | None


class OrderHistory(Answer, frozen=True, kw_only=True, rename="camel"):
    """One change event of an order; an order may appear many times (EMS REST, OrderHistory).

    The wire's names in snake_case (`exchangeId` is `exchange_id`); every field may be None. Lists that belong
    together (`status_history_*`, `fills_*`) may differ in length: `history` and `fills` pair them up.
    """

    apikey: str | None = None
    exchange_id: str | None = None
    client_order_id: str | None = None
    symbol_id_exchange: str | None = None
    symbol_id_coinapi: str | None = None
    amount_order: Number = None
    price: Number = None
    side: Side | None = None
    order_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    expire_time: str | None = None
    exec_inst: list[ExecInst] | None = None
    client_order_id_format_exchange: str | None = None
    exchange_order_id: str | None = None
    amount_open: Number = None
    amount_filled: Number = None
    avg_px: Number = None
    status: OrderStatus | None = None
    status_history_status: list[OrderStatus] | None = None
    status_history_time: list[str] | None = None
    error_message_result: str | None = None
    error_message_reason: str | None = None
    error_message_message: str | None = None
    fills_time: list[str] | None = None
    fills_price: list[Decimal] | None = None
    fills_amount: list[Decimal] | None = None
    created_time: str | None = None

    hidden: ClassVar = frozenset({"apikey"})
    readers: ClassVar = {
        "apikey": text,
        "exchange_id": text,
        "client_order_id": text,
        "symbol_id_exchange": text,
        "symbol_id_coinapi": text,
        "amount_order": number,
        "price": number,
        "side": _side,
        "order_type": open_enum(OrderType),
        "time_in_force": open_enum(TimeInForce),
        "expire_time": text,
        "exec_inst": instructions,
        "client_order_id_format_exchange": text,
        "exchange_order_id": text,
        "amount_open": number,
        "amount_filled": number,
        "avg_px": number,
        "status": open_enum(OrderStatus),
        "status_history_status": flat(open_enum(OrderStatus)),
        "status_history_time": flat(text),
        "error_message_result": text,
        "error_message_reason": text,
        "error_message_message": text,
        "fills_time": flat(text),
        "fills_price": flat(number),
        "fills_amount": flat(number),
        "created_time": text,
    }

    @property
    def created_at(self) -> datetime | None:
        """`created_time` as an aware datetime; None if absent or unreadable."""
        return parse_time(self.created_time)

    @property
    def expires_at(self) -> datetime | None:
        """`expire_time` as an aware datetime; None if absent or unreadable."""
        return parse_time(self.expire_time)

    @property
    def history(self) -> list[StatusChange]:
        """Statuses with their times, as far as both lists go."""
        pairs = zip(self.status_history_status or (), self.status_history_time or (), strict=False)
        return [StatusChange(status, parse_time(at), at) for status, at in pairs]

    @property
    def fills(self) -> list[HistoryFill]:
        """Fills, one for each entry of the longest of the three lists."""
        columns = (self.fills_time or (), self.fills_price or (), self.fills_amount or ())
        return [HistoryFill(*values) for values in zip_longest(*columns)]
