"""How far a site is: the estimate of its round trip from the samples of its probes. Pure: time comes in."""

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Final

from ..settings import Settings

__all__ = ["Estimator", "is_change"]

_DEFAULTS: Final = Settings()


def is_change(held: Sequence[float], recent: Sequence[float], settings: Settings = _DEFAULTS) -> bool:
    """Whether the path has become slower: `recent` samples all exceed the least of those held by more than noise.

    held: the samples before the newest one, `recent` included but for that.
    """
    floor = min(held)
    spread = median(held) - floor
    margin = max(settings.change_least, settings.change_share * floor, settings.change_spread * spread)
    return min(recent) - floor > margin


class Estimator:
    """Least of the last 8 samples, seconds, with a reset where the path has changed for the worse.

    A path between regions is a floor plus one-sided jitter, so the minimum follows the floor while means and
    medians follow the jitter. A plain minimum would need the whole window to see a slowdown: if the last 3
    samples all exceed the estimate by more than max(5 ms, 25 %, 3 * spread), only they are kept. While a probe is
    in flight for clearly longer than the estimate, its age is the estimate: that much is known already.
    """

    def __init__(self, settings: Settings = _DEFAULTS) -> None:
        self._settings = settings
        self._samples: deque[float] = deque(maxlen=settings.sample_window)
        self._seed: float | None = None
        self._sent: float | None = None
        self._estimate: float | None = None

    def __repr__(self) -> str:
        return f"<Estimator {self._estimate} of {len(self._samples)}>"

    @property
    def estimate(self) -> float | None:
        """The estimate from what is complete, seconds; None before the first sample, unless there is a seed."""
        return self._estimate

    @property
    def samples(self) -> tuple[float, ...]:
        """The samples held, oldest first, seconds."""
        return tuple(self._samples)

    @property
    def doubt_after(self) -> float | None:
        """The age, seconds, from which a probe in flight says more than the estimate; None without one."""
        estimate = self._estimate
        return None if estimate is None else max(2 * estimate, estimate + self._settings.suspect_after)

    def at(self, now: float) -> float | None:
        """Return the estimate, or the age of the probe in flight once that is clearly more."""
        doubt_after = self.doubt_after
        if self._sent is None or doubt_after is None:
            return self._estimate
        age = now - self._sent
        return age if age > doubt_after else self._estimate

    def sent(self, now: float) -> None:
        """Note that a probe is in flight."""
        self._sent = now

    def settled(self) -> None:
        """Note that no probe is in flight any more, however it ended."""
        self._sent = None

    def seed(self, seconds: float) -> None:
        """Take over an estimate from elsewhere until the first sample."""
        self._seed = seconds
        self._estimate = min(self._samples, default=seconds)

    def add(self, sample: float) -> bool:
        """Take in one round trip, seconds; returns whether the estimate changed."""
        before = self._estimate
        held = tuple(self._samples)
        self._samples.append(sample)
        recent = tuple(self._samples)[-self._settings.change_samples :]
        if len(recent) == self._settings.change_samples and is_change(held, recent, self._settings):
            self._samples = deque(recent, maxlen=self._settings.sample_window)
        self._estimate = min(self._samples)
        return self._estimate != before

    def clear(self) -> None:
        """Forget every sample, and the seed."""
        self._samples.clear()
        self._seed = self._estimate = None
