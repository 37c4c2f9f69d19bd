"""How far a site is: the estimate of its round trip from the samples of its probes. Pure."""

from collections import deque
from statistics import median
from typing import Final

__all__ = ["Estimator"]

_WINDOW: Final = 8
_CHANGE: Final = 3


class Estimator:
    """Least of the last 8 samples, seconds, with a reset where the path has changed for the worse.

    A path between regions is a floor plus one-sided jitter, so the minimum follows the floor while means and
    medians follow the jitter. A plain minimum would need the whole window to see a slowdown: if the last 3
    samples all exceed the estimate by more than max(5 ms, 25 %, 3 * spread), only they are kept.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_WINDOW)
        self._seed: float | None = None

    @property
    def estimate(self) -> float | None:
        """The estimate, seconds; None before the first sample, unless there is a seed."""
        return min(self._samples, default=self._seed)

    @property
    def samples(self) -> tuple[float, ...]:
        """The samples held, oldest first, seconds."""
        return tuple(self._samples)

    def seed(self, seconds: float) -> None:
        """Take over the estimate of an earlier run until the first sample."""
        self._seed = seconds

    def add(self, sample: float) -> None:
        """Take in one round trip, seconds."""
        self._samples.append(sample)
        recent = list(self._samples)[-_CHANGE:]
        older = list(self._samples)[:-_CHANGE]
        if len(recent) < _CHANGE or not older:
            return
        floor = min(older)
        spread = median(older) - floor
        if min(recent) - floor > max(0.005, 0.25 * floor, 3 * spread):
            self._samples = deque(recent, maxlen=_WINDOW)

    def clear(self) -> None:
        """Forget every sample, and the seed."""
        self._samples.clear()
        self._seed = None
