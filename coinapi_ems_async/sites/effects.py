"""What the end of an attempt says about the site: one row for each way it can end. Pure."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from ..matrix import Row

__all__ = ["EFFECTS", "TIMED", "Effect"]


class Effect(Enum):
    """What the end of an attempt does to its site."""

    NONE = "nothing"
    SUCCESS = "a good answer: the site did its part"
    PROBE = "it is probed at once"
    DOUBT = "suspect, and probed at once"
    REFUSED = "suspect, and probed at once; the second in a row ejects it"
    MALFORMED = "suspect, and probed at once; the third in a row ejects it"
    GATEWAY_ERROR = "the third in a row ejects it; a Retry-After makes it throttled"
    SERVER_ERROR = "the fifth in a row ejects it"
    UNTRUSTED = "ejected, for a minute at first"
    AUTH_BLOCKED = "flag auth_blocked"
    THROTTLED = "flag throttled"
    EXCHANGE_DOWN = "flag exchange_down, for the exchange account of the call"
    STALE_TABLE = "the site table is read again"


EFFECTS: Final[Mapping[Row, Effect]] = MappingProxyType(
    {
        Row.NO_SITE: Effect.STALE_TABLE,
        Row.NAME_LOOKUP: Effect.DOUBT,
        Row.REFUSED: Effect.REFUSED,
        Row.CONNECT_TIMEOUT: Effect.DOUBT,
        Row.TLS_VERIFICATION: Effect.UNTRUSTED,
        Row.TLS_HANDSHAKE: Effect.DOUBT,
        # Our own limits, and our own change of mind.
        Row.POOL_WAIT: Effect.NONE,
        Row.GIVEN_UP: Effect.NONE,
        Row.STALE_CONNECTION: Effect.NONE,
        Row.ABANDONED: Effect.NONE,
        Row.LATE: Effect.NONE,
        Row.LOST: Effect.DOUBT,
        # The server may just have closed an idle connection; the probe tells.
        Row.LOST_REUSED: Effect.PROBE,
        Row.NO_ANSWER: Effect.DOUBT,
        Row.CUT_ANSWER: Effect.DOUBT,
        Row.MALFORMED: Effect.MALFORMED,
        # These concern one connection, which is drained.
        Row.GOAWAY_UNPROCESSED: Effect.NONE,
        Row.GOAWAY_LOST: Effect.NONE,
        Row.REFUSED_STREAM: Effect.NONE,
        Row.STREAM_RESET: Effect.DOUBT,
        # Not what the service sends: something else answers in its place.
        Row.UNREADABLE: Effect.SERVER_ERROR,
        Row.OUT_OF_STEP: Effect.SERVER_ERROR,
        Row.SUCCESS: Effect.SUCCESS,
        Row.REDIRECT_KEEPING: Effect.SERVER_ERROR,
        Row.REDIRECT: Effect.SERVER_ERROR,
        Row.VALIDATION: Effect.SUCCESS,
        Row.AUTHENTICATION: Effect.AUTH_BLOCKED,
        Row.NOT_KNOWN_HERE: Effect.SUCCESS,
        Row.NOT_ROUTED: Effect.STALE_TABLE,
        Row.MISDIRECTED: Effect.STALE_TABLE,
        Row.RATE_LIMITED: Effect.THROTTLED,
        Row.EXCHANGE_UNREACHABLE: Effect.EXCHANGE_DOWN,
        Row.SERVER_ERROR: Effect.SERVER_ERROR,
        Row.UNAVAILABLE: Effect.GATEWAY_ERROR,
        # The service's own word about the exchange: the site itself works.
        Row.EXCHANGE_TIMEOUT: Effect.SUCCESS,
        Row.GATEWAY_TIMEOUT: Effect.GATEWAY_ERROR,
        Row.OTHER_REFUSAL: Effect.NONE,
        Row.OTHER_FAILURE: Effect.SERVER_ERROR,
    }
)
"""Every way an attempt can end, with what it does to the site."""

TIMED: Final = frozenset({Row.CONNECT_TIMEOUT, Row.NO_ANSWER})
"""Rows that a timer of ours decided: they say nothing if the event loop stood still meanwhile."""
