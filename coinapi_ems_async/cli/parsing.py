"""What people type, as values: times, times in force, execution instructions."""

from datetime import UTC, datetime
from typing import Final

from ..models.enums import ExecInst, TimeInForce
from ..models.times import aware
from .exits import Failure

__all__ = ["instructions", "moment", "time_in_force", "window"]

_TIMES_IN_FORCE: Final = {
    "GTC": TimeInForce.GOOD_TILL_CANCEL,
    "GTTE": TimeInForce.GOOD_TILL_TIME_EXCHANGE,
    "GTTO": TimeInForce.GOOD_TILL_TIME_OMS,
    "FOK": TimeInForce.FILL_OR_KILL,
    "IOC": TimeInForce.IMMEDIATE_OR_CANCEL,
}
_INSTRUCTIONS: Final = {
    "MOC": ExecInst.MAKER_OR_CANCEL,
    "AO": ExecInst.AUCTION_ONLY,
    "IOI": ExecInst.INDICATION_OF_INTEREST,
}


def time_in_force(text: str) -> str:
    """Return the wire's name of a time in force, short or full; the order itself checks what is left."""
    return _TIMES_IN_FORCE.get(text.upper(), text.upper())


def instructions(text: str | None) -> tuple[str, ...]:
    """Return the wire's names of instructions separated by commas."""
    words = [word.strip().upper() for word in (text or "").split(",") if word.strip()]
    return tuple(_INSTRUCTIONS.get(word, word) for word in words)


def moment(option: str, text: str | None) -> datetime | None:
    """Return a time, in UTC, that may be left out.

    Raises Failure: if it cannot be read or has no zone.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"{option} {text!r} is no ISO time; write something like 2030-01-31T12:00:00Z.") from None
    if found.tzinfo is None:
        raise Failure(f"{option} has no zone; write {found.isoformat()}Z for UTC, or its offset such as +02:00.")
    return aware(option, found)


def window(start: str, end: str | None) -> tuple[datetime, datetime]:
    """Return both ends of a window of time, the present for an end that is not given.

    Raises Failure: if one cannot be read or has no zone.
    """
    last = datetime.now(UTC) if end is None else moment("--end", end)
    first = moment("--start", start)
    assert first is not None and last is not None  # noqa: S101, PT018  # neither text is None
    return first, last
