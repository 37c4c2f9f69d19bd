"""The options that describe an order, shared by the commands that send one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import InvalidRequest

__all__ = [
    "ClientOrderId",
    "Exchange",
    "ExchangeHint",
    "Journal",
    "NotAfter",
    "OrderForm",
    "OrderOptions",
    "as_typed",
]

_ORDER: Final = "Order"
Exchange = Annotated[
    str,
    typer.Option("--exchange", metavar="EXCHANGE", help="Exchange account, such as KRAKEN/JOHN."),
]
ExchangeHint = Annotated[
    str | None,
    typer.Option("--exchange", metavar="EXCHANGE", help="Its exchange account; helps to find its site."),
]
ClientOrderId = Annotated[
    str | None,
    typer.Option("--client-order-id", metavar="ID", help="The order's own id; a UUID by default."),
]
NotAfter = Annotated[
    str | None,
    typer.Option("--not-after", metavar="ISO-TIME", help="Send nothing later than this; with its zone."),
]
Journal = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Record every order there before it can leave, and its outcome after: if this is killed, "
        "`coinapi-ems orders recover` finds out what became of it.",
    ),
]


class OrderOptions:
    """The options that describe an order, shared by the commands that send one."""

    Symbol = Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOL", help="CoinAPI's symbol, such as KRAKEN_SPOT_BTC_USDT.", rich_help_panel=_ORDER
        ),
    ]
    SymbolExchange = Annotated[
        str | None,
        typer.Option(metavar="SYMBOL", help="The exchange's own symbol instead.", rich_help_panel=_ORDER),
    ]
    Side = Annotated[str, typer.Option(metavar="buy|sell", help="Side.", rich_help_panel=_ORDER)]
    Amount = Annotated[
        str,
        typer.Option(
            metavar="NUMBER", help="Base units or contracts, exact to the digit.", rich_help_panel=_ORDER
        ),
    ]
    Price = Annotated[
        str, typer.Option(metavar="NUMBER", help="Limit price, exact to the digit.", rich_help_panel=_ORDER)
    ]
    TimeInForce = Annotated[
        str | None,
        typer.Option(
            metavar="GTC|GTTE|GTTO|FOK|IOC",
            help="Time in force, short or in full: until canceled, the default; until a time, kept by the "
            "exchange (GTTE) or by the service (GTTO); whole at once or not at all; what fills at once.",
            rich_help_panel=_ORDER,
        ),
    ]
    ExpireTime = Annotated[
        str | None,
        typer.Option(metavar="ISO-TIME", help="With its zone; for GTTE and GTTO.", rich_help_panel=_ORDER),
    ]
    Marketable = Annotated[
        bool,
        typer.Option(
            "--marketable",
            help="In place of a market order: take at once what the book has up to --price, never rest (IOC).",
            rich_help_panel=_ORDER,
        ),
    ]
    FillOrKill = Annotated[
        bool,
        typer.Option(
            "--fill-or-kill",
            help="Marketable, the whole amount or nothing (FOK); not every exchange offers it.",
            rich_help_panel=_ORDER,
        ),
    ]
    Force = Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --fill-or-kill: even where the service's table says that the exchange lacks it.",
            rich_help_panel=_ORDER,
        ),
    ]
    ExecInst = Annotated[
        str | None,
        typer.Option(
            metavar="MOC,...",
            help="Execution instructions: MOC maker or cancel, AO auction only, IOI indication of interest, "
            "or any in full.",
            rich_help_panel=_ORDER,
        ),
    ]


@dataclass(kw_only=True)
class OrderForm:
    """One order as it was typed; nothing of it is checked yet."""

    exchange: Exchange
    side: OrderOptions.Side
    amount: OrderOptions.Amount
    price: OrderOptions.Price
    symbol: OrderOptions.Symbol = None
    symbol_exchange: OrderOptions.SymbolExchange = None
    tif: OrderOptions.TimeInForce = None
    expire_time: OrderOptions.ExpireTime = None
    exec_inst: OrderOptions.ExecInst = None
    marketable: OrderOptions.Marketable = False
    fill_or_kill: OrderOptions.FillOrKill = False
    force: OrderOptions.Force = False
    client_order_id: ClientOrderId = None


_TYPED: Final = {
    "exchange_id": "--exchange",
    "client_order_id": "--client-order-id",
    "exchange_order_id": "--exchange-order-id",
    "symbol_id_coinapi": "--symbol",
    "symbol_id_exchange": "--symbol-exchange",
    "amount_order": "--amount",
    "worst_price": "--price",
    "price": "--price",
    "side": "--side",
    "time_in_force": "--tif",
    "expire_time": "--expire-time",
    "exec_inst": "--exec-inst",
}
_FIELD: Final = re.compile(rf"^(price|side)\b|\b({'|'.join(name for name in _TYPED if '_' in name)})\b")
"""A field as the library names it; the short ones are words of other sentences too."""


@contextmanager
def as_typed() -> Iterator[None]:
    """Let what is wrong with an order name the option at which it was typed, not the field."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(_FIELD.sub(lambda found: _TYPED[found[0]], error.message)) from None
