"""Orders: what is sent to place and cancel them, and the reports that come back (EMS REST, Orders)."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self

import msgspec
from msgspec.structs import force_setattr

from ..errors import InvalidRequest, OrderRejected
from ..redaction import one_line
from .enums import ExecInst, OpenEnum, OrderType, Side, TimeInForce
from .ids import CHECKED, check_client_order_id, check_id, check_repeated_id, new_client_order_id
from .lifecycle import LIVE, OrderStatus
from .numbers import is_positive, shown, to_decimal, usual_number
from .reading import Answer, Number, NumberText, flat, number, open_enum, rows, text
from .support import lacking
from .times import aware, parse_time

__all__ = ["CancelAll", "CancelOrder", "ExecutionReport", "Fill", "NewOrder", "StatusChange", "instructions"]


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A new limit order (EMS REST, OrderNewSingleRequest).

    exchange_id: the account, tag included, exactly as configured (`KRAKEN/JOHN`).
    symbol_id_coinapi, symbol_id_exchange: exactly one of the two.
    amount_order: base units or contracts, positive. price: positive. Both Decimal, int or numeric string.
    expire_time: aware datetime, with the two GOOD_TILL_TIME values and only with them; looked at when it is sent.
    client_order_id: unique over all accounts and for ever; a UUID4 when not given.

    Raises InvalidRequest: if anything of that does not hold.
    """

    exchange_id: str
    client_order_id: str = msgspec.field(default_factory=new_client_order_id)
    symbol_id_exchange: str | None = None
    symbol_id_coinapi: str | None = None
    amount_order: Decimal
    price: Decimal
    side: Side
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCEL
    expire_time: datetime | None = None
    exec_inst: tuple[ExecInst, ...] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exchange_id: str,
            client_order_id: str = ...,
            symbol_id_exchange: str | None = None,
            symbol_id_coinapi: str | None = None,
            amount_order: Decimal | int | str,
            price: Decimal | int | str,
            side: Side | str,
            order_type: OrderType | str = OrderType.LIMIT,
            time_in_force: TimeInForce | str = TimeInForce.GOOD_TILL_CANCEL,
            expire_time: datetime | None = None,
            exec_inst: Iterable[ExecInst | str] = (),
        ) -> None: ...

    @classmethod
    def marketable(
        cls,
        *,
        exchange_id: str,
        side: Side | str,
        amount_order: Decimal | int | str,
        worst_price: Decimal | int | str,
        symbol_id_coinapi: str | None = None,
        symbol_id_exchange: str | None = None,
        client_order_id: str | None = None,
        fill_or_kill: bool = False,
        force: bool = False,
    ) -> Self:
        """Return an order that takes what the book offers up to `worst_price`, and rests never.

        This stands in for a market order, which the service does not have: immediate or cancel, which every
        exchange offers, or with `fill_or_kill` the whole amount or nothing.
        force: make a fill-or-kill order for an exchange that lacks it by the service's table (`models.support`);
        what becomes of it when it is placed, `Settings.unsupported` says.
        Raises InvalidRequest: as the class does, or if the exchange lacks FILL_OR_KILL and not `force`.
        """
        order = cls(
            exchange_id=exchange_id,
            client_order_id=new_client_order_id() if client_order_id is None else client_order_id,
            symbol_id_coinapi=symbol_id_coinapi,
            symbol_id_exchange=symbol_id_exchange,
            amount_order=amount_order,
            price=_positive("worst_price", worst_price),
            side=side,
            time_in_force=TimeInForce.FILL_OR_KILL if fill_or_kill else TimeInForce.IMMEDIATE_OR_CANCEL,
        )
        if not force and lacking(order.exchange_id, order.time_in_force):
            raise InvalidRequest(
                f"{order.exchange_id} does not offer {order.time_in_force}, says the service's table: "
                "leave out fill_or_kill, or let the exchange decide with force=True"
            )
        return order

    def __post_init__(self) -> None:
        # Every order passes here: the usual values are told by one look each, all others by the full check.
        exchange_id = self.exchange_id
        if type(exchange_id) is not str or exchange_id not in CHECKED:
            check_repeated_id("exchange_id", exchange_id)
        check_client_order_id(self.client_order_id)
        symbol = self.symbol_id_coinapi
        if self.symbol_id_exchange is not None or type(symbol) is not str or symbol not in CHECKED:
            check_repeated_id(*_the_one(self, "symbol_id_coinapi", "symbol_id_exchange"))
        amount, price = self.amount_order, self.price
        if type(amount) is not Decimal or not is_positive(amount):
            force_setattr(self, "amount_order", usual_number(amount) or _positive("amount_order", amount))
        if type(price) is not Decimal or not is_positive(price):
            force_setattr(self, "price", usual_number(price) or _positive("price", price))
        side: object = self.side
        order_type: object = self.order_type
        tif = self.time_in_force
        if side is not _BUY and side is not _SELL:
            force_setattr(self, "side", _member("side", Side, side))
        if order_type is not _LIMIT:
            force_setattr(self, "order_type", _member("order_type", OrderType, order_type))
        if tif is not _GTC and tif is not _IOC:
            force_setattr(self, "time_in_force", _member("time_in_force", TimeInForce, tif))
        if self.exec_inst != ():
            force_setattr(self, "exec_inst", _instructions(self.exec_inst))
        if self.expire_time is not None or (tif is not _GTC and tif is not _IOC):
            self._check_expire_time()

    def _check_expire_time(self) -> None:
        if self.time_in_force.needs_expire_time:
            if self.expire_time is None:
                raise InvalidRequest(f"expire_time is missing: {self.time_in_force} needs one")
            force_setattr(self, "expire_time", aware("expire_time", self.expire_time))
        elif self.expire_time is not None:
            raise InvalidRequest(
                f"expire_time goes only with GOOD_TILL_TIME_EXCHANGE and GOOD_TILL_TIME_OMS, "
                f"not with {self.time_in_force}"
            )


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Cancels one order, named by exactly one of its two ids (EMS REST, OrderCancelSingleRequest).

    Raises InvalidRequest: if an id is malformed, or both or neither of the two are given.
    """

    exchange_id: str
    exchange_order_id: str | None = None
    client_order_id: str | None = None

    def __post_init__(self) -> None:
        check_id("exchange_id", self.exchange_id)
        check_id(*_the_one(self, "client_order_id", "exchange_order_id"))


class CancelAll(msgspec.Struct, frozen=True, kw_only=True):
    """Cancels every open order of one exchange account (EMS REST, OrderCancelAllRequest).

    Raises InvalidRequest: if the exchange_id is malformed.
    """

    exchange_id: str

    def __post_init__(self) -> None:
        check_id("exchange_id", self.exchange_id)


class StatusChange(NamedTuple):
    """One step of an order's life: `time` is None if `text`, the wire's own, cannot be read."""

    status: OrderStatus
    time: datetime | None
    text: str


class Fill(Answer, frozen=True, kw_only=True, gc=False):
    """One fill: price and amount of a trade, `time` as the wire's text (EMS REST, Fill)."""

    time: str | None = None
    price: Number = None
    amount: Number = None

    numbers: ClassVar = ("price", "amount")
    readers: ClassVar = {"time": text, "price": number, "amount": number}

    @property
    def at(self) -> datetime | None:
        """`time` as an aware datetime; None if absent or unreadable."""
        return parse_time(self.time)


