"""How others choose among sites: their rules written anew and fed with probes, on a clock that is passed in.

These are estimators on our feed, not the products: Finagle and Cassandra natively hear of every request.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import exp, inf
from random import Random
from statistics import median
from typing import Final, Protocol

__all__ = [
    "ANCHORS",
    "Argmin",
    "Ewma",
    "ExclusionOfSlow",
    "Hysteresis",
    "MedianOf",
    "MinimumOf",
    "NearestWindow",
    "Oracle",
    "PeakEwma",
    "Policy",
    "WindowedMinimum",
]


class Estimate(Protocol):
    """What a policy believes of one site, seconds."""

    def add(self, sample: float, now: float) -> None:
        """Take in a round trip."""
        ...

    def value(self, now: float) -> float:
        """Return the estimate; infinite before the first sample."""
        ...


class Policy(Protocol):
    """Chooses among sites, numbered from 0, every `pace` seconds."""

    @property
    def pace(self) -> float:
        """Seconds from one choice to the next; a second is a whole number of them."""
        ...

    @property
    def interval(self) -> float:
        """Seconds to the second probe of a site."""
        ...

    def probed(self, site: int, sample: float, now: float) -> None:
        """Take in a round trip, seconds."""
        ...

    def choose(self, now: float) -> int:
        """Return the site to use from now on."""
        ...

    def until_next(self, site: int) -> float:
        """Return the seconds until this site is to be probed again."""
        ...


# Estimates


class Ewma:
    """A mean that gives each new sample the weight `alpha`."""

    def __init__(self, alpha: float = 0.2) -> None:
        self._alpha = alpha
        self._mean = inf

    def add(self, sample: float, now: float) -> None:
        self._mean = sample if self._mean == inf else self._mean + self._alpha * (sample - self._mean)

    def value(self, now: float) -> float:
        return self._mean


class PeakEwma:
    """Finagle's: jumps up to each worse sample, and falls back with a time constant of `tau` seconds."""

    def __init__(self, tau: float = 10.0) -> None:
        self._tau = tau
        self._cost = inf
        self._at = 0.0

    def add(self, sample: float, now: float) -> None:
        if self._cost == inf or sample > self._cost:
            self._cost = sample
        else:
            weight = exp(-(now - self._at) / self._tau)
            self._cost = weight * self._cost + (1 - weight) * sample
        self._at = now

    def value(self, now: float) -> float:
        return self._cost


