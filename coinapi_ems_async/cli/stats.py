"""Round trips in figures: percentiles, bars, sparklines. Pure."""

from collections.abc import Sequence
from math import ceil
from typing import Any, Final, NamedTuple

from rich.text import Text

__all__ = ["Summary", "bar", "sparkline", "summarise"]

_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_SPARKS: Final = "▁▂▃▄▅▆▇█"


class Summary(NamedTuple):
    """Round trips, seconds."""

    calls: int
    p50: float
    p99: float
    maximum: float

    def data(self) -> dict[str, Any]:
        """Return it in milliseconds, as JSON shows it."""
        return {
            "count": self.calls,
            "p50_milliseconds": round(self.p50 * 1000, 3),
            "p99_milliseconds": round(self.p99 * 1000, 3),
            "max_milliseconds": round(self.maximum * 1000, 3),
        }


def summarise(samples: Sequence[float]) -> Summary:
    """Return the figures of at least one sample; percentiles are samples themselves (nearest rank)."""
    ordered = sorted(samples)

    def at(share: float) -> float:
        """The sample that so large a share of them does not exceed."""
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    return Summary(len(ordered), at(0.50), at(0.99), ordered[-1])


def bar(value: float, most: float, width: int, style: str = "name") -> Text:
    """Return a bar of eighths of a character; a value above zero always shows."""
    eighths = 0 if most <= 0 else max(1, round(value / most * width * 8))
    whole, part = divmod(min(eighths, width * 8), 8)
    return Text("█" * whole + (_BLOCKS[part] if part else ""), style=style)


def sparkline(samples: Sequence[float], style: str = "name") -> Text:
    """Return the samples as a line of blocks between their own least and most."""
    least, most = min(samples), max(samples)
    spread = (most - least) or 1.0
    return Text("".join(_SPARKS[round((one - least) / spread * 7)] for one in samples), style=style)