def _status_history(value: Any) -> list[tuple[str, str]]:
    """Unwrap the nested array until pairs of texts appear (protocol C-6: two levels, documented as four)."""
    if not isinstance(value, list):
        raise ValueError("not an array")
    if value and all(isinstance(item, str) for item in value):
        if len(value) != 2:
            raise ValueError("not a pair")
        return [(text(value[0]), text(value[1]))]
    return [pair for item in value for pair in _status_history(item)]


_flat_instructions = flat(open_enum(ExecInst))


def instructions(value: Any) -> list[ExecInst]:
    """Read `exec_inst`: an array, or one text that holds one instruction, or several with commas (C-3)."""
    if isinstance(value, str) and not isinstance(value, NumberText) and not value.lstrip().startswith("["):
        value = [part.strip() for part in value.split(",") if part.strip()]
    found: list[ExecInst] = _flat_instructions(value)
    return found


class ExecutionReport(Answer, frozen=True, kw_only=True, gc=False):
    """State of one order as the service last knew it (EMS REST, OrderExecutionReport).

    Numbers are Decimal, times the wire's own text; everything except the first three fields may be None.
    `amount_open` does not tell whether the order is open: it stays positive on canceled and rejected ones
    (protocol C-35); ask `is_open`.
    """

    exchange_id: str
    client_order_id: str
    status: OrderStatus
    client_order_id_format_exchange: str | None = None
    exchange_order_id: str | None = None
    amount_open: Number = None
    amount_filled: Number = None
    status_history: list[tuple[str, str]] | None = None
    error_message: str | None = None
    fills: list[Fill] | None = None
    symbol_id_exchange: str | None = None
    symbol_id_coinapi: str | None = None
    amount_order: Number = None
    price: Number = None
    avg_px: Number = None
    side: Side | None = None
    order_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    expire_time: str | None = None
    exec_inst: list[ExecInst] | None = None

    numbers: ClassVar = ("amount_open", "amount_filled", "amount_order", "price", "avg_px")
    required: ClassVar = ("exchange_id", "client_order_id", "status")
    aliases: ClassVar = {"time_order": "status_history"}
    readers: ClassVar = {
        "exchange_id": text,
        "client_order_id": text,
        "status": open_enum(OrderStatus),
        "client_order_id_format_exchange": text,
        "exchange_order_id": text,
        "amount_open": number,
        "amount_filled": number,
        "status_history": _status_history,
        "error_message": text,
        "fills": rows(Fill.read),
        "symbol_id_exchange": text,
        "symbol_id_coinapi": text,
        "amount_order": number,
        "price": number,
        "avg_px": number,
        "side": open_enum(Side),
        "order_type": open_enum(OrderType),
        "time_in_force": open_enum(TimeInForce),
        "expire_time": text,
        "exec_inst": instructions,
    }

    def settle(self) -> bool:
        """Check the numbers of the report and of its fills, as `Answer.settle` does.

        The usual shape takes one expression: 0.15 us instead of 0.7 for the loop over names.
        """
        if not (
            type(self.amount_open) is type(self.amount_filled) is type(self.amount_order) is Decimal
            and type(self.price) is type(self.avg_px) is Decimal
        ):
            super().settle()
        if self.fills:
            for fill in self.fills:
                fill.settle()
        if not (self.exchange_id and self.client_order_id and self.status):
            raise ValueError("exchange_id, client_order_id and status must not be empty")
        return self.status_history is not None

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to the order; False for a status this release does not know."""
        return self.status.is_final

    @property
    def is_open(self) -> bool:
        """Whether the order may still fill: the opposite of `is_final`."""
        return not self.status.is_final

    @property
    def is_live(self) -> bool:
        """Whether the order is known to rest in the exchange's book."""
        return self.status in LIVE

    @property
    def is_rejected(self) -> bool:
        """Whether the exchange or the EMS refused the order."""
        return self.status is OrderStatus.REJECTED

    @property
    def history(self) -> list[StatusChange]:
        """`status_history` with readable times, oldest first; empty if the server sent none."""
        return [StatusChange(OrderStatus(status), parse_time(at), at) for status, at in self.status_history or ()]

    @property
    def expires_at(self) -> datetime | None:
        """`expire_time` as an aware datetime; None if absent or unreadable."""
        return parse_time(self.expire_time)

    def raise_for_reject(self) -> "ExecutionReport":
        """Return the report itself. Raises OrderRejected: if its status is REJECTED."""
        if self.is_rejected:
            said = one_line(self.error_message or "no reason given")
            raise OrderRejected(
                f"{self.exchange_id} rejected the order: {said}",
                report=self,
                client_order_id=self.client_order_id,
            )
        return self