class WindowedMinimum:
    """BBR's: the least sample of the last `seconds`."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, sample: float, now: float) -> None:
        self._samples.append((now, sample))

    def value(self, now: float) -> float:
        while len(self._samples) > 1 and self._samples[0][0] < now - self._seconds:
            self._samples.popleft()
        return min((sample for _, sample in self._samples), default=inf)


class MinimumOf:
    """The least of the last `count` samples."""

    def __init__(self, count: int = 8) -> None:
        self._samples: deque[float] = deque(maxlen=count)

    def add(self, sample: float, now: float) -> None:
        self._samples.append(sample)

    def value(self, now: float) -> float:
        return min(self._samples, default=inf)


class MedianOf:
    """The middle of the last `count` samples."""

    def __init__(self, count: int = 5) -> None:
        self._samples: deque[float] = deque(maxlen=count)

    def add(self, sample: float, now: float) -> None:
        self._samples.append(sample)

    def value(self, now: float) -> float:
        return median(self._samples) if self._samples else inf


# Policies


class Argmin:
    """Always the site with the least estimate."""

    pace = 1.0

    def __init__(self, sites: int, make: Callable[[], Estimate], interval: float = 1.0) -> None:
        self.interval = interval
        self._estimates = [make() for _ in range(sites)]

    def probed(self, site: int, sample: float, now: float) -> None:
        self._estimates[site].add(sample, now)

    def costs(self, now: float) -> list[float]:
        return [one.value(now) for one in self._estimates]

    def choose(self, now: float) -> int:
        costs = self.costs(now)
        return costs.index(min(costs))

    def until_next(self, site: int) -> float:
        return self.interval


_ROUNDS: Final = 3


class Hysteresis(Argmin):
    """Keeps the site in use until another is nearer by max(2 ms, 10 %) three seconds in a row."""

    def __init__(self, sites: int, make: Callable[[], Estimate], interval: float = 1.0) -> None:
        super().__init__(sites, make, interval)
        self._incumbent: int | None = None
        self._better = self._rounds = 0

    def choose(self, now: float) -> int:
        costs = self.costs(now)
        best = costs.index(min(costs))
        if self._incumbent is None:
            self._incumbent = best
        held = costs[self._incumbent]
        if held - costs[best] <= max(0.002, 0.1 * held):
            self._rounds = 0
            return self._incumbent
        self._rounds = self._rounds + 1 if best == self._better else 1
        self._better = best
        if self._rounds >= _ROUNDS:
            self._incumbent, self._rounds = best, 0
        return self._incumbent


class NearestWindow(Argmin):
    """MongoDB's drivers: a mean over pings every 10 s; any server within 15 ms of the nearest, at random.

    The drivers draw for each call; here it is drawn anew every 10 s, or every second would be a change.
    """

    def __init__(self, sites: int, seed: int = 0, window: float = 0.015) -> None:
        super().__init__(sites, Ewma, 10.0)
        self._random = Random(seed)
        self._window = window
        self._drawn_at, self._chosen = -inf, 0

    def choose(self, now: float) -> int:
        if now - self._drawn_at >= self.interval:
            costs = self.costs(now)
            near = [site for site, cost in enumerate(costs) if cost <= min(costs) + self._window]
            self._drawn_at, self._chosen = now, self._random.choice(near)
        return self._chosen


class ExclusionOfSlow(Argmin):
    """Cassandra's driver: sites whose mean is above twice the least are left out; any other, at random."""

    def __init__(self, sites: int, seed: int = 0, threshold: float = 2.0) -> None:
        super().__init__(sites, Ewma)
        self._random = Random(seed)
        self._threshold = threshold

    def choose(self, now: float) -> int:
        costs = self.costs(now)
        near = [site for site, cost in enumerate(costs) if cost <= self._threshold * min(costs)]
        return self._random.choice(near)


class Oracle:
    """Knows the true floors: what nobody can beat."""

    interval = 1.0
    pace = 1.0

    def __init__(self, floors: Callable[[float], Sequence[float]]) -> None:
        self._floors = floors

    def probed(self, site: int, sample: float, now: float) -> None:
        pass

    def choose(self, now: float) -> int:
        floors = self._floors(now)
        return floors.index(min(floors))

    def until_next(self, site: int) -> float:
        return self.interval


Maker = Callable[[int, int], Policy]
"""Makes a policy for so many sites, with a seed."""

ANCHORS: Final[dict[str, Maker]] = {
    "MongoDB EWMA, 15 ms window": lambda sites, seed: NearestWindow(sites, seed),
    "EWMA .2, 10 s, argmin": lambda sites, _seed: Argmin(sites, Ewma, 10.0),
    "EWMA .2, 1 s, argmin": lambda sites, _seed: Argmin(sites, Ewma),
    "Peak-EWMA, tau 10 s, argmin": lambda sites, _seed: Argmin(sites, PeakEwma),
    "Cassandra, 2x exclusion": lambda sites, seed: ExclusionOfSlow(sites, seed),
    "BBR minimum 10 s, argmin": lambda sites, _seed: Argmin(sites, WindowedMinimum),
    "median of 5, argmin": lambda sites, _seed: Argmin(sites, MedianOf),
    "EWMA .2, our hysteresis": lambda sites, _seed: Hysteresis(sites, Ewma),
    "plain minimum of 8, our hysteresis": lambda sites, _seed: Hysteresis(sites, MinimumOf),
}
"""The rules of others by name, in the order of the table."""
