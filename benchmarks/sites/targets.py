"""What is promised about sites, beside what others do, and what a run found of it."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final, NamedTuple

from .findings import Found, Report
from .scenarios.estimators import COLUMNS, ORACLE, OURS, OWN
from .scenarios.lasting import SHARES
from .scenarios.outages import OUTAGES, SECOND
from .scenarios.spoiled import SPOILED
from .statistics import Summary, quantile, summary, zero_bound

__all__ = ["Line", "lines"]


class Line(NamedTuple):
    """One promise: the figure of others, the bound, ours, and whether it holds; None: not measured."""

    quantity: str
    anchor: str
    target: str
    ours: str
    met: bool | None


_LATE: Final = 5.0
_ROUND_TRIP: Final = 1e3 * SECOND


def lines(report: Report) -> list[Line]:
    """Return every promise with what this run says of it."""
    return [
        *_estimators(report),
        *_wall_clock(report),
        *_duplicates(report),
        *_lost(report),
        *_kill(report),
        *_freeze(report),
        *_connecting(report),
        *_coming_back(report),
        *_answers(report),
        *_hedging(report),
        *_management(report),
        *_choice(report),
        *_rules(report),
    ]


def _at_most(quantity: str, anchor: str, bound: float, measured: float | None, unit: str, more: str = "") -> Line:
    digits = 0 if unit in ("", "ms") and bound == int(bound) and bound >= 1 else 2
    if measured is None:
        return Line(quantity, anchor, f"<= {bound:.{digits}f} {unit}".rstrip(), "not measured", None)
    precise = max(digits, 1)
    shown = (
        "not every time"
        if measured == inf
        else f"{measured:.{0 if measured % 1 == 0 else precise}f} {unit}".rstrip()
    )
    ours = f"{shown} {more}".rstrip()
    return Line(quantity, anchor, f"<= {bound:.{digits}f} {unit}".rstrip(), ours, measured <= bound)


def _none(quantity: str, anchor: str, found: Found | None, name: str, of: str, least: float = 1) -> Line:
    """A promise that something never happens in so many chances; with fewer than `least` nothing is said."""
    hits, chances = _count(found, name), _count(found, of) if of else 1.0
    target = "0" if least <= 1 else f"0 in {least:,.0f} or more"
    if hits is None or not chances:
        return Line(quantity, anchor, target, "not measured", None)
    sure = f" (at most {zero_bound(int(chances)):.2%} at 95 %)" if not hits and of else ""
    shown = f"{hits:,.0f}" + (f" in {chances:,.0f}" if of else "") + sure
    return Line(quantity, anchor, target, shown, hits == 0 if hits or chances >= least else None)


def _count(found: Found | None, name: str) -> float | None:
    return None if found is None else found.counts.get(name)


def _values(found: Found | None, name: str) -> Sequence[float]:
    return [] if found is None else found.values.get(name, [])


def _summary(found: Found | None, name: str) -> Summary | None:
    values = _values(found, name)
    return summary(values) if values else None


def _floor(report: Report) -> float:
    return report.floor.p50 if report.floor is not None else 0.0


# The choice

_STATIC_ANCHOR: Final = "EWMA .2 536, Peak-EWMA 341, BBR 114"
_UP_ANCHOR: Final = "MongoDB 50, BBR 10, EWMA .2 (10 s) 20"
_DOWN_ANCHOR: Final = "EWMA .2 (10 s) 30, Peak-EWMA 6"
_MOVING_ANCHORS: Final = {
    "s=.3": ("MongoDB 111, Peak-EWMA 23, BBR 6.3", "MongoDB 2.60, EWMA .2 .024, BBR .098"),
    "s=1": ("MongoDB 111, Peak-EWMA 141, BBR 9.2", "MongoDB 2.63, Peak-EWMA .659, BBR .099"),
    "s=.3, 2 % spikes": ("MongoDB 111, Peak-EWMA 102, BBR 6.8", "MongoDB 3.03, Peak-EWMA 3.47, BBR .098"),
}


def _estimators(report: Report) -> Iterator[Line]:
    found = report.found.get("estimators")
    for who in (OURS, OWN):
        static, up, down = (_count(found, f"{who}: {what}") for what in ("static", "up", "down"))
        yield _at_most(f"{who}: switches/h, two sites 1 ms apart", _STATIC_ANCHOR, 5.0, static, "")
        yield _at_most(f"{who}: +40 ms on the site in use, p95", _UP_ANCHOR, 5.0, up, "s")
        yield _at_most(f"{who}: -15 ms on another, p95", _DOWN_ANCHOR, 3.0, down, "s")
        for column in COLUMNS:
            switches, oracle = (_count(found, f"{one}: switches, {column}") for one in (who, ORACLE))
            anchor, regret_anchor = _MOVING_ANCHORS[column]
            times = None if switches is None or not oracle else switches / oracle
            more = "" if switches is None else f"({switches:.1f}/h)"
            yield _at_most(f"{who}: switches, sites move, {column}", anchor, 1.2, times, "x oracle", more)
            regret = _count(found, f"{who}: regret, {column}")
            yield _at_most(f"{who}: regret, sites move, {column}", regret_anchor, 0.10, regret, "ms")


def _wall_clock(report: Report) -> Iterator[Line]:
    found = report.found.get("wall-clock")
    regret, virtual = _count(found, "regret"), _count(found, "virtual_regret")
    more = "" if virtual is None else f"(virtual clock: {virtual:.2f})"
    name = "wall clock: regret, sites move four times as often, s=.3"
    yield _at_most(name, "-", 0.40, regret, "ms", more)
    yield _none("wall clock: failed reads, one freeze, one kill", "-", found, "failed_reads", "reads")


# What must never happen


def _duplicates(report: Report) -> Iterator[Line]:
    storm, partial = report.found.get("storm"), report.found.get("partial-head")
    anchor = "elastic-transport: 4 of 4; aiohttp, httpx 0"
    yield _none("orders executed twice, half of all answers wrong", anchor, storm, "duplicates", "faults", 10_000)
    yield _none("wrong answers taken as success in that storm", "-", storm, "taken_as_success", "faults", 10_000)
    anchor = "urllib3 50 of 50; aiohttp, httpx 0"
    yield _none("orders with a truncated head taken as success", anchor, partial, "taken_as_success", "orders_hit")


def _lost(report: Report) -> Iterator[Line]:
    found, anchor = report.found.get("idle-race"), "aiohttp 7, httpx 9 in 300"
    for kind in ("learned", "configured"):
        name = f"orders lost in the idle race, limit {kind}"
        yield _none(name, anchor, found, f"lost_{kind}", f"orders_{kind}", 1_000)


# Failures


def _kill(report: Report) -> Iterator[Line]:
    kill, anchor = report.found.get("kill"), "elastic-transport 0 of 1406"
    yield _none("kill: failed reads", anchor, kill, "failed_reads", "reads_in_outage")
    added = _summary(kill, "added")
    bound = _ROUND_TRIP + _LATE + _floor(report)
    more = "" if added is None else f"(mean {added.mean:.0f})"
    yield _at_most("kill: worst added latency of a read", "-", bound, _maximum(added), "ms", more)
    yield _none("kill: orders sent there when suspect", "-", kill, "orders_after_suspect", "orders")


def _maximum(found: Summary | None) -> float | None:
    return None if found is None else found.maximum


def _freeze(report: Report) -> Iterator[Line]:
    found, floor = report.found.get("freeze"), _floor(report)
    anchor = "elastic-transport 611 of 1408; retrying 0, 514 slow"
    yield _none("freeze: failed reads", anchor, found, "failed_reads", "reads_in_outage")
    stuck = _summary(found, "stuck")
    bound = 800 + _ROUND_TRIP + 10 + floor
    yield _at_most(
        "freeze: reads stuck until it is seen, worst", "elastic 11.0 or 21.6 s", bound, _maximum(stuck), "ms"
    )
    others, bounds = _summary(found, "others"), _summary(found, "others_bound")
    bound = (bounds.mean if bounds is not None else 0.0) + floor
    p99 = None if others is None else others.p99
    yield _at_most("freeze: all other reads, p99", "-", round(bound), p99, "ms")
    suspect, ejected = _summary(found, "suspect"), _summary(found, "ejected")
    anchor, shown = "MongoDB 10+20 s, Finagle <= 9 s, gRPC 30 s", _interval(suspect)
    mean = None if suspect is None else suspect.mean
    yield _at_most("freeze: suspect after, mean", anchor, 500, mean, "ms", shown)
    yield _at_most("freeze: suspect after, at most", anchor, 800, _maximum(suspect), "ms")
    p95 = None if ejected is None else ejected.p95
    more = "" if ejected is None else f"({ejected.p95_low:.0f} to {ejected.p95_high:.0f})"
    yield _at_most("freeze: ejected after, p95", "Envoy 5 failed requests", 1200, p95, "ms", more)
    orders = _summary(found, "unanswered_orders")
    anchor, bound = "rate x detection time", report.plan.orders * 0.8
    yield _at_most("freeze: orders left unknown, at most", anchor, bound, _maximum(orders), "")
    yield _none("freeze: orders sent there when suspect", "-", found, "orders_after_suspect", "orders")


def _interval(found: Summary | None) -> str:
    return "" if found is None else f"({found.mean_low:.0f} to {found.mean_high:.0f})"


def _connecting(report: Report) -> Iterator[Line]:
    bound, anchor = 250 + _ROUND_TRIP + _floor(report), "gRPC 20 s; RFC 8305 250 ms"
    for name in ("hole", "stall"):
        found = report.found.get(name)
        worst = _maximum(_summary(found, "orders_elsewhere"))
        yield _at_most(f"{name}: an order at the next site, worst", anchor, bound, worst, "ms")
        yield _none(f"{name}: failed reads", "-", found, "failed_reads", "reads_in_outage")
    for name in ("refuse", "expired", "wrong-host"):
        found = report.found.get(name)
        yield _none(f"{name}: failed reads", "-", found, "failed_reads", "reads_in_outage")


def _coming_back(report: Report) -> Iterator[Line]:
    refuse = report.found.get("refuse")
    anchor = "Envoy 30 s x n, elastic 1 to 30 s, FailFast 1 to 32 s"
    back = _summary(refuse, "readmitted")
    missing = _count(refuse, "not_readmitted")
    worst = inf if missing else None if back is None else back.maximum
    yield _at_most("refuse, under 1 s: healthy again after, worst", anchor, 2500, worst, "ms", _interval(back))
    outages = [found for one in OUTAGES if (found := report.found.get(one.name)) is not None]
    total = sum(_count(one, "orders_in_probation") or 0 for one in outages)
    shown = f"{total:.0f} in {sum(one.repeats for one in outages)} failures" if outages else "not measured"
    name = "orders to a site in probation, others healthy"
    yield Line(name, "-", "0", shown, total == 0 if outages else None)
    yield _flap(report)


_TEN_MINUTES: Final = 600.0
_MOST_EJECTIONS: Final = 6


def _flap(report: Report) -> Line:
    """In less time a few ejections say nothing of ten minutes, too many do."""
    name, flap = "flap, half of all requests fail: ejections in 10 min", report.found.get("flap")
    ejections, seconds = _count(flap, "ejections"), _count(flap, "seconds")
    if ejections is None or seconds is None:
        return _at_most(name, "-", _MOST_EJECTIONS, None, "")
    is_whole = seconds >= _TEN_MINUTES or ejections > _MOST_EJECTIONS
    more = "" if seconds >= _TEN_MINUTES else f"in {seconds:.0f} s"
    line = _at_most(name, "-", _MOST_EJECTIONS, ejections, "", more)
    return line if is_whole else line._replace(met=None)


def _answers(report: Report) -> Iterator[Line]:
    spoiled = [found for one in SPOILED if (found := report.found.get(one.name)) is not None]
    hits = sum(_count(one, "orders_hit") or 0 for one in spoiled)
    for name, quantity in (
        ("failed_reads", f"wrong answers, {len(SPOILED)} kinds: failed reads"),
        ("taken_as_success", f"wrong answers, {len(SPOILED)} kinds: orders taken as accepted"),
    ):
        total = sum(_count(one, name) or 0 for one in spoiled)
        shown = f"{total:.0f}" + (f" of {hits:.0f} hit" if name != "failed_reads" else "")
        yield Line(quantity, "-", "0", shown if spoiled else "not measured", total == 0 if spoiled else None)
    statuses = report.found.get("statuses")
    yield _none("statuses: orders with the wrong outcome", "-", statuses, "wrong_outcomes", "orders_hit")
    yield _none("statuses: failed reads, 5xx and 421", "-", statuses, "failed_reads", "")


_HEDGES: Final = {3: ((0.99, 63, "321"), (0.999, 68, "326")), 10: ((0.99, 83, "324"),), 20: ((0.99, 324, "324"),)}
_WITHIN: Final = 1.1


def _hedging(report: Report) -> Iterator[Line]:
    found, floor = report.found.get("hedging"), _floor(report)
    for share in SHARES:
        reads = _values(found, f"reads_{share}")
        for part, simulated, without in _HEDGES[share]:
            measured = quantile(reads, part) if reads else None
            name, anchor = (
                f"hedging, {share} % slow: p{100 * part:g}",
                f"not hedged {without}, simulated {simulated}",
            )
            yield _at_most(name, anchor, round(_WITHIN * simulated + floor), measured, "ms")
        extra, budget = _count(found, f"extra_{share}"), _count(found, f"budget_{share}")
        name, anchor = f"hedging, {share} % slow: more requests", "Tail at Scale +2 %"
        yield _at_most(name, anchor, budget or 10.0, extra, "%")


def _management(report: Report) -> Iterator[Line]:
    found = report.found.get("management-down")
    up, down = _summary(found, "first_up"), _summary(found, "first_down")
    more = None if up is None or down is None else down.p50 - up.p50
    name, anchor = "management API down: first read takes longer by", "MongoDB SRV: table unchanged"
    yield _at_most(name, anchor, _LATE, more, "ms")
    yield _none("management API down: failed calls", anchor, found, "failed", "reads")


def _choice(report: Report) -> Iterator[Line]:
    found = report.found.get("choice")
    choice, change = (_summary(found, name) for name in ("choice", "change"))
    more = "" if change is None else f"(change of an estimate: {change.p50:.0f})"
    name = "choice, ten sites and 200 accounts, mean"
    yield _at_most(name, "-", 3.0, None if choice is None else choice.mean, "us", more)


def _rules(report: Report) -> Iterator[Line]:
    broken = sum(len(found.violations) for found in report.found.values())
    orders = sum(_count(found, "orders") or 0 for found in report.found.values())
    shown = f"{broken} over {orders:,.0f} orders"
    yield Line("rules I1 to I7 broken, by the servers' logs", "-", "0", shown, broken == 0 if orders else None)
