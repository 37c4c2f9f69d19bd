"""How far a site is: the estimate of its round trip from the samples of its probes. Pure: time comes in."""

from collections import deque
from math import inf
from statistics import median
from typing import Final

from ..settings import Settings

__all__ = ["Estimator"]

_DEFAULTS: Final = Settings()


class Estimator:
    """Least of the last 8 samples, and of all of the last 7.5 s, reset where the path has become slower.

    A path between regions is a floor plus one-sided jitter, so the minimum follows the floor while means and
    medians follow the jitter. A plain minimum would need the whole window to see a slowdown: if the last samples,
    3 or more over 1.25 s, all exceed the estimate by more than max(5 ms, 25 %, 3 * spread), and the least of them
    times their number by 20 * spread, only 3 are kept.
    While a probe is in flight for clearly longer than the estimate, its age is the estimate: so much is known.
    """

    def __init__(self, settings: Settings = _DEFAULTS) -> None:
        self._settings = settings
        self._samples: deque[tuple[float, float]] = deque()
        self._past: deque[tuple[float, float]] = deque()
        """The estimates of the last seconds, resets or not."""
        self._surely: float | None = None
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
        return tuple(seconds for _, seconds in self._samples)

    @property
    def doubt_after(self) -> float | None:
        """The age, seconds, from which a probe in flight says more than the estimate; None before a sample."""
        estimate = self._estimate if self._samples else None
        return None if estimate is None else max(2 * estimate, estimate + self._settings.suspect_after)

    def at(self, now: float) -> float | None:
        """Return the estimate, or the age of the probe in flight once that is clearly more."""
        doubt_after = self.doubt_after
        if self._sent is None or doubt_after is None:
            return self._estimate
        age = now - self._sent
        return age if age > doubt_after else self._estimate

    def doubt(self, now: float) -> float:
        """Return by how much, seconds, noise may have raised what `at` says; infinite if nobody knows."""
        shown, surely = self.at(now), self._surely
        return inf if shown is None or surely is None else shown - surely

    def sent(self, now: float) -> None:
        """Note that a probe is in flight."""
        self._sent = now

    def excused(self, now: float) -> None:
        """Note that the age of the probe in flight says nothing so far, because nobody could have noticed."""
        if self._sent is not None:
            self._sent = now

    def settled(self) -> None:
        """Note that no probe is in flight any more, however it ended."""
        self._sent = None

    def seed(self, seconds: float) -> None:
        """Take over an estimate from elsewhere until the first sample."""
        if not self._samples:
            self._estimate = seconds

    def add(self, sample: float, now: float | None = None) -> bool:
        """Take in one round trip, seconds; returns whether the estimate changed.

        now: when it ended; a second after the one before by default.
        """
        before, held = self._estimate, [seconds for _, seconds in self._samples]
        when = now if now is not None else self._samples[-1][0] + 1.0 if held else 0.0
        self._samples.append((when, sample))
        if held and (changed := self._change(held, when)):
            self._samples = deque(changed)
        self._drop_old(when)
        self._estimate = min(seconds for _, seconds in self._samples)
        self._past.append((when, self._estimate))
        self._surely = self._bound(self._estimate)
        return self._estimate != before

    def _bound(self, estimate: float) -> float | None:
        """What the path surely takes; None after too few samples.

        Noise only adds: it is not quicker than it was found to be of late, nor by many spreads quicker than now.
        """
        if len(self._samples) < self._settings.change_samples:
            return None
        spread = median(seconds for _, seconds in self._samples) - estimate
        return max(min(seconds for _, seconds in self._past), estimate - self._settings.switch_sure * spread)

    def _drop_old(self, now: float) -> None:
        """Drop what is too old; with probes a second apart, give or take 10 %, exactly 8 samples are left."""
        since = now - self._settings.sample_time
        while len(self._samples) > self._settings.sample_window and self._samples[0][0] < since:
            self._samples.popleft()
        while self._past and self._past[0][0] < since:
            self._past.popleft()

    def _change(self, held: list[float], now: float) -> list[tuple[float, float]]:
        """The last 3 samples if the path has become slower; `held` are the samples before the newest.

        Half of all noise is more than a spread, a quarter more than two: that all of a run is noise is about as
        likely as heads every time in as many throws as its spreads add up to. No more than 3 are kept: the first
        of the run may be noise of the path before.
        """
        settings = self._settings
        floor = min(held)
        spread = median(held) - floor
        margin = max(settings.change_least, settings.change_share * floor, settings.change_spread * spread)
        above: list[tuple[float, float]] = []
        least = inf
        for when, seconds in reversed(self._samples):
            if seconds - floor <= margin:
                break
            above.append((when, seconds))
            least = min(least, seconds - floor)
            is_long = len(above) >= settings.change_samples and now - when >= settings.change_time
            if is_long and len(above) * least >= settings.change_proof * spread:
                return above[settings.change_samples - 1 :: -1]
        return []

    def clear(self) -> None:
        """Forget every sample, and the seed."""
        self._samples.clear()
        self._past.clear()
        self._estimate = self._surely = None
