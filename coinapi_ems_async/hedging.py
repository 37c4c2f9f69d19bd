"""When a read has waited long enough to be asked elsewhere as well. Pure: times come in, seconds."""

from bisect import bisect_right
from collections import deque
from math import sqrt
from typing import Final

__all__ = ["ServiceTimes"]

_RECENT: Final = 64
"""Samples of which the median is taken: it follows a service that has become slower as a whole."""
_WINDOW: Final = 512
"""Samples of which the 95th percentile is taken. Of 64 it is the fourth largest: if 3 % of the reads are slow, it
is a slow one an eighth of the time, and a burst of hedges at a site that falls silent would delay the next."""
_ENOUGH: Final = 16
_SHORTEST: Final = 0.010
_LONGEST: Final = 1.0
_SHARE: Final = 16
"""All samples are looked at again when one in so many is fresh: to sort them for every read costs too much."""


class _Times:
    """The last times of one kind of read, so many at most, and one of their quantiles.

    less: by how many standard deviations of its rank it is lowered. Few samples have it where it is not.
    """

    def __init__(self, window: int, share: float, *, less: float = 0.0) -> None:
        self._samples: deque[float] = deque(maxlen=window)
        self._share, self._less = share, less
        self._fresh = 0
        self._sorted: list[float] = []
        self.value = 0.0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, seconds: float) -> None:
        """Take in one time; the quantile follows at once while there are few, then every few times."""
        self._samples.append(seconds)
        self._fresh += 1
        count = len(self._samples)
        if self._fresh * _SHARE >= count:
            self._fresh = 0
            place = count * self._share - self._less * sqrt(count * self._share * (1 - self._share))
            self._sorted = sorted(self._samples)
            self.value = self._sorted[max(0, int(place))]

    def most_within(self, limit: float) -> float:
        """Return the longest time that is not beyond the limit; the limit if all are."""
        count = bisect_right(self._sorted, limit)
        return self._sorted[count - 1] if count else limit


class _Window:
    """The last times of one kind of read at one site."""

    def __init__(self) -> None:
        self.recent = _Times(_RECENT, 0.5)
        self.all = _Times(_WINDOW, 0.95, less=1.0)

    def add(self, seconds: float) -> None:
        """Take in one time."""
        self.recent.add(seconds)
        self.all.add(seconds)


class ServiceTimes:
    """How long reads take, by site and operation: the whole service, exchange included, not only the path.

    After how long to hedge is the 95th percentile, but at most twice the median: once more than one read in twenty
    is slow, the 95th percentile is the slow value, and hedging would stop when it is needed most. It is taken a
    little lower, since it is not known exactly: too early costs a request, too late is what hedges are against.
    While there are few samples a handful of slow ones among them says little of their share; then those that took
    more than twice the median are left out, and the longest of the others counts.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], _Window] = {}

    def answered(self, site: str, operation: str, seconds: float) -> None:
        """Take in how long a read took."""
        self._window(site, operation).add(seconds)

    def given_up(self, site: str, operation: str, seconds: float) -> None:
        """Take in that a read took longer than that: it may raise what is known, never lower it."""
        window = self._window(site, operation)
        if seconds > window.recent.value:
            window.add(seconds)

    def hedge_after(self, site: str, operation: str, round_trip: float | None) -> float:
        """Return after how long to ask another site too; by its round trip as long as there are few samples."""
        window = self._windows.get((site, operation))
        if window is None or len(window.all) < _ENOUGH:
            return 2 * round_trip + 0.050 if round_trip is not None else _LONGEST
        after, most = window.all.value, 2 * window.recent.value
        if after > most:
            after = most if len(window.all) == _WINDOW else window.all.most_within(most)
        return min(max(after, _SHORTEST), _LONGEST)

    def _window(self, site: str, operation: str) -> _Window:
        window = self._windows.get((site, operation))
        if window is None:
            window = self._windows[site, operation] = _Window()
        return window
