"""How sites look: as a table, as a live picture, as lines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from ..client import ClientHealth
from ..sites.flags import Flag
from ..sites.health import Health
from ..sites.view import SiteView
from .data import as_data
from .sheet import Sheet, Sparkline
from .tables import NOTHING, latency, plain, table

__all__ = ["Snapshot", "choices_table", "sites_table", "snapshot_data", "snapshot_lines", "snapshot_view"]

_HEALTH: Final = {
    Health.HEALTHY: "good",
    Health.NEW: "faint",
    Health.SUSPECT: "warn",
    Health.PROBATION: "warn",
    Health.EJECTED: "bad",
    Health.DRAINING: "faint",
}
_NAMED: Final = 2
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


class Snapshot(NamedTuple):
    """The client's state at a moment; `choices`: where orders of each account go, None where no site serves it."""

    at: datetime
    health: ClientHealth
    choices: Mapping[str, str | None]

    @property
    def sites(self) -> list[SiteView]:
        """The sites, each with the accounts that choose it."""
        return [
            msgspec.structs.replace(
                site, chosen_by=tuple(name for name, chosen in self.choices.items() if chosen == site.id)
            )
            for site in self.health.sites
        ]

    @property
    def unserved(self) -> list[str]:
        """The accounts that no site serves."""
        return [name for name, chosen in self.choices.items() if chosen is None]


# Once


def sites_table(snapshot: Snapshot) -> Sheet:
    """Return the sites as ranked, those that orders go to marked."""
    made = table(
        *("", "site", "provider", "region", "round trip", "health", "accounts"),
        right=("round trip", "accounts"),
        spare=("provider", "region", "accounts"),
    )
    for site, mark, name in _marked(snapshot):
        shown = (plain(site.provider), plain(site.region), latency(site.latency), _health(site))
        made.add_row(mark, name, *shown, plain(len(site.exchanges) or "any"))
    return made


def choices_table(snapshot: Snapshot) -> Sheet:
    """Return where orders of each exchange account go."""
    made = table("exchange account", "orders go to")
    for name, chosen in snapshot.choices.items():
        to = Text(chosen, style="good") if chosen else Text("no site serves it", style="bad")
        made.add_row(Text(name, style="name"), to)
    return made


def _marked(snapshot: Snapshot) -> Iterator[tuple[SiteView, Text, Text]]:
    """Each site with its mark and its name; where no account is known the first is the one that orders go to."""
    for place, site in enumerate(snapshot.sites):
        first = place == 0 and site.health is not Health.EJECTED
        chosen = bool(site.chosen_by) if snapshot.choices else first
        mark = Text("▶" if chosen else "", style="good")
        yield site, mark, Text(site.id, style="bold name" if chosen else "name")


def _health(site: SiteView) -> Text:
    flags = [flag.replace("_", " ") for flag in site.flags if flag is not Flag.EXCHANGE_DOWN]
    if site.unreachable:
        flags.append(f"cannot reach {_some(site.unreachable)}")
    return Text.assemble(
        (str(site.health), _HEALTH[site.health]), (f", {', '.join(flags)}" if flags else "", "warn")
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" +{more}" if more > 0 else "")


# Again and again


def snapshot_view(snapshot: Snapshot) -> RenderableType:
    """Return the picture that `--watch` draws over again: the client's state, the sites, their last errors."""
    made = table(
        *("", "site", "region", "round trip", "latest", "health", "open", "busy", "chosen by"),
        right=("round trip", "open", "busy"),
        spare=("region", "busy", "open", "latest", "chosen by"),
        wrap=("latest", "health", "chosen by"),
    )
    for site, mark, name in _marked(snapshot):
        made.add_row(
            *(mark, name, plain(site.region), latency(site.latency)),
            Sparkline([seconds for _, seconds in site.samples], "faint") if site.samples else NOTHING,
            *(_health(site), plain(site.connections), plain(site.in_flight), plain(_choosers(site, snapshot))),
        )
    errors = [
        Text(f"  {site.id}: {site.last_error}", style="faint" if site.health is Health.HEALTHY else "warn")
        for site in snapshot.health.sites
        if site.last_error
    ]
    return Group(*_head(snapshot), made, *errors)


def _choosers(site: SiteView, snapshot: Snapshot) -> str:
    everybody = len(site.chosen_by) == len(snapshot.choices) > _NAMED
    return f"all {len(site.chosen_by)}" if everybody else _some(site.chosen_by)


def _head(snapshot: Snapshot) -> list[Text]:
    health = snapshot.health
    counts = f"{_count(health.unresolved, 'unresolved order')}, {_count(sum(health.crashes.values()), 'crash')}"
    lines = [Text(f"  {snapshot.at:%H:%M:%S} UTC, {_table(health)}, {counts}", style="faint")]
    lines += [Text(f"  {said}", style="bad") for said in _troubles(snapshot)]
    return lines


def _count(number: int, what: str) -> str:
    ending = "" if number == 1 else "es" if what.endswith("sh") else "s"
    return f"{number or 'no'} {what}{ending}"


def _table(health: ClientHealth) -> str:
    if health.table_age is None:
        return "no site table is read"
    kept = "kept from an earlier run, " if health.table_kept else ""
    return f"site table {kept}read {_age(health.table_age)} ago"


def _age(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _troubles(snapshot: Snapshot) -> Iterator[str]:
    health = snapshot.health
    if health.table_error:
        yield f"reading the site table failed: {health.table_error}"
    if health.crashes:
        yield f"crashed: {', '.join(f'{name} ({times})' for name, times in health.crashes.items())}"
    if snapshot.unserved:
        yield f"no site serves {', '.join(snapshot.unserved)}"


def snapshot_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return it as plain lines, each with the time: one of the client, one a site."""
    health, at = snapshot.health, snapshot.at.isoformat(timespec="milliseconds")
    counts = Counter(unresolved=health.unresolved, crashes=sum(health.crashes.values()))
    yield " ".join((at, _table(health), *(f"{name}={number}" for name, number in counts.items())))
    for said in _troubles(snapshot):
        yield f"{at} {said}"
    for site in snapshot.sites:
        words = [at, site.id, latency(site.latency).plain, _health(site).plain]
        words.append(
            f"region={site.region or '-'} connections={site.connections} in_flight={_known(site.in_flight)}"
        )
        words.append(f"chosen_by={','.join(site.chosen_by) or '-'}")
        yield " ".join([*words, *([f"last_error={site.last_error}"] if site.last_error else [])])


def _known(number: int | None) -> str:
    return "-" if number is None else str(number)


def snapshot_data(snapshot: Snapshot) -> dict[str, Any]:
    """Return it as plain data, samples included: round trips in seconds, oldest first."""
    health = snapshot.health
    sites = [
        as_data(site) | {"samples": [round(seconds, 6) for _, seconds in site.samples]} for site in snapshot.sites
    ]
    return {
        "at": snapshot.at.isoformat(timespec="milliseconds"),
        "table_age": None if health.table_age is None else round(health.table_age, 3),
        "table_kept": health.table_kept,
        "table_error": health.table_error,
        "table_refused": health.table_refused,
        "crashes": dict(health.crashes),
        "unresolved": health.unresolved,
        "choices": dict(snapshot.choices),
        "sites": sites,
    }
