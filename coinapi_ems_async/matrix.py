"""What follows from each failure for each kind of call: the one table that dispatch obeys.

Three rules stand above it. A new order and a cancel-all are never sent again once committed. Whatever may
have executed decides over whatever came later. A rejection needs the server's own word.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from .outcomes import RejectedReason

__all__ = ["MATRIX", "NEW_ORDER", "READ", "REJECTED_AS", "SUCCESS", "UNPROCESSED", "Kind", "Move", "Row", "Rule"]


class Kind(StrEnum):
    """Kind of a call: it decides what may be repeated."""

    NEW_ORDER = "new order"
    CANCEL_ONE = "cancel one"
    CANCEL_ALL = "cancel all"
    READ = "read"
    MANAGE = "manage"
    """A call of the Managed Cloud API: there is one server, so the table of sites does not apply."""


class Row(Enum):
    """How one attempt ended."""

    __hash__ = object.__hash__  # Enum's own is Python code, and every order looks rows up

    # Before the commit point: proved not sent.
    NO_SITE = "no site serves the exchange account, or none was left"
    NAME_LOOKUP = "the site's name could not be resolved"
    REFUSED = "the connection was refused"
    CONNECT_TIMEOUT = "no connection in time"
    TLS_VERIFICATION = "the site's certificate is not valid"
    TLS_HANDSHAKE = "the TLS handshake failed"
    POOL_WAIT = "no connection was free in time"
    GIVEN_UP = "the site was given up while the call waited for a connection"
    STALE_CONNECTION = "the kept connection had been closed before anything was written"
    ABANDONED = "given up before the commit point"
    LATE = "not_after, or the order's expire_time, had passed at the commit point"
    # After the commit point, without a complete answer.
    LOST = "a new connection ended before any answer"
    LOST_REUSED = "a kept connection ended before any answer"
    NO_ANSWER = "no answer in time"
    CUT_ANSWER = "the connection ended inside the answer"
    MALFORMED = "the answer breaks HTTP"
    GOAWAY_UNPROCESSED = "the server said goodbye before it processed the request"
    GOAWAY_LOST = "the server said goodbye, and the connection ended before the answer"
    REFUSED_STREAM = "the server refused the stream without processing it"
    STREAM_RESET = "the server reset the stream"
    # A complete answer.
    UNREADABLE = "success, but the body cannot be read"
    OUT_OF_STEP = "success, but for another order"
    SUCCESS = "success"
    REDIRECT_KEEPING = "a redirect, not followed"
    REDIRECT = "a redirect that changes the request, not followed"
    VALIDATION = "refused input"
    AUTHENTICATION = "refused caller"
    NOT_KNOWN_HERE = "not known there"
    NOT_ROUTED = "no such address there"
    MISDIRECTED = "the wrong server for this address"
    RATE_LIMITED = "too many requests"
    EXCHANGE_UNREACHABLE = "the exchange is unreachable"
    SERVER_ERROR = "server error"
    UNAVAILABLE = "gateway error"
    EXCHANGE_TIMEOUT = "the exchange did not answer the service in time"
    GATEWAY_TIMEOUT = "gateway time-out"
    OTHER_REFUSAL = "another refusal"
    OTHER_FAILURE = "another failure"


# What every order is compared with. On Python 3.11 a member of an enumeration takes 85 ns to look up, and there
# were a dozen such looks on the way of one order.
NEW_ORDER: Final = Kind.NEW_ORDER
READ: Final = Kind.READ
SUCCESS: Final = Row.SUCCESS


class Move(Enum):
    """What dispatch does next."""

    NOT_SENT = "not sent"
    NEXT = "next site, at once"
    NEXT_ONCE = "next site, once"
    ANYWHERE_ONCE = "same site on a new connection or the next, once"
    SAME_THEN_NEXT = "same site on a new connection, then the next"
    AFFINE_ONCE = "the order's own site, once, if it was another"
    IF_OPTED_IN = "rejected; if opted in and, of a new order, its status is not known there: next site, once"
    SAME_LATER = "same site after Retry-After, if the deadline allows"
    UNKNOWN = "unknown"
    RECHECK = "unknown; read the order's status and, if it is still open, cancel once more"
    REJECTED = "rejected"
    DONE = "done"
    ERROR = "error"


class Rule(NamedTuple):
    """One row of the table: a move for each kind of call."""

    new_order: Move
    cancel_one: Move
    cancel_all: Move
    read: Move

    def for_kind(self, kind: Kind) -> Move:
        """Return the move for `kind`. Raises KeyError: for MANAGE, which the table does not cover."""
        return self[_COLUMN[kind]]


_COLUMN: Final = {Kind.NEW_ORDER: 0, Kind.CANCEL_ONE: 1, Kind.CANCEL_ALL: 2, Kind.READ: 3}
_M = Move

# Nothing was written, so the next site may have it whatever it is.
_ELSEWHERE: Final = Rule(_M.NEXT, _M.NEXT, _M.NEXT, _M.NEXT)
# It may have been executed. A cancel of one order is idempotent in effect; a late second cancel-all would
# kill orders placed in between.
_AMBIGUOUS: Final = Rule(_M.UNKNOWN, _M.RECHECK, _M.UNKNOWN, _M.NEXT)
_REFUSED: Final = Rule(_M.REJECTED, _M.REJECTED, _M.REJECTED, _M.ERROR)

MATRIX: Final[Mapping[Row, Rule]] = MappingProxyType(
    {
        Row.NO_SITE: Rule(_M.NOT_SENT, _M.NOT_SENT, _M.NOT_SENT, _M.ERROR),
        Row.NAME_LOOKUP: _ELSEWHERE,
        Row.REFUSED: _ELSEWHERE,
        Row.CONNECT_TIMEOUT: _ELSEWHERE,
        Row.TLS_VERIFICATION: _ELSEWHERE,
        Row.TLS_HANDSHAKE: _ELSEWHERE,
        Row.POOL_WAIT: _ELSEWHERE,
        Row.GIVEN_UP: _ELSEWHERE,
        Row.STALE_CONNECTION: Rule(*(_M.SAME_THEN_NEXT,) * 4),
        Row.ABANDONED: Rule(_M.NOT_SENT, _M.NOT_SENT, _M.NOT_SENT, _M.ERROR),
        Row.LATE: Rule(_M.NOT_SENT, _M.NOT_SENT, _M.NOT_SENT, _M.ERROR),
        Row.LOST: _AMBIGUOUS,
        Row.LOST_REUSED: _AMBIGUOUS._replace(read=_M.SAME_THEN_NEXT),
        Row.NO_ANSWER: _AMBIGUOUS,
        Row.CUT_ANSWER: _AMBIGUOUS,
        Row.MALFORMED: _AMBIGUOUS,
        # HTTP/2's two proofs that nothing was processed: RFC 9113 6.8 and 8.7.
        Row.GOAWAY_UNPROCESSED: Rule(*(_M.ANYWHERE_ONCE,) * 4),
        Row.REFUSED_STREAM: Rule(_M.NEXT_ONCE, _M.NEXT_ONCE, _M.NEXT_ONCE, _M.NEXT),
        Row.GOAWAY_LOST: _AMBIGUOUS,
        Row.STREAM_RESET: _AMBIGUOUS,
        Row.UNREADABLE: _AMBIGUOUS._replace(read=_M.NEXT_ONCE),
        Row.OUT_OF_STEP: _AMBIGUOUS._replace(read=_M.NEXT_ONCE),
        Row.SUCCESS: Rule(_M.DONE, _M.DONE, _M.DONE, _M.DONE),
        Row.REDIRECT_KEEPING: _REFUSED,
        Row.REDIRECT: Rule(_M.UNKNOWN, _M.UNKNOWN, _M.UNKNOWN, _M.ERROR),
        Row.VALIDATION: _REFUSED,
        Row.AUTHENTICATION: _REFUSED,
        Row.NOT_KNOWN_HERE: Rule(_M.REJECTED, _M.AFFINE_ONCE, _M.REJECTED, _M.AFFINE_ONCE),
        Row.NOT_ROUTED: _REFUSED._replace(read=_M.NEXT),
        # RFC 9110 15.5.20 lets a client send a misdirected request to another connection.
        Row.MISDIRECTED: Rule(_M.NEXT_ONCE, _M.NEXT_ONCE, _M.NEXT_ONCE, _M.NEXT),
        Row.RATE_LIMITED: _REFUSED._replace(read=_M.SAME_LATER),  # the limit is per key: no site is better
        # The site may have queued the order: going on takes the user's own word (`Settings.reroute_unreachable`).
        Row.EXCHANGE_UNREACHABLE: Rule(_M.IF_OPTED_IN, _M.NEXT_ONCE, _M.IF_OPTED_IN, _M.NEXT_ONCE),
        Row.SERVER_ERROR: _AMBIGUOUS,
        Row.UNAVAILABLE: _AMBIGUOUS,  # a proxy may have forwarded before it failed
        Row.EXCHANGE_TIMEOUT: _AMBIGUOUS._replace(read=_M.NEXT_ONCE),
        Row.GATEWAY_TIMEOUT: _AMBIGUOUS,
        Row.OTHER_REFUSAL: _REFUSED,
        Row.OTHER_FAILURE: _AMBIGUOUS,
    }
)
"""Every way an attempt can end, with the move for each kind of call."""

UNPROCESSED: Final = frozenset({Row.GOAWAY_UNPROCESSED, Row.REFUSED_STREAM})
"""Rows of attempts that were committed and yet proved to have done nothing."""

REJECTED_AS: Final[Mapping[Row, RejectedReason]] = MappingProxyType(
    {
        Row.SUCCESS: RejectedReason.EXCHANGE,
        Row.REDIRECT_KEEPING: RejectedReason.NOT_FOLLOWED,
        Row.VALIDATION: RejectedReason.VALIDATION,
        Row.AUTHENTICATION: RejectedReason.AUTHENTICATION,
        Row.NOT_KNOWN_HERE: RejectedReason.NOT_KNOWN_HERE,
        Row.NOT_ROUTED: RejectedReason.NOT_ROUTED,
        Row.MISDIRECTED: RejectedReason.NOT_ROUTED,
        Row.RATE_LIMITED: RejectedReason.RATE_LIMITED,
        Row.EXCHANGE_UNREACHABLE: RejectedReason.EXCHANGE_UNREACHABLE,
        Row.OTHER_REFUSAL: RejectedReason.REFUSED,
    }
)
"""The reason of a rejection by how the attempt ended."""
