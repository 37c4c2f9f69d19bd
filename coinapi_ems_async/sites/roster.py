"""The sites as they are used: each with its pools, estimate and health, and the choice among them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from math import ceil
from random import Random
from time import monotonic
from typing import Final

from ..matrix import Row
from ..settings import Settings
from .choices import Choices, guarded
from .directory import EMPTY, Changes, Directory
from .effects import EFFECTS, TIMED, Effect
from .entry import PoolFactory, SiteEntry
from .health import Health
from .lag import LoopLag
from .selector import CostFunction, network_cost, place
from .view import SiteView

__all__ = ["PoolFactory", "Roster", "SiteEntry"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_WARM_SITES: Final = 2
_LOOKS_AT_ONCE: Final = 10
_LOOK_BACK: Final = 1.0
"""A call's timer says nothing of its site if the loop stood still so shortly before it rang."""
_MOST_FARTHER: Final = 2.0
_PROBED_AT_ONCE: Final = frozenset({Effect.PROBE, Effect.DOUBT, Effect.REFUSED, Effect.MALFORMED})


class Roster:
    """Every site in use, by URL.

    on_trouble: called when a site turns suspect or ejected, after the choice has been made anew. on_stale: called
    with the reason when the site table should be read again; may be often.
    """

    def __init__(
        self,
        make_pool: PoolFactory,
        *,
        cost: CostFunction = network_cost,
        settings: Settings | None = None,
        clock: Callable[[], float] = monotonic,
        random: Random | None = None,
    ) -> None:
        self._make_pool = make_pool
        self._cost = cost = guarded(cost)
        self._settings = settings or Settings()
        self._clock = clock
        self._random = random or Random()  # noqa: S311  # spreads load, protects nothing
        self.lag = LoopLag(self._settings.loop_stall, clock, self._excuse)
        self.directory: Directory = EMPTY
        self.entries: dict[str, SiteEntry] = {}
        self.leaving: list[SiteEntry] = []
        self.unsettled = asyncio.Event()
        """Set when an estimate has changed, so that the choice should be looked at."""
        self.on_trouble: Callable[[SiteEntry], None] = _nothing
        self.on_stale: Callable[[str], None] = _nothing
        self._choices = Choices(self._settings, cost)
        self._seeds: dict[str, float] = {}
        self._capable: set[frozenset[str]] = set()
        """Each set of sites, by URL, that serves an account."""

    # The table

    def apply(self, directory: Directory) -> Changes:
        """Take over a new directory by difference: unchanged sites keep pools, estimate and health.

        Removed sites get no more work and wait in `leaving` until they are closed.
        """
        changes = self.directory.changes_to(directory)
        self.directory = directory
        for site in changes.added:
            self.entries[site.url] = entry = SiteEntry(site, self._make_pool, self._settings, self._random)
            if (seconds := self._seeds.pop(site.url, None)) is not None:
                entry.estimator.seed(seconds)
        for site in changes.changed:
            self.entries[site.url].site = site
        for site in changes.removed:
            entry = self.entries.pop(site.url)
            entry.health.removed(self._clock())
            self.leaving.append(entry)
        served = {name for site in directory.sites.values() for name in site.exchanges}
        self._capable = {frozenset(site.url for site in directory.capable(name)) for name in (None, *served)}
        self._choices.take_over(directory, self.entries)
        self.evaluate()
        return changes

    def seed(self, estimates: Mapping[str, float]) -> None:
        """Take over estimates of an earlier run, seconds by URL: they rank sites until their first samples.

        Those of sites that are not there yet wait for them.
        """
        for url, seconds in estimates.items():
            if (entry := self.entries.get(url)) is None:
                self._seeds[url] = seconds
            elif not entry.estimator.samples:
                entry.estimator.seed(seconds)
        self.evaluate()

    # The choice

    def ranked(
        self,
        exchange_id: str | None,
        *,
        tried: Collection[str] = (),
        preferred: str | None = None,
        for_order: bool = False,
    ) -> list[SiteEntry]:
        """Return the sites that can serve the account, best first; empty if there is none.

        preferred: URL of a site that goes first unless it is ejected: the one that took the order. tried: URLs to
        leave out; ignored if nothing would be left. for_order: for orders and cancels, which may prefer the
        exchange's home. The list is shared: it must not be changed.
        """
        choices = self._choices
        entries = (choices.ready_for_orders if for_order else choices.ready).get(exchange_id)
        if entries is None:
            entries = self._begin(exchange_id, for_order)
        if preferred is not None:
            mine = self.entries.get(preferred)
            if mine in entries and not mine.is_lost:
                entries = [mine, *(entry for entry in entries if entry is not mine)]
        if tried:
            return [entry for entry in entries if entry.site.url not in tried] or entries
        return entries

    def first_for_order(self, exchange_id: str | None) -> SiteEntry | None:
        """Return the site that `ranked` puts first for an order; None if there is none."""
        entries = self._choices.ready_for_orders.get(exchange_id) or self._begin(exchange_id, True)
        return entries[0] if entries else None

    def _begin(self, exchange_id: str | None, for_order: bool) -> list[SiteEntry]:
        """The account is asked for the first time, or nobody serves it."""
        entries = self._choices.begin(
            exchange_id,
            for_order=for_order,
            directory=self.directory,
            entries=self.entries,
            now=self._clock(),
        )
        if not entries:
            self.on_stale(f"no site serves {exchange_id or 'anything'}")
        return entries

    def choices(self, names: Collection[str] = (), *, keep: bool = False) -> dict[str, SiteEntry]:
        """Return where an order of each account would go now, of all in the table by default.

        keep: they count as in use from now on. Who is served nowhere is left out.
        """
        names = names or sorted({name for site in self.directory.sites.values() for name in site.exchanges})
        for name in names if keep else ():
            self.ranked(name, for_order=True)
        return self._choices.would(names, directory=self.directory, entries=self.entries, now=self._clock())

    def evaluate(self) -> float:
        """Look at every choice again; returns when to do so next, monotonic; infinite if nothing is due."""
        self._choices.evaluate(self._clock(), self.entries.values())
        return self._choices.due

    def looks(self) -> Iterator[None]:
        """Look at one choice a turn; ends early if everything has been looked at anew in between."""
        return self._choices.looks(self._clock(), self.entries.values())

    async def evaluate_gently(self) -> float:
        """Do the same, with room for orders in between: a cost of the user's takes time for each account."""
        for turn, _ in enumerate(self.looks()):
            if turn % _LOOKS_AT_ONCE == _LOOKS_AT_ONCE - 1:
                await asyncio.sleep(0)
        return self._choices.due

    def is_among_the_best(self, entry: SiteEntry) -> bool:
        """Whether it is one of the two best sites of an account in use; of any account, before one is."""
        return entry in (self._choices.best or self._best_of_all())

    def _nearest(self) -> list[SiteEntry]:
        """Every site, best first."""
        now = self._clock()
        candidates = [one.candidate(None, None, now) for one in self.entries.values()]
        return [self.entries[one.candidate.site.url] for one in place(candidates, cost=self._cost)]

    # What probes tell

    def sampled(self, entry: SiteEntry, seconds: float) -> None:
        """Take in a round trip."""
        now = self._clock()
        entry.history.append((now, seconds))
        if entry.estimator.add(seconds, now):
            self.unsettled.set()

    def good(self, entry: SiteEntry) -> None:
        """Take in a good probe."""
        before = entry.health.state
        self._settle(entry, before, entry.health.probe_good(self._clock()))

    def bad(self, entry: SiteEntry, reason: str, row: Row | None = None) -> None:
        """Take in a failed probe; `row` says how, if a connection failed."""
        before = entry.health.state
        self._settle(entry, before, entry.health.probe_failed(self._clock(), reason, row))

    def overdue(self, entry: SiteEntry, reason: str) -> None:
        """Take in that a probe is in flight for longer than the estimate allows."""
        before = entry.health.state
        self._settle(entry, before, entry.health.overdue(self._clock(), reason))

    # What calls tell

    def note(
        self,
        entry: SiteEntry,
        row: Row,
        message: str,
        *,
        exchange_id: str | None = None,
        retry_after: float | None = None,
        reused: bool = False,
        stale: bool = False,
    ) -> None:
        """Take in how a call ended at a site, anything but success.

        exchange_id: the account it was for. retry_after: seconds that the answer asks for. reused: the connection
        had carried a request before. stale: it belonged to an older generation of the pool, so it says nothing.
        """
        if stale:
            return
        effect, now = EFFECTS[row], self._clock()
        if (row is Row.LOST and reused) or (row in TIMED and self.lag.stalled(now - _LOOK_BACK)):
            effect = Effect.PROBE
        before = entry.health.state
        changed = entry.health.take(effect, now, message, exchange_id=exchange_id, retry_after=retry_after)
        if effect in _PROBED_AT_ONCE:
            entry.hurry()
        self._settle(entry, before, changed)
        if effect is Effect.STALE_TABLE:
            self.on_stale(f"site {entry.site.id}: {message}")

    def answered(self, entry: SiteEntry, exchange_id: str | None) -> None:
        """Take in a complete success; needs to be told only while the entry is `troubled`."""
        before, now = entry.health.state, self._clock()
        changed = entry.health.answered(now, exchange_id)
        if before is Health.SUSPECT:
            entry.estimator.excused(now)  # who answers again is not as far as the probe under way is old
        self._settle(entry, before, changed)

    # What follows from it

    def _settle(self, entry: SiteEntry, before: Health, changed: bool) -> None:
        entry.troubled = entry.health.is_troubled
        if not changed:
            return
        after = entry.health.state
        if after is not before:
            self._moved(entry, before, after)
        returned = entry if self._has_returned(entry, before, after) else None
        self._choices.evaluate(self._clock(), self.entries.values(), returned=returned)
        if after is not before and after in (Health.SUSPECT, Health.EJECTED):
            self.on_trouble(entry)
        if after is not before and after is Health.EJECTED:
            self._ask_for_table()

    def _has_returned(self, entry: SiteEntry, before: Health, after: Health) -> bool:
        """Whether the site may be chosen again without waiting for rounds.

        Not if it has been suspected before of late: a site that is so every other second is better left alone.
        """
        if after is not Health.HEALTHY:
            return False
        is_rare = self._clock() - entry.suspected[0] > self._settings.suspect_forgiven
        return before in (Health.NEW, Health.PROBATION) or (before is Health.SUSPECT and is_rare)

    def _moved(self, entry: SiteEntry, before: Health, after: Health) -> None:
        site, error = entry.site, entry.health.last_error
        entry.wake.set()
        if after is Health.EJECTED:
            entry.estimator.clear()
            entry.pool.clear()
            level = logging.INFO if before is Health.PROBATION else logging.WARNING
            log.log(level, "site %s (%s) is ejected: %s", site.id, site.url, error)
        elif after is Health.SUSPECT:
            entry.suspected.append(self._clock())
            log.info("site %s (%s) is suspect: %s", site.id, site.url, error)
        else:
            log.info("site %s (%s) is %s", site.id, site.url, "healthy" if after is Health.HEALTHY else after)

    def _ask_for_table(self) -> None:
        lost = self._choices.lost()
        if lost or all(entry.is_lost for entry in self.entries.values()):
            self.on_stale(f"every site of {lost[0] if lost else 'the table'} is ejected")

    def _excuse(self, now: float) -> None:
        """The loop stood still: no answer could have been noticed."""
        for entry in self.entries.values():
            entry.estimator.excused(now)

    # Connections

    def keep_warm(self, connections: int) -> None:
        """Keep so many connections open to the two best sites of every account in use, of all before one is.

        And as many as the calls of the busiest site of late would take there, so that it can take over at once.
        """
        best = self._choices.best or self._best_of_all()
        for entry in self.entries.values():
            entry.busy.append(entry.pool.most_in_flight())
        busiest = max(self.entries.values(), key=lambda entry: max(entry.busy), default=None)
        for entry in self.entries.values():
            if busiest is not None and entry in best and not entry.is_lost and connections:
                exchanges = min(_exchanges_of(busiest, entry), self._settings.warm_at_most)
                entry.pool.keep_warm(connections, exchanges=exchanges)
            else:
                entry.pool.keep_warm(0)

    def _best_of_all(self) -> frozenset[SiteEntry]:
        """The two best sites of each set of sites that serves an account, and of all."""
        nearest = self._nearest()
        return frozenset(
            entry
            for urls in self._capable
            for entry in [one for one in nearest if one.site.url in urls][:_WARM_SITES]
        )

    async def until_warm(self, within: float) -> None:
        """Wait for the warm connections of all sites, so many seconds at most."""
        await asyncio.gather(*(entry.pool.until_warm(within) for entry in self.entries.values()))

    async def aclose(self) -> None:
        """Close every site."""
        self.lag.stop()
        async with contextlib.AsyncExitStack() as last:
            for entry in (*self.entries.values(), *self.leaving):
                last.push_async_callback(entry.aclose)

    def views(self) -> list[SiteView]:
        """Return every site as users see it, best first."""
        now = self._clock()
        return [entry.view(now, self._choices.chosen_by(entry)) for entry in self._nearest()]


def _exchanges_of(busiest: SiteEntry, entry: SiteEntry) -> int:
    """How many exchanges at a time it takes to do here what is done there: farther away each takes longer.

    Twice as many at most: calls that come now and then overlap no more for it, however far it is.
    """
    theirs, mine = busiest.estimator.estimate, entry.estimator.estimate
    farther = mine / theirs if theirs and mine is not None else 1.0
    return ceil(max(busiest.busy) * min(max(1.0, farther), _MOST_FARTHER))


def _nothing(told: object) -> None:
    """Whoever wants to know puts something else in its place."""
