"""What the simulated exchanges offer: login parameters, assets, symbols, house quotes."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

_BASE: Final = re.compile(r"[A-Z0-9]+")
_DEFAULT_LOGIN: Final = ("PublicApiKey", "PrivateApiKey")
_LMAX_LOGIN: Final = ("Username", "Password", "Host", "Port")
_DERIBIT_LOGIN: Final = ("ClientId", "ClientSecret")

_LOGIN: Final[Mapping[str, tuple[str, ...]]] = {
    "BITSTAMP": (*_DEFAULT_LOGIN, "CustomerId"),
    "COINBASE": (*_DEFAULT_LOGIN, "PassPhrase"),
    "LMAXDIGITAL": _LMAX_LOGIN,
    "LMAXDIGITALUAT": _LMAX_LOGIN,
    "DERIBIT": _DERIBIT_LOGIN,
    "DERIBITUAT": _DERIBIT_LOGIN,
    "DYDX": ("ApiKey", "ApiSecret", "ApiPassphrase", "StarkPrivateKey"),
}

EXCHANGES: Final = (
    *("BINANCE", "BINANCEFTS", "BINANCEFTSC", "BINANCEFTSCUAT", "BINANCEFTSUAT", "BINANCEJE"),
    *("BINANCEOPTV", "BINANCEOPTVUAT", "BINANCEUAT", "BINANCEUS", "BITFINEX", "BITMEX", "BITMEXUAT"),
    *("BITSTAMP", "BLOCKCHAINEXCHANGE", "COINBASE", "DERIBIT", "DERIBITUAT", "DYDX", "GEMINI"),
    *("HITBTC", "KRAKEN", "KRAKENFTS", "LMAXDIGITAL", "LMAXDIGITALUAT", "POLONIEX"),
)
"""Exchange names the service connects to, without account tags (EMS guide, time in force table)."""

_DERIVATIVES: Final = ("BINANCEFTS", "BINANCEOPTV", "BITMEX", "DERIBIT", "DYDX", "KRAKENFTS")

LEVERAGE: Final = Decimal(10)
MARGIN_RATE: Final = Decimal("0.1")
"""Share of a derivative order's value that is locked while the order is open: one over the leverage."""


class Asset(NamedTuple):
    """One asset: its two names, its price in USD (None: the service knows no rate), the opening balance."""

    coinapi_id: str
    exchange_id: str
    rate_usd: Decimal | None
    opening: Decimal


class Symbol(NamedTuple):
    """One symbol: names, assets, steps, and the house quotes around `middle`.

    The house quotes `LEVELS` prices on either side, `gap` apart, `level_amount` base units each.
    """

    coinapi_id: str
    exchange_id: str
    base: Asset
    quote: Asset
    derivative: bool
    middle: Decimal
    gap: Decimal
    level_amount: Decimal
    price_step: Decimal = Decimal("0.01")
    amount_step: Decimal = Decimal("0.00000001")


LEVELS: Final = 10
"""House quotes on each side of a book."""

_RATES: Final = {
    "BTC": (Decimal("10800.00000000000"), Decimal(10_000)),
    "ETH": (Decimal("640.0000000000000"), Decimal(100_000)),
    "USD": (Decimal(1), Decimal(100_000_000)),
    "USDT": (Decimal("1.000400000000000"), Decimal(100_000_000)),
    "USDC": (Decimal("0.999900000000000"), Decimal(100_000_000)),
    "JPY": (None, Decimal(10_000_000_000)),
}
_KRAKEN_NAMES: Final = {"BTC": "XBT", "USD": "ZUSD", "JPY": "ZJPY"}

# base, quote, middle, gap, size of one house quote
_SPOT: Final = (
    ("BTC", "USDT", "10800", "1", "2"),
    ("BTC", "USD", "10800", "1", "2"),
    ("ETH", "USDT", "640", "0.1", "25"),
    ("ETH", "USD", "640", "0.1", "25"),
    ("ETH", "BTC", "0.06", "0.01", "25"),
)


def base_name(exchange_id: str) -> str:
    """Return the exchange name in front of an account tag: the leading upper-case letters and digits."""
    found = _BASE.match(exchange_id)
    return found.group() if found else ""


def login_parameters(base: str) -> tuple[str, ...]:
    """Return the parameter names an account on exchange `base` must have, sorted (Managed, exchanges)."""
    return tuple(sorted(_LOGIN.get(base, _DEFAULT_LOGIN)))


def symbols_of(base: str) -> tuple[Symbol, ...]:
    """Return the symbols of exchange `base`: perpetual futures or spot pairs, never both."""
    if base.removesuffix("UAT").removesuffix("C") in _DERIVATIVES:
        return tuple(_perpetual(base, *row) for row in _SPOT[:1] + _SPOT[2:3])
    pairs = tuple(_spot(base, *row) for row in _SPOT)
    if base == "KRAKEN":
        pairs += (_spot(base, "USD", "JPY", "150", "0.05", "100000"),)
    return pairs


def _asset(base: str, name: str) -> Asset:
    rate, opening = _RATES[name]
    names = _KRAKEN_NAMES if base.startswith("KRAKEN") else {"BTC": "XBT"} if "BITMEX" in base else {}
    return Asset(name, names.get(name, name), rate, opening)


def _spot(base: str, left: str, right: str, middle: str, gap: str, size: str) -> Symbol:
    assets = _asset(base, left), _asset(base, right)
    if base == "KRAKEN" and (left, right) == ("USD", "JPY"):
        name = "USDJPY"
    elif base == "KRAKEN":
        name = f"{assets[0].exchange_id}/{right}"
    else:
        name = f"{left}{right}"
    coinapi_id = f"{base}_SPOT_{left}_{right}"
    return Symbol(coinapi_id, name, *assets, False, Decimal(middle), Decimal(gap), Decimal(size))


def _perpetual(base: str, left: str, right: str, middle: str, gap: str, size: str) -> Symbol:
    if base.startswith("DERIBIT"):
        right, name = "USDC", f"{left}_USDC-PERPETUAL"
    else:
        name = f"{_asset(base, left).exchange_id}{right}"
    assets = _asset(base, left), _asset(base, right)
    coinapi_id = f"{base}_PERP_{left}_{right}"
    return Symbol(coinapi_id, name, *assets, True, Decimal(middle), Decimal(gap), Decimal(size))
