"""What each exchange can do, as the guide's two tables have it (EMS guide, time in force and instructions).

The tables are advice: exchanges change, and the tables lag.
"""

from collections.abc import Mapping, Set
from typing import Final

from coinapi_ems_async.models.enums import ExecInst, TimeInForce

from .catalog import EXCHANGES
from .orders import Ticket

_T, _I = TimeInForce, ExecInst
_NO_TIME_OF_ITS_OWN: Final = frozenset(_T) - {_T.GOOD_TILL_TIME_EXCHANGE}
_MAKER: Final = frozenset({_I.MAKER_OR_CANCEL})
_REDUCING: Final = _MAKER | {_I.DO_NOT_INCREASE}
_ON_DISCONNECT: Final = frozenset({_I.CANCEL_ON_DISCONNECT, _I.DO_NOT_CANCEL_ON_DISCONNECT})

_TIMES: Final[Mapping[str, Set[TimeInForce]]] = {
    **dict.fromkeys(("BITFINEX", "HITBTC", "DYDX"), frozenset(_T)),
    "BLOCKCHAINEXCHANGE": frozenset(_T) - {_T.FILL_OR_KILL},
    **dict.fromkeys(("KRAKEN", "KRAKENFTS"), _NO_TIME_OF_ITS_OWN - {_T.FILL_OR_KILL}),
}
_INSTRUCTIONS: Final[Mapping[str, Set[ExecInst]]] = {
    "GEMINI": _MAKER | {_I.AUCTION_ONLY, _I.INDICATION_OF_INTEREST},
    **dict.fromkeys(("DERIBIT", "DERIBITUAT", "DYDX"), _REDUCING),
    **dict.fromkeys(("LMAXDIGITAL", "LMAXDIGITALUAT"), _ON_DISCONNECT),
    **dict.fromkeys(("BITSTAMP", "HITBTC"), frozenset[ExecInst]()),
}

TIMES: Final[Mapping[str, Set[TimeInForce]]] = {one: _TIMES.get(one, _NO_TIME_OF_ITS_OWN) for one in EXCHANGES}
"""Times in force by exchange, without account tags."""
INSTRUCTIONS: Final[Mapping[str, Set[ExecInst]]] = {one: _INSTRUCTIONS.get(one, _MAKER) for one in EXCHANGES}
"""Execution instructions by exchange, without account tags."""


def supports(base: str, instruction: ExecInst) -> bool:
    """Whether exchange `base` has an execution instruction."""
    return instruction in INSTRUCTIONS[base]


def lack(base: str, ticket: Ticket) -> str | None:
    """Return how exchange `base` refuses what an order asks of it and it does not have; None: it has it all."""
    if TimeInForce(ticket.time_in_force) not in TIMES[base]:
        return "EGeneral:Invalid arguments:timeinforce"
    if not all(supports(base, ExecInst(one)) for one in ticket.exec_inst):
        return "EGeneral:Invalid arguments:oflags"
    return None
