"""How the demo looks."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from rich.text import Text

from ..models.balances import BalanceData
from ..models.orders import ExecutionReport
from ..sites.health import Health
from ..sites.view import SiteView
from .sheet import Bar, Sheet, Sparkline
from .stats import Summary
from .tables import NOTHING, amount, latency, plain, status_text, table

__all__ = ["balance_changes", "latency_table", "proof_table", "ranking_table", "tick", "walk_table"]

_BAR: Final = 22


def tick(text: str) -> Text:
    """Return a line that says what has been proved."""
    return Text.assemble(("  ✓ ", "good"), text)


def ranking_table(sites: Sequence[SiteView], *, settled: bool = True) -> Sheet:
    """Return the sites as ranked now, nearest first, with a bar for each round trip."""
    made = table(
        *("", "site", "provider", "region", "round trip", "compared", "health"),
        right=("round trip",),
        spare=("provider", "region", "compared"),
        wrap=("compared",),
    )
    most = max((site.latency or 0.0 for site in sites), default=0.0)
    for place, site in enumerate(sites):
        best = place == 0 and settled and site.health is Health.HEALTHY
        style = "good" if best else "name"
        made.add_row(
            Text("▶" if best else " ", style="good"),
            Text(site.id, style=f"bold {style}" if best else style),
            plain(site.provider),
            plain(site.region),
            latency(site.latency),
            Text("measuring", style="faint") if site.latency is None else Bar(site.latency, most, _BAR, style),
            Text(str(site.health), style="good" if site.health is Health.HEALTHY else "warn"),
        )
    return made


def walk_table(report: ExecutionReport) -> Sheet:
    """Return an order's walk: each status with its time, the time since the first, and what was filled then."""
    made = table(
        *("status", "time (UTC)", "since", "filled", ""),
        right=("since", "filled"),
        spare=("", "since"),
        wrap=("",),
    )
    whole = report.amount_order or Decimal(1)
    first = report.history[0].time if report.history else None
    for step in report.history:
        filled = sum(
            (fill.amount or Decimal(0) for fill in report.fills or () if _by(fill.time, step.text)), Decimal(0)
        )
        since = NOTHING
        if step.time is not None and first is not None:
            since = Text(f"{(step.time - first).total_seconds() * 1000:.1f} ms")
        when = plain(step.text) if step.time is None else Text(f"{step.time:%H:%M:%S.%f}"[:-3])
        made.add_row(
            status_text(step.status),
            when,
            since,
            amount(filled) if filled else NOTHING,
            Bar(float(filled), float(whole), _BAR, "good") if filled else Text(""),
        )
    return made


def _by(time: str | None, limit: str) -> bool:
    """Both are written alike, with seven digits, so that the texts compare as the times do."""
    return time is not None and time <= limit


def balance_changes(before: Mapping[str, BalanceData], after: Mapping[str, BalanceData] | None = None) -> Sheet:
    """Return balances, or what changed between two readings with the changes in colour."""
    if after is None:
        numbers = ("balance", "available", "locked")
        made = table("asset", *numbers, right=numbers)
        for name, row in before.items():
            made.add_row(Text(name, style="name"), *map(amount, (row.balance, row.available, row.locked)))
        return made
    numbers = ("before", "after", "change")
    made = table("asset", *numbers, right=numbers)
    for name, row in after.items():
        old, new = before[name].balance or Decimal(0), row.balance or Decimal(0)
        style = "" if old != new else "faint"
        shown = (Text(name, style="name" if old != new else "faint"), amount(old), amount(new))
        made.add_row(*shown, _change(new - old), style=style)
    return made


def _change(difference: Decimal) -> Text:
    if not difference:
        return NOTHING
    sign, style = ("+", "bold good") if difference > 0 else ("", "bold bad")
    return Text(f"{sign}{amount(difference)}", style=style)


def proof_table(reads: Mapping[str, int], executions: int) -> Sheet:
    """Return what the servers say about one order: who read it, and how often it was executed."""
    made = table("server", "orders it read", "executed", right=("orders it read", "executed"))
    for site, count in reads.items():
        style = "" if count else "faint"
        made.add_row(
            Text(site, style="name" if count else "faint"),
            str(count),
            str(executions if count else 0),
            style=style,
        )
    return made


def latency_table(samples: Mapping[str, Sequence[float]], figures: Mapping[str, Summary]) -> Sheet:
    """Return round trips of orders, site by site: figures, a bar of the median, every single one."""
    numbers = ("orders", "p50", "p99")
    made = table(
        *("site", *numbers, "", "each order"),
        right=numbers,
        spare=("each order", ""),
        wrap=("", "each order"),
    )
    most = max(one.p50 for one in figures.values())
    for site, one in figures.items():
        made.add_row(
            Text(site, style="name"),
            str(one.calls),
            f"{one.p50 * 1000:.1f} ms",
            f"{one.p99 * 1000:.1f} ms",
            Bar(one.p50, most, 15),
            Sparkline(samples[site], "faint"),
        )
    return made
