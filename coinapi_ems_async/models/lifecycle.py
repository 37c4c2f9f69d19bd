"""The life of an order, as one table (EMS guide, order status; walks captured from the service).

Two rules hold above the table:

1. A final status never reopens: whatever comes after it is noise (`advance`).
2. A reader accepts every other step, known or not; only a server must keep to the table
   (`check_transition`), because a client that dies on a surprising report loses sight of the order.
"""

from collections.abc import Mapping
from typing import Final

from .enums import OpenEnum

__all__ = ["FINAL", "LIVE", "ORDER_TRANSITIONS", "OrderStatus", "advance", "check_transition"]


class OrderStatus(OpenEnum):
    """Status of an order; a text this release does not know counts as not final."""

    RECEIVED = "RECEIVED"
    ROUTING = "ROUTING"
    ROUTED = "ROUTED"
    NEW = "NEW"
    PENDING_CANCEL = "PENDING_CANCEL"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to an order in this status."""
        return self in FINAL


_S = OrderStatus

ORDER_TRANSITIONS: Final[Mapping[OrderStatus | None, frozenset[OrderStatus]]] = {
    # An order placed outside the EMS is discovered in the book, hence NEW and PARTIALLY_FILLED.
    None: frozenset({_S.RECEIVED, _S.NEW, _S.PARTIALLY_FILLED}),
    _S.RECEIVED: frozenset({_S.ROUTING, _S.REJECTED}),
    # The guide omits ROUTING -> REJECTED; captured answers of exchanges that refuse show it (C-13).
    _S.ROUTING: frozenset({_S.ROUTED, _S.REJECTED}),
    # CANCELED without NEW: immediate-or-cancel, fill-or-kill and post-only orders never rest in the book.
    _S.ROUTED: frozenset({_S.REJECTED, _S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED}),
    _S.NEW: frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED}),
    # To itself: each further fill is a report of its own.
    _S.PARTIALLY_FILLED: frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED}),
    # Back to NEW or PARTIALLY_FILLED: the exchange refused the cancel, or a fill overtook it.
    _S.PENDING_CANCEL: frozenset({_S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED}),
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.REJECTED: frozenset(),
}
"""From each status (None: the order does not exist yet) to the statuses that may follow it."""

FINAL: Final = frozenset(
    status for status, following in ORDER_TRANSITIONS.items() if status is not None and not following
)
"""Statuses after which nothing happens any more: the rows of the table that lead nowhere."""

LIVE: Final = frozenset({_S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL})
"""Statuses in which the order rests in the exchange's book and can still fill."""


def advance(current: OrderStatus | None, reported: OrderStatus) -> OrderStatus:
    """Return the status to believe after `reported` arrived: any, except that final ones never reopen."""
    if current is not None and current.is_final:
        return current
    return reported


def check_transition(current: OrderStatus | None, following: OrderStatus) -> OrderStatus:
    """Return `following`; for servers and tests.

    Raises ValueError: if the table has no such step.
    """
    if following not in ORDER_TRANSITIONS.get(current, frozenset()):
        raise ValueError(f"an order cannot go from {current} to {following}")
    return following
