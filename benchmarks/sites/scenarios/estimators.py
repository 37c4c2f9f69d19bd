"""The client's estimator and choice beside the rules of others, on the virtual clock and on the same noise."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from ..findings import Found, Plan
from ..jitter import made_jitter
from ..ours import Ours
from ..policies import ANCHORS, Oracle, Policy
from ..virtual import (
    HOUR,
    Noise,
    Score,
    Trace,
    convergence,
    dynamic_trace,
    played,
    score,
    static_trace,
    typical_time,
)
from .base import Scenario, Stage

__all__ = ["COLUMNS", "ESTIMATORS", "ORACLE", "OURS", "OWN"]

OURS: Final = "ours, probed every 1 s"
OWN: Final = "ours, as often as it probes"
ORACLE: Final = "oracle"
_POLICIES: Final[Mapping[str, Callable[[int, int], Policy]]] = {
    **ANCHORS,
    OURS: lambda sites, _seed: Ours(sites, 1.0),
    OWN: lambda sites, _seed: Ours(sites),
}

COLUMNS: Final = {"s=.3": Noise(0.3), "s=1": Noise(1.0), "s=.3, 2 % spikes": Noise(0.3, 0.02)}
"""The noise of the scenario in which sites move."""
_UP, _DOWN = (0.040, 0.0), (0.0, -0.015)
_STEPS_PER_SEED: Final = 10
_RECORDED: Final = 86_000
_NOISE_SEED: Final = 7
_HEAD: Final = [
    "policy",
    "switches/h, two sites 1 ms apart",
    "+40 ms on the one in use, s (p95)",
    "-15 ms on the other, s (p95)",
    *(f"{noise}: switches/h, regret ms" for noise in COLUMNS),
]


class Row(NamedTuple):
    """What one policy scored."""

    static: float
    up: tuple[float | None, float | None]
    down: tuple[float | None, float | None]
    dynamic: dict[str, Score]

    def cells(self) -> list[str]:
        """Return them as text."""
        moving = [f"{one.switches:.1f}, {one.regret:.3f}" for one in self.dynamic.values()]
        return [f"{self.static:.1f}", _times(self.up), _times(self.down), *moving]


def _times(pair: tuple[float | None, float | None]) -> str:
    middle, late = pair
    return "-" if middle is None else f"{middle:.1f} ({'-' if late is None else f'{late:.1f}'})"


def row_of(make: Callable[[int, int], Policy], plan: Plan, recorded: Sequence[float]) -> Row:
    """Score a policy."""
    seeds, seconds = range(1, plan.seeds + 1), plan.hours * HOUR
    steps = range(1, plan.seeds * _STEPS_PER_SEED + 1)

    def mean_score(trace_of: Callable[[int], Trace], noise: Noise) -> Score:
        scores = []
        for seed in seeds:
            trace = trace_of(seed)
            choices = played(make(trace.sites, seed), trace, noise, recorded, seed=seed, seconds=seconds)
            scores.append(score(choices, trace, seconds))
        return Score(fmean(one.switches for one in scores), fmean(one.regret for one in scores))

    def times(change: tuple[float, float]) -> tuple[float | None, float | None]:
        found = convergence(lambda seed: make(2, seed), change, Noise(0.3), recorded, steps)
        return typical_time(found, 0.5), typical_time(found, 0.95)

    return Row(
        mean_score(lambda _seed: static_trace(), Noise(1.0)).switches,
        times(_UP),
        times(_DOWN),
        {name: mean_score(lambda seed: dynamic_trace(seed, seconds), noise) for name, noise in COLUMNS.items()},
    )


def oracle_row(plan: Plan) -> Row:
    """Score whoever knows the true floors: with each trace its own."""
    seconds = plan.hours * HOUR
    scores = []
    for seed in range(1, plan.seeds + 1):
        trace = dynamic_trace(seed, seconds)
        choices = played(Oracle(trace), trace, Noise(0.0), [0.0], seed=seed, seconds=seconds)
        scores.append(score(choices, trace, seconds))
    moving = Score(fmean(one.switches for one in scores), fmean(one.regret for one in scores))
    return Row(0.0, (0.0, 0.0), (0.0, 0.0), dict.fromkeys(COLUMNS, moving))


def _measure(found: Found) -> None:
    recorded = made_jitter(_RECORDED, _NOISE_SEED)
    rows = {name: row_of(make, found.plan, recorded) for name, make in _POLICIES.items()}
    rows[ORACLE] = oracle_row(found.plan)
    found.tables["Policies on the virtual clock"] = [_HEAD, *([name, *row.cells()] for name, row in rows.items())]
    for name in (OURS, OWN, ORACLE):
        row = rows[name]
        found.counts[f"{name}: static"] = row.static
        for way, pair in (("up", row.up), ("down", row.down)):
            if pair[1] is not None:
                found.counts[f"{name}: {way}"] = pair[1]
        for column, one in row.dynamic.items():
            found.counts[f"{name}: switches, {column}"] = one.switches
            found.counts[f"{name}: regret, {column}"] = one.regret


async def _run(stage: Stage) -> Found:
    found = stage.found("estimators")
    found.repeats = stage.plan.seeds
    await asyncio.to_thread(_measure, found)
    return found


ESTIMATORS: Final = (Scenario("estimators", "rules of choice on the virtual clock", _run),)
