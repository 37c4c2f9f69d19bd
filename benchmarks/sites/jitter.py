"""Noise of a path between regions: what a round trip takes beyond its floor. Made here, from a seed.

One-sided, with a heavy right tail. A share of 0.997 is Weibull with shape 0.92 and scale 5.06 ms; the rest is a
Pareto tail of index 2 from 28 ms to 0.3 s. In ms that gives p50 3.4, mean 5.4, p90 12.6, p99 28, p99.9 50: what
recorded latencies between regions look like above their minimum.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

__all__ = ["SEED", "Jitter", "made_jitter"]

SEED: Final = 20_240_501

_TAIL_SHARE: Final = 0.003
_TAIL_FROM: Final = 0.028
_TAIL_INDEX: Final = 2.0
_SCALE: Final = 0.00506
_SHAPE: Final = 0.92
_LONGEST: Final = 0.3


def made_jitter(count: int, seed: int = SEED) -> list[float]:
    """Return so many draws, in seconds above the floor."""
    random = Random(seed)
    return [_draw(random) for _ in range(count)]


def _draw(random: Random) -> float:
    if random.random() < _TAIL_SHARE:
        return min(_TAIL_FROM * random.paretovariate(_TAIL_INDEX), _LONGEST)
    return random.weibullvariate(_SCALE, _SHAPE)


class Jitter:
    """Draws from recorded noise, in an order of its own for each seed; `scale` stretches every draw."""

    def __init__(self, recorded: Sequence[float], seed: int, scale: float = 1.0) -> None:
        self.scale = scale
        self._recorded = recorded
        self._random = Random(seed)

    def draw(self) -> float:
        """Return the seconds of one draw."""
        return self.scale * self._recorded[int(self._random.random() * len(self._recorded))]
