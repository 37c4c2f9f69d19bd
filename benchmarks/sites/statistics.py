"""What many repeats amount to: mean, percentiles, and how sure of them one may be."""

from collections.abc import Sequence
from math import ceil, exp, floor, log, sqrt
from random import Random
from typing import Final

import msgspec

__all__ = ["Summary", "mean_bounds", "quantile", "quantile_bounds", "summary", "zero_bound"]

_RESAMPLES: Final = 1_000
_SIDE: Final = 1.959964
"""Standard deviations on either side that hold 95 % of a normal distribution."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Of many values: each pair of bounds holds the true figure with 95 % confidence."""

    count: int
    mean: float
    mean_low: float
    mean_high: float
    p50: float
    p95: float
    p95_low: float
    p95_high: float
    p99: float
    p999: float
    maximum: float


def summary(values: Sequence[float]) -> Summary:
    """Return the figures of `values`. Raises ValueError: if there are none."""
    if not values:
        raise ValueError("no values")
    mean_low, mean_high = mean_bounds(values)
    p95_low, p95_high = quantile_bounds(values, 0.95)
    return Summary(
        count=len(values),
        mean=sum(values) / len(values),
        mean_low=mean_low,
        mean_high=mean_high,
        p50=quantile(values, 0.5),
        p95=quantile(values, 0.95),
        p95_low=p95_low,
        p95_high=p95_high,
        p99=quantile(values, 0.99),
        p999=quantile(values, 0.999),
        maximum=max(values),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that at least `share` of them do not exceed. Raises ValueError: if there are none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(len(values) * share - 1e-9) - 1)]


def mean_bounds(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """Return the 95 % bounds of the mean, by resampling: these values are anything but normally distributed."""
    random, count = Random(seed), len(values)
    rounds = min(_RESAMPLES, 2_000_000 // count + 20)
    means = [sum(random.choices(values, k=count)) / count for _ in range(rounds)]
    return quantile(means, 0.025), quantile(means, 0.975)


def quantile_bounds(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return the 95 % bounds of a quantile, from the ranks between which it must lie."""
    ordered, count = sorted(values), len(values)
    around, apart = count * share, _SIDE * sqrt(count * share * (1 - share))
    low, high = floor(around - apart) - 1, ceil(around + apart)
    return ordered[max(0, low)], ordered[min(count - 1, high)]


def zero_bound(count: int) -> float:
    """Return the largest share that is still likely, at 95 %, when none of `count` was hit."""
    return 1 - exp(log(0.05) / count)
