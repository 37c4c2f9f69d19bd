"""When a read has waited long enough to be asked elsewhere as well. Pure: times come in, seconds."""

from collections import deque
from typing import Final

__all__ = ["ServiceTimes"]

_WINDOW: Final = 64
_ENOUGH: Final = 16
_SHORTEST: Final = 0.010
_LONGEST: Final = 1.0
_EVERY: Final = 8
"""Samples between two looks at the whole window: sorting it for every read would cost more than it gains."""


class _Window:
    """The last 64 times of one kind of read at one site."""

    def __init__(self) -> None:
        self.samples: deque[float] = deque(maxlen=_WINDOW)
        self.median = 0.0
        self.high = 0.0
        self._fresh = 0

    def add(self, seconds: float) -> None:
        """Take in one time; the figures follow at once while there are few, then every few times."""
        self.samples.append(seconds)
        self._fresh += 1
        if self._fresh >= _EVERY or len(self.samples) <= _ENOUGH:
            self._fresh = 0
            ordered = sorted(self.samples)
            self.median = ordered[len(ordered) // 2]
            self.high = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]


class ServiceTimes:
    """How long reads take, by site and operation: the whole service, exchange included, not only the path.

    After how long to hedge is the 95th percentile, but at most twice the median: once more than one read in twenty
    is slow, the 95th percentile is the slow value, and hedging would stop when it is needed most.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], _Window] = {}

    def answered(self, site: str, operation: str, seconds: float) -> None:
        """Take in how long a read took."""
        self._window(site, operation).add(seconds)

    def given_up(self, site: str, operation: str, seconds: float) -> None:
        """Take in that a read took longer than that: it may raise what is known, never lower it."""
        window = self._window(site, operation)
        if seconds > window.median:
            window.add(seconds)

    def hedge_after(self, site: str, operation: str, round_trip: float | None) -> float:
        """Return after how long to ask another site too; by its round trip as long as there are few samples."""
        window = self._windows.get((site, operation))
        if window is None or len(window.samples) < _ENOUGH:
            return 2 * round_trip + 0.050 if round_trip is not None else _LONGEST
        return min(max(min(window.high, 2 * window.median), _SHORTEST), _LONGEST)

    def _window(self, site: str, operation: str) -> _Window:
        window = self._windows.get((site, operation))
        if window is None:
            window = self._windows[site, operation] = _Window()
        return window
