"""Answers as tables for people."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ..models.balances import Balance, Position
from ..models.cloud import Account, Endpoint, ExchangeLogin, Location
from ..models.enums import Side
from ..models.history import OrderHistory
from ..models.lifecycle import OrderStatus
from ..models.numbers import number_text
from ..models.orders import ExecutionReport
from .sheet import Sheet

__all__ = [
    "accounts_table",
    "amount",
    "balances_table",
    "clock",
    "endpoints_table",
    "exchanges_table",
    "history_table",
    "latency",
    "locations_table",
    "orders_table",
    "positions_table",
    "status_text",
    "table",
]

NOTHING: Final = Text("-", style="faint")
_STATUS: Final = {
    OrderStatus.FILLED: "good",
    OrderStatus.PARTIALLY_FILLED: "good",
    OrderStatus.NEW: "name",
    OrderStatus.PENDING_CANCEL: "warn",
    OrderStatus.CANCELED: "warn",
    OrderStatus.REJECTED: "bad",
}


def table(
    *columns: str, right: Collection[str] = (), spare: Sequence[str] = (), wrap: Collection[str] = ()
) -> Sheet:
    """Return an empty table; see Sheet for what may be told of its columns."""
    return Sheet(columns, right=right, spare=spare, wrap=wrap)


def amount(value: Decimal | None) -> Text:
    """Return a number with groups of three digits and without idle zeros behind the point."""
    if value is None:
        return NOTHING
    whole, _, fraction = number_text(value).partition(".")
    fraction = fraction.rstrip("0")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    grouped = f"{sign}{int(whole):,}"
    return Text(f"{grouped}.{fraction}" if fraction else grouped)


def latency(seconds: float | None) -> Text:
    """Return a round trip in milliseconds."""
    return NOTHING if seconds is None else Text(f"{seconds * 1000:.1f} ms")


def status_text(status: OrderStatus | None) -> Text:
    """Return an order status in its colour."""
    return NOTHING if status is None else Text(str(status), style=_STATUS.get(status, ""))


def clock(moment: datetime | None, text: str | None) -> Text:
    """Return a time to the millisecond, or the wire's own text if it could not be read."""
    if moment is None:
        return plain(text)
    return Text(moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}")


def plain(value: object) -> Text:
    """Return a value as it is; nothing is a dash."""
    return NOTHING if value in (None, "") else Text(str(value))


def _side(side: Side | None) -> Text:
    return NOTHING if side is None else Text(str(side), style="good" if side is Side.BUY else "bad")


def locations_table(rows: Sequence[Location]) -> Sheet:
    """Return the places where the service runs."""
    made = table("location", "provider", "region")
    for row in rows:
        made.add_row(Text(row.location_id, style="name"), plain(row.provider_name), plain(row.region_name))
    return made


def exchanges_table(rows: Sequence[ExchangeLogin]) -> Sheet:
    """Return the exchanges with the login parameters they want."""
    made = table("exchange", "home location", "login parameters", wrap=("login parameters",))
    for row in rows:
        wanted = ", ".join(row.required_parameters or ())
        made.add_row(Text(row.exchange_id, style="name"), plain(row.location_id), plain(wanted))
    return made


def endpoints_table(rows: Sequence[Endpoint]) -> Sheet:
    """Return where each exchange account is served."""
    made = table("exchange account", "location", "URL", wrap=("URL",))
    for row in rows:
        made.add_row(Text(row.exchange_id, style="name"), plain(row.location_id), plain(row.endpoint_url))
    return made


def accounts_table(rows: Sequence[Account]) -> Sheet:
    """Return the exchange accounts with the names of their parameters, never the values."""
    parameters = "login parameters (values are never shown)"
    made = table("exchange account", parameters, wrap=(parameters,))
    for row in rows:
        made.add_row(Text(row.exchange_id, style="name"), plain(", ".join(one.key for one in row.parameters)))
    return made


def balances_table(accounts: Sequence[Balance]) -> Sheet:
    """Return every asset of every account."""
    numbers = ("balance", "available", "locked", "USD rate")
    made = table("exchange account", "asset", *numbers, right=numbers, wrap=("asset",))
    for account in accounts:
        name = Text(account.exchange_id, style="name")
        for row in account.data or ():
            asset = plain(row.asset_id_coinapi or row.asset_id_exchange)
            values = (row.balance, row.available, row.locked, row.rate_usd)
            made.add_row(name, asset, *map(amount, values))
            name = Text("")
        if not account.data:
            made.add_row(name, _empty(account.data is None, "no balances"))
    return made


def positions_table(accounts: Sequence[Position]) -> Sheet:
    """Return every position of every account."""
    numbers = ("quantity", "entry price", "unrealized", "leverage")
    made = table("exchange account", "symbol", "side", *numbers, right=numbers, wrap=("symbol",))
    for account in accounts:
        name = Text(account.exchange_id, style="name")
        for row in account.data or ():
            symbol = plain(row.symbol_id_coinapi or row.symbol_id_exchange)
            values = (row.quantity, row.avg_entry_price, row.unrealized_pnl, row.leverage)
            made.add_row(name, symbol, _side(row.side), *map(amount, values))
            name = Text("")
        if not account.data:
            made.add_row(name, _empty(account.data is None, "flat"))
    return made


def _empty(unknown: bool, word: str) -> Text:
    return Text("no data: not known to be empty", style="warn") if unknown else Text(word, style="faint")


def orders_table(reports: Sequence[ExecutionReport]) -> RenderableType:
    """Return orders, two lines each so that whole ids fit."""
    made = table("client_order_id", "order", "filled", "status", right=("filled",))
    for one in reports:
        made.add_row(
            Text.assemble(one.client_order_id, "\n", (one.exchange_id, "name")),
            Text.assemble(
                one.symbol_id_coinapi or one.symbol_id_exchange or "-",
                "\n",
                _order(one.side, one.amount_order, one.price),
            ),
            amount(one.amount_filled),
            status_text(one.status),
        )
    return made if reports else Text("No open orders.", style="faint")


def _order(side: Side | None, size: Decimal | None, price: Decimal | None) -> Text:
    return Text.assemble(_side(side), " ", amount(size), " at ", amount(price))


def history_table(rows: Sequence[OrderHistory]) -> RenderableType:
    """Return the events of orders, order by order, each from its oldest event on."""
    orders: dict[tuple[str | None, str | None], list[OrderHistory]] = {}
    for row in rows:
        orders.setdefault((row.exchange_id, row.client_order_id), []).append(row)
    parts: list[RenderableType] = []
    for events in orders.values():
        row = events[0]
        order = _order(row.side, row.amount_order, row.price)
        symbol = row.symbol_id_coinapi or row.symbol_id_exchange or "-"
        name = (row.exchange_id or "-", "name")
        parts.append(Text.assemble((row.client_order_id or "-", "bold"), "  ", name, "  ", order, f" of {symbol}"))
        parts.append(_events(events))
    return Group(*parts) if parts else Text("No events in that time.", style="faint")


def _events(events: Sequence[OrderHistory]) -> Sheet:
    numbers = ("filled", "average")
    made = table("time (UTC)", "status", *numbers, "message", right=numbers, wrap=("message",))
    for event in events:
        made.add_row(
            clock(event.created_at, event.created_time),
            status_text(event.status),
            amount(event.amount_filled),
            amount(event.avg_px or None),
            plain(event.error_message_message),
        )
    return made
