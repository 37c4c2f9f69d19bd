"""`coinapi-ems sites`: the sites and the choice among them, once or again and again."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count as counting
from typing import Annotated, Final

import msgspec
import typer

from ..client import ClientHealth, EMSClient
from .commands import command
from .context import Invocation
from .exits import Exit, Failure
from .site_views import (
    Snapshot,
    choices_table,
    sites_table,
    snapshot_data,
    snapshot_lines,
    snapshot_view,
)

__all__ = ["register"]

_INTERVAL: Final = 1.0
_LEAST, _MOST = 0.05, 86_400.0
_MOST_KEPT: Final = 100
"""Accounts of the table that are watched as if orders went there; of more only what they would choose is shown."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "sites")(sites)


async def sites(
    run: Invocation,
    exchange: Annotated[
        list[str] | None,
        typer.Option(
            "--exchange",
            metavar="EXCHANGE",
            help="Show the choice of this exchange account only; may be repeated.",
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing them, until Ctrl-C.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="With --watch: how often; every second by default."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="With --watch: end after so many times.")
    ] = None,
) -> Exit | None:
    """Show the server sites, best first, with the round trip measured to each, and where orders go.

    Orders of an exchange account go to the first healthy site that serves it; a small difference does not make
    them change.

    With --watch, a terminal shows a picture that is drawn over again: the latest round trips, connections open
    and busy, the age of the site table, and what went wrong. Anything else gets a line for each site every time,
    with --json one object.
    """
    if not watch:
        if interval is not None or count is not None:
            raise Failure("--interval and --count go only with --watch.")
        async with run.client() as ems:
            snapshot = _snapshot(run, ems, exchange or ())
        choices = [choices_table(snapshot)] if snapshot.choices else []
        run.out.show(snapshot.sites, sites_table(snapshot), *choices)
        for name in snapshot.unserved:
            run.out.note(f"note: no site serves {name}; see `coinapi-ems endpoints`", "warn")
        return None
    seconds = _INTERVAL if interval is None else interval
    if not _LEAST <= seconds <= _MOST:
        raise Failure(f"--interval {seconds} must be from {_LEAST} to {_MOST:.0f} seconds.")
    run.ended = Exit.OK  # to be interrupted is its way to end
    async with run.client() as ems:
        await _watch(run, ems, exchange or (), seconds, count)
    return None


async def _watch(run: Invocation, ems: EMSClient, names: Sequence[str], interval: float, most: int | None) -> None:
    with _shown(run) as show:
        for turn in counting(1):
            show(_snapshot(run, ems, names, keep=True))
            if turn == most or not run.out.is_read:
                return
            await asyncio.sleep(interval)


@contextmanager
def _shown(run: Invocation) -> Iterator[Callable[[Snapshot], None]]:
    out = run.out
    if out.json:
        yield lambda snapshot: out.data(snapshot_data(snapshot))
    elif out.console.is_terminal:
        with out.live() as draw:
            yield lambda snapshot: draw(snapshot_view(snapshot))
    else:
        yield lambda snapshot: out.line("\n".join(snapshot_lines(snapshot)))


def _snapshot(run: Invocation, ems: EMSClient, names: Sequence[str], *, keep: bool = False) -> Snapshot:
    wanted = tuple(dict.fromkeys(names)) or tuple(ems.choices())
    found = ems.choices(*wanted, keep=keep and len(wanted) <= _MOST_KEPT) if wanted else {}
    return Snapshot(datetime.now(UTC), _clean(run, ems.health()), {name: found.get(name) for name in wanted})


def _clean(run: Invocation, health: ClientHealth) -> ClientHealth:
    """Blot out secrets before line breaks hide them."""
    views = [
        msgspec.structs.replace(site, last_error=run.out.clean(site.last_error)) if site.last_error else site
        for site in health.sites
    ]
    error = health.table_error and run.out.clean(health.table_error)
    return msgspec.structs.replace(health, sites=views, table_error=error)
