"""The report as Markdown, and its table as text."""

from collections.abc import Iterator, Sequence
from typing import Final

from .findings import Found, Report
from .scenarios import ALL
from .statistics import summary
from .targets import Line, lines

__all__ = ["as_markdown", "as_text"]

_HEAD: Final = ("quantity", "others", "target", "ours", "met")
_TOLD: Final = {None: "-", True: "yes", False: "NO"}


def as_text(report: Report) -> str:
    """Return the table of promises, for a terminal."""
    rows = [_HEAD, *(_cells(line) for line in lines(report))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    told = [*_warnings(report)]
    told += ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*told, *_broken(report), *_skipped(report)]) + "\n"


def as_markdown(report: Report) -> str:
    """Return everything a run found, for people."""
    machine = report.machine
    told = ["# Choice of a site and failover", ""]
    told += [
        f"{machine.cpu}, {machine.cores} cores, {machine.system}, {machine.python}, {machine.measured_at}",
        "",
    ]
    told += _floor(report)
    for warning in _warnings(report):
        told += [f"**{warning}**", ""]
    told += [*_table(_HEAD, [_cells(line) for line in lines(report)]), ""]
    for line in (*_broken(report), *_skipped(report)):
        told.append(f"- {line}")
    for scenario in ALL:
        if (found := report.found.get(scenario.name)) is not None and found.skipped is None:
            told += ["", f"## {found.name}", "", _capital(scenario.what), ""]
            told += _details(found)
    return "\n".join(told).rstrip() + "\n"


def _cells(line: Line) -> tuple[str, ...]:
    return line.quantity, line.anchor, line.target, line.ours, _TOLD[line.met]


def _floor(report: Report) -> Iterator[str]:
    if (floor := report.floor) is not None:
        yield (
            f"Floor of the rig, a read without any delay: p50 {floor.p50:.2f} ms, p99 {floor.p99:.2f} ms. "
            f"A delay of 20 ms takes {floor.error:.2f} ms more than that."
        )
        yield ""


def _warnings(report: Report) -> Iterator[str]:
    if report.plan.short:
        yield "A short run: it shows that everything works, and its figures mean nothing."
    if report.forced:
        yield "The machine was not quiet enough for these figures to be believed."


def _broken(report: Report) -> Iterator[str]:
    for found in report.found.values():
        for violation in found.violations:
            yield f"BROKEN in {found.name}: {violation}"


def _skipped(report: Report) -> Iterator[str]:
    for found in report.found.values():
        if found.skipped is not None:
            yield f"skipped: {found.name}: {found.skipped}"


def _details(found: Found) -> Iterator[str]:
    counts = ", ".join(f"{name.replace('_', ' ')} {number:,.4g}" for name, number in found.counts.items())
    yield f"{found.repeats:,} repeats, {found.seconds:.0f} s. {counts}".rstrip()
    rows = []
    for name, values in found.values.items():
        if values:
            one = summary(values)
            mean = f"{one.mean:.1f} ({one.mean_low:.1f} to {one.mean_high:.1f})"
            p95 = f"{one.p95:.1f} ({one.p95_low:.1f} to {one.p95_high:.1f})"
            tail = (f"{part:.1f}" for part in (one.p99, one.p999, one.maximum))
            rows.append((name.replace("_", " "), str(one.count), mean, f"{one.p50:.1f}", p95, *tail))
    if rows:
        unit = "us" if found.name == "choice" else "ms"
        yield ""
        yield from _table((f"{unit}, or a number", "values", "mean", "p50", "p95", "p99", "p99.9", "most"), rows)
    for title, table in found.tables.items():
        yield from ("", f"{title}:", "")
        yield from _table(table[0], table[1:])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