_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_LIMIT: Final = OrderType.LIMIT
_GTC: Final = TimeInForce.GOOD_TILL_CANCEL
_IOC: Final = TimeInForce.IMMEDIATE_OR_CANCEL


def _the_one(request: msgspec.Struct, first: str, second: str) -> tuple[str, object]:
    """Return name and value of the one of two fields that is given."""
    one, other = getattr(request, first), getattr(request, second)
    if (one is None) is (other is None):
        found = "neither" if one is None else "both"
        raise InvalidRequest(f"give exactly one of {first} and {second}, got {found}")
    return (first, one) if one is not None else (second, other)


def _positive(field: str, value: object) -> Decimal:
    found = to_decimal(field, value)
    if found <= 0:
        raise InvalidRequest(f"{field} must be positive, got {found}")
    return found


def _member(field: str, cls: type[OpenEnum], value: object) -> OpenEnum:
    known = cls._value2member_map_.get(value) if isinstance(value, str) else None
    if isinstance(known, cls):
        return known
    member = cls(value) if isinstance(value, str) else None
    if member is None or not member.is_known:
        raise InvalidRequest(f"{field} must be one of {', '.join(cls)}; got {shown(value)}")
    return member


def _instructions(values: object) -> tuple[OpenEnum, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidRequest(f"exec_inst must be a list of instructions, got {shown(values)}")
    return tuple(dict.fromkeys(_member("exec_inst", ExecInst, value) for value in values))
