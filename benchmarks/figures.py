"""The arithmetic: percentiles, which rounds count, and ratios round by round."""

from collections.abc import Sequence
from statistics import median
from typing import Final

__all__ = ["counted", "percentile", "ratio", "settled_from", "typical"]

_SETTLED_WITHIN: Final = 0.10


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of them, such as 0.99, do not exceed. Raises ValueError: if there are none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def settled_from(rounds: Sequence[float]) -> int:
    """Return the first round that counts: within 10 % of the median of the second half, and at most the middle.

    Interpreters, caches and pools take a while to reach their pace; the second half is taken to have reached it.
    """
    if not rounds:
        return 0
    middle = len(rounds) // 2
    pace = median(rounds[middle:])
    for number, value in enumerate(rounds[:middle]):
        if abs(value - pace) <= _SETTLED_WITHIN * pace:
            return number
    return middle


def counted(*series: Sequence[float]) -> slice:
    """Return the rounds that count for figures that belong together: those where each of them has settled."""
    return slice(max(settled_from(rounds) for rounds in series), None)


def typical(rounds: Sequence[float]) -> float:
    """Return the median of the rounds that count."""
    return median(rounds[counted(rounds)])


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Return mine to theirs: taken in each round that counts for both, then the median."""
    both = counted(mine, theirs)
    return median(one / other for one, other in zip(mine[both], theirs[both], strict=True))
