"""Sites on a virtual clock: how often a policy changes its mind, how soon it is right, what being wrong costs."""

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from random import Random
from typing import Final, NamedTuple

import msgspec

from .jitter import Jitter
from .policies import Policy
from .statistics import quantile

__all__ = [
    "HOUR",
    "Choices",
    "Noise",
    "Score",
    "Trace",
    "convergence",
    "dynamic_trace",
    "played",
    "score",
    "static_trace",
    "step_trace",
    "typical_time",
]

HOUR: Final = 3600

SPIKE: Final = 0.2
"""Seconds that a spike adds to a probe."""

_NOMINAL: Final = (0.020, 0.030, 0.045, 0.080)
_MOVES: Final = (60.0, 180.0)
_STRETCH: Final = (0.7, 2.0)


class Noise(NamedTuple):
    """What comes on top of a site's floor: jitter times `scale`, and on a share of the probes a spike."""

    scale: float
    spikes: float = 0.0


class Trace:
    """The true floors of some sites over time: steps of (second, floors)."""

    def __init__(self, steps: Sequence[tuple[float, tuple[float, ...]]]) -> None:
        self.steps = list(steps)
        self.sites = len(steps[0][1])
        self._at = 0

    def __call__(self, now: float) -> tuple[float, ...]:
        """Return the floors at this time; cheap where time goes forward."""
        if self.steps[self._at][0] > now:
            self._at = 0
        while self._at + 1 < len(self.steps) and self.steps[self._at + 1][0] <= now:
            self._at += 1
        return self.steps[self._at][1]


def static_trace() -> Trace:
    """Two sites, a millisecond apart."""
    return Trace([(0.0, (0.020, 0.021))])


def step_trace(change: tuple[float, float], at: float) -> Trace:
    """20 ms in use and 30 ms beside it; from `at` on each as much slower as `change` says."""
    floors = (0.020, 0.030)
    return Trace([(0.0, floors), (at, (floors[0] + change[0], floors[1] + change[1]))])


def dynamic_trace(seed: int, seconds: float = HOUR, moves: tuple[float, float] = _MOVES) -> Trace:
    """Four sites, one of which moves every 60 to 180 s (`moves`), to 0.7 to 2 times its usual floor."""
    random = Random(f"trace {seed}")
    floors, now = list(_NOMINAL), 0.0
    steps = [(now, tuple(floors))]
    while (now := now + random.uniform(*moves)) < seconds:
        site = random.randrange(len(floors))
        floors[site] = _NOMINAL[site] * random.uniform(*_STRETCH)
        steps.append((now, tuple(floors)))
    return Trace(steps)


class Score(msgspec.Struct, frozen=True):
    """How a policy did: changes of its choice per hour, and ms that the best site would have been faster."""

    switches: float
    regret: float


Choices = list[tuple[float, int]]
"""Which site was chosen from when on: the first choice, and every change."""


def played(
    policy: Policy, trace: Trace, noise: Noise, recorded: Sequence[float], *, seed: int, seconds: float = HOUR
) -> Choices:
    """Return the choices of a policy, from the first second on."""
    random, jitter = Random(f"probes {seed}"), Jitter(recorded, seed, noise.scale)
    due = [(0.1 + random.random() * min(policy.interval, 0.5), site) for site in range(trace.sites)]
    heapify(due)
    choices: Choices = []
    for turn in range(round(1 / policy.pace), int(seconds / policy.pace) + 1):
        then = turn * policy.pace
        while due[0][0] <= then:
            now, site = due[0]
            sample = trace(now)[site] + jitter.draw()
            if noise.spikes and random.random() < noise.spikes:
                sample += SPIKE
            policy.probed(site, sample, now)
            heapreplace(due, (now + policy.until_next(site) * random.uniform(0.9, 1.1), site))
        chosen = policy.choose(then)
        if not choices or choices[-1][1] != chosen:
            choices.append((then, chosen))
    return choices


_SETTLED: Final = 15
"""Seconds at the start that do not count: estimates are being had."""


def score(choices: Choices, trace: Trace, seconds: float) -> Score:
    """Return how good these choices were, looked at ten times a second."""
    switches = sum(at > _SETTLED for at, _ in choices[1:])
    tenths = range(10 * _SETTLED, int(10 * seconds))
    lost, place = 0.0, 0
    for tenth in tenths:
        now = (tenth + 0.5) / 10
        while place + 1 < len(choices) and choices[place + 1][0] <= now:
            place += 1
        floors = trace(now)
        lost += floors[choices[place][1]] - min(floors)
    return Score(switches * HOUR / (seconds - _SETTLED), 1e3 * lost / len(tenths))


_WATCHED: Final = 120.0


def convergence(
    make: Callable[[int], Policy],
    change: tuple[float, float],
    noise: Noise,
    recorded: Sequence[float],
    seeds: Sequence[int],
) -> list[float | None]:
    """Return for each seed the seconds from a step until only the second site is chosen; None: never."""
    found: list[float | None] = []
    for seed in seeds:
        at = 30 + Random(f"step {seed}").random()
        choices = played(make(seed), step_trace(change, at), noise, recorded, seed=seed, seconds=_WATCHED)
        last, site = choices[-1]
        found.append(max(0.0, last - at) if site == 1 and last < _WATCHED - 1 else None)
    return found


def typical_time(times: Sequence[float | None], share: float) -> float | None:
    """Return a quantile of convergence times; None if it is among those that never came."""
    return None if any(one is None for one in times) else quantile([one or 0.0 for one in times], share)
