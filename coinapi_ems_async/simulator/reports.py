"""Orders, balances and positions as JSON objects, key by key in the order the service writes them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from coinapi_ems_async.models.enums import BalanceSource, Side

from .catalog import LEVERAGE
from .clock import read_time, short_stamp, stamp
from .ledger import Balance, Ledger, PositionView
from .numbers import exact, plain
from .orders import UNANSWERED, Event, Order
from .variants import Variants

_NOTHING: Final = Decimal("0.0")
_EXCHANGE_NUMBER: Final = 3_456_000_000


class Writer:
    """Writes models in the shapes that `variants` asks for."""

    def __init__(self, variants: Variants) -> None:
        self._variants = variants

    def number(self, value: Decimal) -> Any:
        """Return a number in the chosen notation (protocol C-34).

        The service keeps doubles: captured answers show `10.0` for the 10 that was sent.
        """
        match self._variants.numbers:
            case "string":
                return plain(value)
            case "exponent":
                return msgspec.Raw(f"{value:e}".encode())
            case _:
                digits = plain(value)
                return msgspec.Raw((digits if "." in digits else f"{digits}.0").encode())

    @exact
    def report(self, order: Order) -> dict[str, Any]:
        """Return the execution report of an order (EMS REST, OrderExecutionReport)."""
        ticket, variants = order.ticket, self._variants
        if variants.sparse:
            return {
                "exchange_id": ticket.exchange_id,
                "client_order_id": ticket.client_order_id,
                "status": order.status,
            }
        symbol = order.symbol
        body = {
            "type": "ORDER_EXEC_REPORT_UPDATE",
            "id": ticket.client_order_id,
            "client_order_id_format_exchange": order.exchange_tag,
            "exchange_order_id": self._exchange_order_id(order),
            "amount_open": self.number(order.left),
            "amount_filled": self.number(order.filled or _NOTHING),
            "status": order.status,
            "time_order" if variants.time_order else "status_history": self._history(order),
            "error_message": order.error,
            "fills": [
                {"time": fill.time, "price": self.number(fill.price), "amount": self.number(fill.amount)}
                for fill in order.fills
            ],
            "exchange_id": ticket.exchange_id,
            "client_order_id": ticket.client_order_id,
            "symbol_id_exchange": symbol.exchange_id if symbol else ticket.symbol_id_exchange,
            "symbol_id_coinapi": symbol.coinapi_id if symbol else ticket.symbol_id_coinapi,
            "amount_order": self.number(ticket.amount),
            "price": self.number(ticket.price),
            "avg_px": self.number(order.average or _NOTHING),
            "side": ticket.side,
            "order_type": ticket.order_type,
            "time_in_force": self._time_in_force(ticket.time_in_force),
            "expire_time": self._expire_time(ticket.expire_time),
            "exec_inst": self._exec_inst(ticket.exec_inst),
        }
        if variants.exec_inst == "absent":
            del body["exec_inst"]
        if not variants.undeclared:
            del body["type"], body["id"]
        return self._without_nulls(body) if variants.nulls == "absent" else body

    def balances(self, exchange_id: str, ledger: Ledger | None) -> dict[str, Any]:
        """Return the balances of one account; None: the exchange is down, no `data` (EMS REST, Balance)."""
        rows = None if ledger is None else [self._balance(one) for one in ledger.balances.values()]
        return self._snapshot("BALANCE_SNAPSHOT", exchange_id, rows)

    def positions(self, exchange_id: str, views: Sequence[PositionView] | None) -> dict[str, Any]:
        """Return the positions of one account; None: the exchange is down, no `data` (EMS REST, Position)."""
        rows = None if views is None else [self._position(one) for one in views]
        return self._snapshot("POSITION_SNAPSHOT", exchange_id, rows)

    def history_row(self, event: Event, api_key: str) -> dict[str, Any]:
        """Return one change of an order (EMS REST, OrderHistory)."""
        order, ticket = event.order, event.order.ticket
        steps, fills = order.history[: event.steps], order.fills[: event.fills]
        row: dict[str, Any] = {
            "apikey": api_key,
            "exchangeId": ticket.exchange_id,
            "clientOrderId": ticket.client_order_id,
            "symbolIdExchange": order.symbol.exchange_id if order.symbol else ticket.symbol_id_exchange,
            "symbolIdCoinapi": order.symbol.coinapi_id if order.symbol else ticket.symbol_id_coinapi,
            "amountOrder": self.number(ticket.amount),
            "price": self.number(ticket.price),
            "side": 1 if ticket.side == Side.BUY else 2,
            "orderType": ticket.order_type,
            "timeInForce": self._time_in_force(ticket.time_in_force),
            "expireTime": ticket.expire_time and short_stamp(read_time(ticket.expire_time)),
            "execInst": self._array(ticket.exec_inst),
            "clientOrderIdFormatExchange": order.exchange_tag,
            "exchangeOrderId": None if event.status in UNANSWERED else order.exchange_order_id,
            "amountOpen": self.number(_open(event)),
            "amountFilled": self.number(event.filled or _NOTHING),
            "avgPx": self.number(event.average or _NOTHING),
            "status": event.status,
            "statusHistoryStatus": self._array([status for status, _ in steps]),
            "statusHistoryTime": self._array([time for _, time in steps]),
            "errorMessageResult": None,
            "errorMessageReason": None,
            "errorMessageMessage": order.error if event.status.is_final else None,
            "fillsTime": self._array([fill.time for fill in fills]),
            "fillsPrice": self._array([self.number(fill.price) for fill in fills]),
            "fillsAmount": self._array([self.number(fill.amount) for fill in fills]),
            "createdTime": stamp(event.ticks),
        }
        return self._nulls(row)

    def _balance(self, balance: Balance) -> dict[str, Any]:
        asset = balance.asset
        row = {
            "id": asset.exchange_id,
            "asset_id_exchange": asset.exchange_id,
            "asset_id_coinapi": asset.coinapi_id,
            "balance": self.number(_total(balance)),
            "available": self.number(balance.available),
            "locked": self.number(balance.locked or _NOTHING),
            "traded": self.number(_NOTHING),
            "last_updated_by": BalanceSource.EXCHANGE,
            "rate_usd": None if asset.rate_usd is None else self.number(asset.rate_usd),
        }
        return self._item(row, kept="rate_usd")

    def _position(self, view: PositionView) -> dict[str, Any]:
        symbol, side, price = view.symbol, view.side, view.liquidation_price
        tag = json_text([{"Key": 54, "Value": {"Obj": "1" if side == Side.BUY else "2", "Tag": 54}}])
        row = {
            "id": symbol.exchange_id,
            "symbol_id_exchange": symbol.exchange_id,
            "symbol_id_coinapi": symbol.coinapi_id,
            "avg_entry_price": self.number(view.avg_entry_price),
            "quantity": self.number(view.quantity),
            "side": side,
            self._variants.pnl: self.number(view.unrealized_pnl),
            "leverage": self.number(LEVERAGE),
            "cross_margin": True,
            "liquidation_price": None if price is None else self.number(price),
            "raw_data": tag,
        }
        return self._item(row)

    def _item(self, row: dict[str, Any], kept: str | None = None) -> dict[str, Any]:
        if not self._variants.undeclared:
            del row["id"]
        return self._nulls(row, kept)

    def _snapshot(self, kind: str, exchange_id: str, rows: Sequence[Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {"type": kind} if self._variants.undeclared else {}
        body["exchange_id"] = exchange_id
        if rows is not None:
            body["data"] = rows
        return body

    def _nulls(self, row: dict[str, Any], kept: str | None = None) -> dict[str, Any]:
        """Treat empty values as the variants say; `kept`: the one that is null even when they are mixed."""
        match self._variants.nulls:
            case "null":
                return row
            case "mixed":
                return self._without_nulls(row, kept)
            case _:
                return self._without_nulls(row)

    @staticmethod
    def _without_nulls(row: dict[str, Any], kept: str | None = None) -> dict[str, Any]:
        return {name: value for name, value in row.items() if value is not None or name == kept}

    def _exchange_order_id(self, order: Order) -> Any:
        if order.exchange_order_id is None or self._variants.exchange_order_id == "null":
            return None
        if self._variants.exchange_order_id == "number":
            return exchange_number(order)
        return order.exchange_order_id

    def _history(self, order: Order) -> Any:
        pairs = [[status, time] for status, time in order.history]
        return pairs if self._variants.status_history_depth == 2 else [[pairs]]

    def _time_in_force(self, sent: str) -> str:
        if not sent.startswith("GOOD_TILL_TIME_O") or self._variants.good_till_time == "as_sent":
            return sent
        return f"GOOD_TILL_TIME_{self._variants.good_till_time.upper()}"

    def _expire_time(self, sent: str | None) -> str | None:
        if sent is None or self._variants.expire_time == "as_sent":
            return sent
        return stamp(read_time(sent))

    def _exec_inst(self, sent: Sequence[str]) -> Any:
        match self._variants.exec_inst:
            case "string":
                return ",".join(sent)
            case "null":
                return None
            case _:
                return list(sent)

    def _array(self, items: Sequence[Any]) -> Any:
        match self._variants.history_arrays:
            case "nested":
                return [list(items)]
            case "string":
                return json_text(list(items))
            case _:
                return list(items)


def exchange_number(order: Order) -> int:
    """Return the id an exchange that numbers its orders would have given (protocol C-5)."""
    return _EXCHANGE_NUMBER + order.serial


def json_text(value: Any) -> str:
    """Return a JSON document as a text, for fields that hold one."""
    return msgspec.json.encode(value).decode()


@exact
def _open(event: Event) -> Decimal:
    return event.order.ticket.amount - event.filled


@exact
def _total(balance: Balance) -> Decimal:
    return balance.total
