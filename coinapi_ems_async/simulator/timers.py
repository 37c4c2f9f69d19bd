"""A timer that may be late, but is never early."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

_EARLY: Final = 1e-6  # s, by which it may ring before its time
_TICK: Final = 0.0005  # s, the shortest wait: less would be none at all on uvloop


class Timer:
    """Calls `then` in `seconds`, unless it is cancelled."""

    __slots__ = ("_due", "_handle", "_loop", "_then")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._due = monotonic() + seconds
        self._handle = loop.call_later(max(seconds, _TICK), self._ring)

    def cancel(self) -> None:
        """Do not call; does nothing if it has."""
        self._handle.cancel()

    def _ring(self) -> None:
        # Asked again on waking: uvloop's timers count whole milliseconds and may be early by one.
        left = self._due - monotonic()
        if left > _EARLY:
            self._handle = self._loop.call_later(max(left, _TICK), self._ring)
        else:
            self._then()
