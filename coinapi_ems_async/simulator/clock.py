"""Points in time as the service writes them; nothing here reads a clock."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

TICKS: Final = 10_000_000
"""Ticks in a second: the service stamps its events in units of 100 ns."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.?(\d{1,7}))?)?)?)?Z?", re.ASCII
)


class Moment(NamedTuple):
    """One instant on both clocks: monotonic seconds, and wall-clock ticks of 100 ns since 1970 (UTC)."""

    now: float
    ticks: int

    def at(self, now: float) -> "Moment":
        """Return the instant whose monotonic time is `now`."""
        return Moment(now, self.ticks + round((now - self.now) * TICKS))

    def when(self, ticks: int) -> float:
        """Return the monotonic time of the wall-clock instant `ticks`."""
        return self.now + (ticks - self.ticks) / TICKS


def stamp(ticks: int) -> str:
    """Return `yyyy-MM-ddTHH:mm:ss.fffffffZ`, always seven digits (EMS guide, time)."""
    seconds, fraction = divmod(ticks, TICKS)
    return f"{_second(seconds)}.{fraction:07d}Z"


def short_stamp(ticks: int) -> str:
    """Return `yyyy-MM-ddTHH:mm:ss`, the form of `expireTime` in the order history."""
    return _second(ticks // TICKS)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def read_time(text: str) -> int:
    """Return the ticks of a time in any of the documented forms; no zone means UTC.

    Raises ValueError: if `text` has another form or names no real instant.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not a time in one of the documented forms")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    instant = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    seconds = (instant - _EPOCH) // timedelta(seconds=1)
    return seconds * TICKS + int((found.group(7) or "").ljust(7, "0"))
