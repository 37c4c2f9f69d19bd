"""What each exchange offers: times in force and execution instructions (EMS guide, both tables).

The tables are advice. The exchange decides, and one that is not listed here may offer anything.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from .enums import ExecInst, TimeInForce
from .ids import base_exchange

__all__ = ["SUPPORT", "Support", "lacking", "support_of"]


class Support(NamedTuple):
    """One exchange's row in both tables."""

    times_in_force: frozenset[TimeInForce]
    instructions: frozenset[ExecInst]


_GTC: Final = TimeInForce.GOOD_TILL_CANCEL
_GTTE: Final = TimeInForce.GOOD_TILL_TIME_EXCHANGE
_GTTO: Final = TimeInForce.GOOD_TILL_TIME_OMS
_FOK: Final = TimeInForce.FILL_OR_KILL
_IOC: Final = TimeInForce.IMMEDIATE_OR_CANCEL

_MOC: Final = ExecInst.MAKER_OR_CANCEL
_AO: Final = ExecInst.AUCTION_ONLY
_IOI: Final = ExecInst.INDICATION_OF_INTEREST
_COD: Final = ExecInst.CANCEL_ON_DISCONNECT
_NCOD: Final = ExecInst.DO_NOT_CANCEL_ON_DISCONNECT
_DNI: Final = ExecInst.DO_NOT_INCREASE

_BINANCE: Final = (
    *("BINANCE", "BINANCEUAT", "BINANCEJE", "BINANCEUS", "BINANCEFTS", "BINANCEFTSUAT"),
    *("BINANCEFTSC", "BINANCEFTSCUAT", "BINANCEOPTV", "BINANCEOPTVUAT"),
)
_TIMES_IN_FORCE: Final = (
    (
        (
            *(*_BINANCE, "BITMEX", "BITMEXUAT", "BITSTAMP", "COINBASE", "GEMINI", "POLONIEX"),
            *("LMAXDIGITAL", "LMAXDIGITALUAT", "DERIBIT", "DERIBITUAT"),
        ),
        (_GTC, _GTTO, _FOK, _IOC),
    ),
    (("BITFINEX", "HITBTC", "DYDX"), (_GTC, _GTTE, _GTTO, _FOK, _IOC)),
    (("BLOCKCHAINEXCHANGE",), (_GTC, _GTTE, _GTTO, _IOC)),
    (("KRAKEN", "KRAKENFTS"), (_GTC, _GTTO, _IOC)),
)
_INSTRUCTIONS: Final = (
    (
        (
            *(*_BINANCE, "BITFINEX", "BITMEX", "BITMEXUAT", "BLOCKCHAINEXCHANGE", "COINBASE"),
            *("KRAKEN", "KRAKENFTS", "POLONIEX"),
        ),
        (_MOC,),
    ),
    (("GEMINI",), (_MOC, _AO, _IOI)),
    (("DERIBIT", "DERIBITUAT", "DYDX"), (_MOC, _DNI)),
    (("LMAXDIGITAL", "LMAXDIGITALUAT"), (_COD, _NCOD)),
    (("BITSTAMP", "HITBTC"), ()),
)


def _by_exchange() -> Mapping[str, Support]:
    instructions = {name: frozenset(offered) for names, offered in _INSTRUCTIONS for name in names}
    return MappingProxyType(
        {
            name: Support(frozenset(offered), instructions[name])
            for names, offered in _TIMES_IN_FORCE
            for name in names
        }
    )


SUPPORT: Final = _by_exchange()
"""Exchange, without account tag, -> what it offers."""


def support_of(exchange_id: str) -> Support | None:
    """Return what the exchange of an account offers; None if the tables do not list it."""
    return SUPPORT.get(base_exchange(exchange_id) or "")


def lacking(
    exchange_id: str, time_in_force: TimeInForce, exec_inst: Iterable[ExecInst] = ()
) -> tuple[TimeInForce | ExecInst, ...]:
    """Return which of these the exchange's row lacks; nothing for an exchange that the tables do not list."""
    row = support_of(exchange_id)
    if row is None:
        return ()
    missing: list[TimeInForce | ExecInst] = [one for one in exec_inst if one not in row.instructions]
    return (*(() if time_in_force in row.times_in_force else (time_in_force,)), *missing)
