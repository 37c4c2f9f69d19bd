"""What the package promises about its speed, each promise with what was measured and whether it holds.

Ratios are taken within a run, see `figures.ratio`; milliseconds and microseconds are this machine's.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from .entrants.clients import AIOHTTP, PYREQWEST
from .entrants.floor import FLOOR, FULL_FLOOR
from .entrants.h2 import BARE_H2
from .entrants.ours import SHARED_POOL, place_row, whole_row
from .figures import typical
from .results import LoopResults, Results, alone_ratio, cpu_ratio, rate_ratio

__all__ = ["Verdict", "verdicts"]

PLACE: Final = place_row("http1")
WHOLE: Final = whole_row("http1")
PLACE_H2: Final = place_row("http2")

Sense = Literal["at most", "at least"]


class Verdict(NamedTuple):
    """One promise: measured is None if that was not possible here."""

    what: str
    measured: float | None
    sense: Sense
    bound: float
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """Whether it holds; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.sense == "at most" else self.measured >= self.bound


class _RateTarget(NamedTuple):
    other: str
    bound: float


_ALONE: Final = ((FLOOR, 1.25), (AIOHTTP, 0.60), (PYREQWEST, 0.85))
_RATES: Final = {
    "uvloop": (_RateTarget(FULL_FLOOR, 0.60), _RateTarget(AIOHTTP, 3.0), _RateTarget(PYREQWEST, 1.2)),
    "plain": (_RateTarget(AIOHTTP, 2.0), _RateTarget(PYREQWEST, 1.0)),
}


def verdicts(results: Results) -> list[Verdict]:
    """Return every promise with what this run says of it, in the order in which they are made."""
    return [
        *_each_loop(results, _alone),
        *_each_loop(results, lambda name, loop: _rates(name, loop, results.plan.width)),
        *_each_loop(results, lambda name, loop: _crowd(name, loop, results.plan.width, results.plan.crowd)),
        *_each_loop(results, _http2),
        *_each_loop(results, _tail),
        *_each_loop(results, _first),
        *_costs(results),
    ]


def _each_loop(results: Results, of_loop: Callable[[str, LoopResults], Iterator[Verdict]]) -> Iterator[Verdict]:
    for name, loop in results.loops.items():
        for one in of_loop(name, loop):
            yield one._replace(what=f"{name} loop: {one.what}")


def _alone(_name: str, loop: LoopResults) -> Iterator[Verdict]:
    for other, bound in _ALONE:
        found = alone_ratio(loop.http, PLACE, other)
        yield Verdict(f"one at a time, {PLACE} to {other}", found, "at most", bound)


def _rates(name: str, loop: LoopResults, width: int) -> Iterator[Verdict]:
    for other, bound in _RATES.get(name, ()):
        for mine in (PLACE, WHOLE):
            found = rate_ratio(loop.http, mine, other, width)
            yield Verdict(f"{width:,} in flight, rate of {mine} to {other}", found, "at least", bound)


def _crowd(_name: str, loop: LoopResults, width: int, crowd: int) -> Iterator[Verdict]:
    for mine in (PLACE, SHARED_POOL):
        found = cpu_ratio(loop.http, mine, crowd, width)
        yield Verdict(
            f"CPU time per order at {crowd or 1024:,} in flight to {width}, {mine}", found, "at most", 1.2
        )


def _http2(_name: str, loop: LoopResults) -> Iterator[Verdict]:
    found = alone_ratio(loop.http, PLACE_H2, BARE_H2)
    yield Verdict(f"one at a time, {PLACE_H2} to {BARE_H2}", found, "at most", 1.25)


def _tail(_name: str, loop: LoopResults) -> Iterator[Verdict]:
    probed = loop.probed
    found = typical(probed.rounds) if probed is not None and probed.transport == "http1" else None
    yield Verdict("p99 to p50 while eight sites are probed every 0.5 s, place, http1", found, "at most", 2.0)


def _first(_name: str, loop: LoopResults) -> Iterator[Verdict]:
    first = loop.first.get("http1")
    started = float(first.handshakes_after_start) if first is not None else None
    rested = float(first.handshakes_after_idle) if first is not None else None
    yield Verdict("handshakes on the path of first orders after start, http1", started, "at most", 0, "")
    yield Verdict("handshakes on the path of first orders after idle, http1", rested, "at most", 0, "")


def _costs(results: Results) -> Iterator[Verdict]:
    importing, decoding = results.importing, results.decoding
    milliseconds = importing.milliseconds if importing is not None else None
    along = float(importing.imports_aiohttp) if importing is not None else None
    yield Verdict("import coinapi_ems_async", milliseconds, "at most", 100.0, "ms")
    yield Verdict("imports of aiohttp by that", along, "at most", 0, "")
    yield Verdict("decoding one report", decoding.one if decoding is not None else None, "at most", 2.5, "us")
    thousand = decoding.thousand if decoding is not None else None
    yield Verdict("decoding 1,000 open orders", thousand, "at most", 2.0, "ms")
