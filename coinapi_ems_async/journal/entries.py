"""What the journal holds, as values."""

from datetime import datetime
from enum import StrEnum

import msgspec

from ..outcomes import Outcome

__all__ = ["Ending", "Entry", "JournalHealth", "Kept", "RecoveredOrder"]


class Ending(StrEnum):
    """How an order ended, as the file spells it."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    FORGOTTEN = "forgotten"
    """The user looked at the exchange, and took it off the unresolved ones."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An unresolved order in the file: `site` is where it went, or, if nobody knows, where it was to go first.

    is_reused: whether another order may have been sent under its id; is_spent: whether one was taken.
    """

    number: int
    client_order_id: str
    generation: int
    exchange_id: str | None
    site: str | None
    sent_at: float
    body: bytes
    is_reused: bool
    is_spent: bool


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a file held when it was opened: its last number, and the ids that orders were sent under.

    unresolved: oldest first. taken: accepted or forgotten, not to be used again, oldest first. refused: all others
    that were rejected, oldest first.
    """

    last: int
    unresolved: list[Entry]
    taken: list[str]
    refused: list[str]


class RecoveredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the journal held unresolved, and what is known of it now.

    site: where it went, or was to go first. sent_at: when it was recorded, just before it could leave, by the wall
    clock. generation: above 1 if its id had been used before. body: the order as JSON.
    """

    client_order_id: str
    exchange_id: str | None
    site: str | None
    sent_at: datetime
    outcome: Outcome
    generation: int = 1
    body: bytes = b""


class JournalHealth(msgspec.Struct, frozen=True, kw_only=True):
    """State of a journal.

    waiting: what is not in the file yet. transactions: how often it was written to. failures: orders refused and
    outcomes lost because it could not be, which leaves their entries unresolved; last_error: why, the last time.
    """

    path: str
    waiting: int = 0
    transactions: int = 0
    failures: int = 0
    last_error: str | None = None
