"""The report as text."""

from collections.abc import Iterator

from .entrants.floor import FLOOR
from .figures import typical
from .results import JournalCost, LoopResults, Results, Row, alone_ratio, cpu_ratio, rate_ratio
from .targets import Verdict, verdicts

__all__ = ["report"]

_NAME = 26


def report(results: Results) -> str:
    """Return everything a run found, for people."""
    lines = [*_machine(results)]
    for name, loop in results.loops.items():
        lines += _rows(f"{name} loop, http", loop.http, results)
        if loop.https:
            lines += _rows(f"{name} loop, https", loop.https, results)
    for name, loop in results.loops.items():
        lines += _other(name, loop)
    lines += _costs(results)
    lines += _targets(results)
    if results.skipped:
        lines += ["", "skipped", *(f"  {line}" for line in results.skipped)]
    return "\n".join(lines) + "\n"


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    yield f"{machine.cpu}, {machine.cores} cores, {machine.system}, {machine.python}, {machine.server}"
    yield ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    if results.plan.short:
        yield "A short run: it shows that everything works, and its figures mean nothing."


def _rows(title: str, rows: dict[str, Row], results: Results) -> Iterator[str]:
    width, crowd = results.plan.width, results.plan.crowd
    with_crowd = any(crowd in row.loads for row in rows.values())
    yield ""
    head = f"{title:{_NAME}} {'one at a time, us':^31} {f'{width:,} in flight':^30}"
    yield (head + (f" {f'{crowd:,} in flight':^28}" if with_crowd else "")).rstrip()
    head = f"{'':{_NAME}} {'p50':>6} {'p99':>7} {'p99.9':>7} {'x floor':>8}"
    head += f" {'per s':>8} {'x floor':>8} {'CPU us':>6} {'busy':>5}"
    yield head + (f" {'per s':>8} {'CPU us':>7} {f'x CPU at {width}':>11}" if with_crowd else "")
    for name in rows:
        line = _alone(rows, name) + _load(rows, name, width) + _crowd(rows, name, results)
        yield f"{name:{_NAME}} {line}".rstrip()


def _alone(rows: dict[str, Row], name: str) -> str:
    alone = rows[name].alone
    if alone is None:
        return " " * 31
    return f"{alone.p50:6.0f} {alone.p99:7.0f} {alone.p999:7.0f} {_times(alone_ratio(rows, name, FLOOR)):>8}"


def _load(rows: dict[str, Row], name: str, width: int) -> str:
    load = rows[name].loads.get(width)
    if load is None:
        return " " * 31
    to_floor = _times(rate_ratio(rows, name, FLOOR, width))
    return f" {load.rate:8,.0f} {to_floor:>8} {load.cpu_time:6.1f} {load.busy:5.0%}"


def _crowd(rows: dict[str, Row], name: str, results: Results) -> str:
    load = rows[name].loads.get(results.plan.crowd)
    if load is None:
        return ""
    growth = _times(cpu_ratio(rows, name, results.plan.crowd, results.plan.width))
    return f" {load.rate:8,.0f} {load.cpu_time:7.1f} {growth:>11}"


def _other(name: str, loop: LoopResults) -> Iterator[str]:
    yield ""
    for transport, first in loop.first.items():
        yield (
            f"{name} loop, first orders over {transport}: after start {_list(first.after_start)} us, "
            f"after idle {_list(first.after_idle)} us, others {first.usual:.0f} us; handshakes on their path: "
            f"{first.handshakes_after_start} and {first.handshakes_after_idle}"
        )
    if (probed := loop.probed) is not None:
        yield (
            f"{name} loop, {probed.sites} sites probed every 0.5 s, place over {probed.transport}: "
            f"p50 {probed.p50:.0f} us, p99 {probed.p99:.0f} us, p99/p50 {typical(probed.rounds):.2f}"
        )
    if (journal := loop.journal) is not None:
        yield from _journal(name, journal)


def _journal(name: str, cost: JournalCost) -> Iterator[str]:
    for mode, alone in cost.alone.items():
        yield (
            f"{name} loop, place over http1, journal {mode}: p50 {alone.p50:.0f} us, p99 {alone.p99:.0f} us; "
            f"in flight {cost.rates[mode]:,.0f} per s"
        )
    statements = ", ".join(f"{time:.0f} us ({mode})" for mode, time in cost.statement.items())
    yield f"{name} loop, to a thread and back {cost.hand_over:.0f} us, the statement alone {statements}"


def _costs(results: Results) -> Iterator[str]:
    yield ""
    if (decoding := results.decoding) is not None:
        yield (
            f"decoding one report: {decoding.one:.2f} us (floats and texts, unchecked: {decoding.plain_one:.2f}); "
            f"1,000: {decoding.thousand:.2f} ms ({decoding.plain_thousand:.2f})"
        )
    if (importing := results.importing) is not None:
        along = "with" if importing.imports_aiohttp else "without"
        yield f"import coinapi_ems_async: {importing.milliseconds:.0f} ms, {along} aiohttp"


def _targets(results: Results) -> Iterator[str]:
    yield ""
    yield "targets"
    for verdict in verdicts(results):
        yield "  " + _verdict(verdict)


def _verdict(verdict: Verdict) -> str:
    unit = f" {verdict.unit}" if verdict.unit else ""
    digits = ".2f" if verdict.unit else ".0f"
    measured = "not measured" if verdict.measured is None else f"{verdict.measured:{digits}}{unit}"
    told = {None: "", True: "met", False: "MISSED"}[verdict.met]
    bound = f"{verdict.sense} {verdict.bound:{digits}}{unit}"
    return f"{verdict.what:86} {measured:>12}  {bound:18} {told}".rstrip()


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _list(values: list[float]) -> str:
    return "/".join(f"{value:.0f}" for value in values)
