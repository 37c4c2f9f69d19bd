"""Passing troubles of a site. A flag ranks it after its peers and never excludes it. Pure: time comes in."""

from collections import deque
from enum import StrEnum
from math import inf
from typing import Final

import msgspec

from ..settings import Settings

__all__ = ["Flag", "Flags"]

_MANY: Final = 3
"""Ejections within the window that make a relapse."""


class Flag(StrEnum):
    """Why a site comes after others of the same health."""

    AUTH_BLOCKED = "auth_blocked"
    THROTTLED = "throttled"
    EXCHANGE_DOWN = "exchange_down"
    RELAPSED = "relapsed"


class _Down(msgspec.Struct):
    """An exchange account that the site could not reach: until when, and how long that was."""

    until: float
    seconds: float


class Flags:
    """The flags of one site; times are monotonic seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._auth_until = -inf
        self._throttled_until = -inf
        self._relapsed_until = -inf
        self._ejections: deque[float] = deque(maxlen=16)
        self._down: dict[str, _Down] = {}

    @property
    def is_clearable(self) -> bool:
        """Whether a good answer could take a flag away."""
        return self._auth_until > -inf or bool(self._down)

    def now(self, now: float) -> tuple[Flag, ...]:
        """Return the flags that hold."""
        until = {
            Flag.AUTH_BLOCKED: self._auth_until,
            Flag.THROTTLED: self._throttled_until,
            Flag.EXCHANGE_DOWN: max((one.until for one in self._down.values()), default=-inf),
            Flag.RELAPSED: self._relapsed_until,
        }
        return tuple(flag for flag, end in until.items() if now < end)

    def down(self, now: float) -> tuple[str, ...]:
        """Return the exchange accounts that the site could not reach lately."""
        return tuple(sorted(name for name, one in self._down.items() if now < one.until))

    def is_down(self, exchange_id: str | None, now: float) -> bool:
        """Whether the site could not reach this exchange account lately."""
        down = self._down.get(exchange_id) if self._down and exchange_id is not None else None
        return down is not None and now < down.until

    def is_flagged(self, now: float) -> bool:
        """Whether a flag holds for every exchange."""
        return now < self._auth_until or now < self._throttled_until or now < self._relapsed_until

    def auth_blocked(self, now: float) -> None:
        """Take in that the site refused the caller."""
        self._auth_until = now + self._settings.auth_blocked

    def throttled(self, now: float, retry_after: float | None) -> None:
        """Take in that the site limits calls; a later end stays."""
        wait = self._settings.throttled if retry_after is None else retry_after
        self._throttled_until = max(self._throttled_until, now + min(wait, self._settings.throttled_most))

    def exchange_down(self, now: float, exchange_id: str) -> None:
        """Take in that the site cannot reach an exchange; answers to what was under way do not add up."""
        before = self._down.get(exchange_id)
        if before is None:
            seconds = self._settings.exchange_down
        elif now < before.until:
            return
        else:
            seconds = min(2 * before.seconds, self._settings.exchange_down_most)
        self._down[exchange_id] = _Down(now + seconds, seconds)

    def ejected(self, now: float) -> None:
        """Take in an ejection."""
        self._ejections.append(now)

    def readmitted(self, now: float) -> None:
        """Take in that the site is healthy after it was ejected; the third time within the window is a relapse."""
        since = now - self._settings.relapse_window
        recent = sum(when > since for when in self._ejections)
        if recent >= _MANY:
            hold = self._settings.relapse_hold * 2.0 ** (recent - _MANY)
            self._relapsed_until = now + min(hold, self._settings.relapse_window)

    def answered(self, exchange_id: str | None) -> bool:
        """Take in a good answer, about an exchange or none; returns whether that took a flag away."""
        had_auth, self._auth_until = self._auth_until > -inf, -inf
        had_down = exchange_id is not None and self._down.pop(exchange_id, None) is not None
        return had_auth or had_down
