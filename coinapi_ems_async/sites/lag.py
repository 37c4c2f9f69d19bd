"""Whether the event loop stood still: then what was timed meanwhile measures us, not the sites."""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

__all__ = ["LoopLag"]

_BEAT: Final = 0.010


class LoopLag:
    """Beats every 10 ms while it runs, and notes beats that come more than `limit` seconds late.

    on_stall: called with the time, monotonic, after each of those.
    """

    def __init__(
        self,
        limit: float,
        clock: Callable[[], float] = monotonic,
        on_stall: Callable[[float], None] = lambda now: None,
    ) -> None:
        self._on_stall = on_stall
        self._limit = limit
        self._clock = clock
        self._due = inf
        self._stalled_until = -inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat in the running loop; does nothing if it beats already."""
        if self._timer is None:
            self.beat()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf

    def beat(self) -> None:
        """Note whether this beat comes late, and ask for the next."""
        now = self._clock()
        if now > self._due + self._limit:
            self._stalled_until = now
            self._on_stall(now)
        self._due = now + _BEAT
        self._timer = asyncio.get_running_loop().call_later(_BEAT, self.beat)

    def stalled(self, since: float) -> bool:
        """Whether the loop stood still at any time from `since` to now."""
        return self._stalled_until > since or self._clock() > self._due + self._limit
