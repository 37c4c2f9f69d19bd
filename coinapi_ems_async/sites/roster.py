"""The sites as they are used: each with its pools, estimate and health, and the choice among them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ..matrix import Row
from ..transport.base import Pool
from .directory import EMPTY, Changes, Directory, Site
from .estimator import Estimator
from .health import CONNECT_FAILURES, Health, HealthRecord
from .selector import Candidate, CostFunction, network_cost, rank
from .view import SiteView

__all__ = ["PoolFactory", "Roster", "SiteEntry"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_WARM_SITES: Final = 2
"""Of each account: the one in use and the one to go to when that is lost."""
_MOST_RANKINGS: Final = 1_000

PoolFactory = Callable[[Site, bool], Pool]
"""Makes the pool of a site; True for the one of its probes."""


class SiteEntry:
    """One site in use."""

    def __init__(self, site: Site, make_pool: PoolFactory) -> None:
        self.site = site
        self.pool = make_pool(site, False)
        self.probe_pool = make_pool(site, True)
        self.estimator = Estimator()
        self.health = HealthRecord()
        self.troubled = False
        self.probed = asyncio.Event()
        """Set once there is an estimate or the first probe has failed."""
        self.wake = asyncio.Event()
        """Asks for a probe at once."""

    def __repr__(self) -> str:
        return f"<SiteEntry {self.site.id} {self.health.state} {self.pool!r}>"

    def candidate(self, home: str | None) -> Candidate:
        """Return what the selector wants to know."""
        at_home = home is not None and home == self.site.location_id
        return Candidate(self.site, self.health.state, self.estimator.estimate, at_home)

    def view(self) -> SiteView:
        """Return what users see."""
        return SiteView(
            id=self.site.id,
            region=self.site.region,
            provider=self.site.provider,
            url=self.site.url,
            latency=self.estimator.estimate,
            health=self.health.state,
            connections=self.pool.connections,
            exchanges=tuple(sorted(self.site.exchanges)),
            last_error=self.health.last_error,
        )

    async def leave(self, within: float) -> None:
        """Let what is under way end, within so many seconds, then close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.pool.drain()
        await self.aclose()

    async def aclose(self) -> None:
        """Close both pools."""
        await self.probe_pool.aclose()
        await self.pool.aclose()


class Roster:
    """Every site in use, by URL."""

    def __init__(self, make_pool: PoolFactory, *, cost: CostFunction = network_cost) -> None:
        self._make_pool = make_pool
        self._cost = cost
        self.directory: Directory = EMPTY
        self.entries: dict[str, SiteEntry] = {}
        self.leaving: list[SiteEntry] = []
        self.on_trouble: Callable[[SiteEntry], None] = lambda _entry: None
        self.on_stale: Callable[[str], None] = lambda _reason: None
        self._chosen: dict[str | None, str] = {}
        self._rankings: dict[str | None, list[SiteEntry]] = {}
        """By account, until an estimate, a state or the table changes: on the way of every order."""

    def apply(self, directory: Directory) -> Changes:
        """Take over a new directory by difference: unchanged sites keep pools, estimate and health.

        Removed sites get no more work and wait in `leaving` until they are closed.
        """
        changes = self.directory.changes_to(directory)
        self.directory = directory
        self._rankings.clear()
        for site in changes.added:
            self.entries[site.url] = SiteEntry(site, self._make_pool)
        for site in changes.changed:
            self.entries[site.url].site = site
        self.leaving += [self.entries.pop(site.url) for site in changes.removed]
        return changes

    def seed(self, estimates: Mapping[str, float]) -> None:
        """Take over estimates of an earlier run, seconds by URL, until the first samples."""
        self._rankings.clear()
        for url in estimates.keys() & self.entries.keys():
            self.entries[url].estimator.seed(estimates[url])

    def ranked(
        self,
        exchange_id: str | None,
        *,
        tried: Collection[str] = (),
        preferred: str | None = None,
        for_order: bool = False,
    ) -> list[SiteEntry]:
        """Return the sites that can serve the account, best first; empty if there is none.

        tried and preferred are URLs, as `selector.rank` takes them. A change of the first choice is logged.
        """
        if tried or preferred is not None:
            return self._rank(exchange_id, tried, preferred)
        entries = self._rankings.get(exchange_id)
        if entries is None:
            entries = self._rank(exchange_id)
            if entries:
                self._note_choice(exchange_id, entries[0].site)
            if len(self._rankings) >= _MOST_RANKINGS:
                self._rankings.clear()
            self._rankings[exchange_id] = entries
        return entries

    def _rank(
        self, exchange_id: str | None, tried: Collection[str] = (), preferred: str | None = None
    ) -> list[SiteEntry]:
        home = self.directory.home(exchange_id) if exchange_id else None
        candidates = [self.entries[site.url].candidate(home) for site in self.directory.capable(exchange_id)]
        incumbent = self._chosen.get(exchange_id)
        sites = rank(candidates, tried=tried, preferred=preferred, incumbent=incumbent, cost=self._cost)
        return [self.entries[site.url] for site in sites]

    def _note_choice(self, exchange_id: str | None, site: Site) -> None:
        before = self._chosen.get(exchange_id)
        if before == site.url:
            return
        self._chosen[exchange_id] = site.url
        old = self.entries.get(before or "")
        estimate = self.entries[site.url].estimator.estimate
        log.info(
            "%s: site %s -> %s (%s)",
            exchange_id or "any exchange",
            old.site.id if old else "none",
            site.id,
            "no estimate" if estimate is None else f"{estimate * 1000:.1f} ms",
        )

    def answered(self, entry: SiteEntry, exchange_id: str | None) -> None:
        """Take in a success."""

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
        """Take in how a call ended at a site: one that could not be reached is probed at once."""
        if row in CONNECT_FAILURES:
            self.bad(entry, message)
            entry.wake.set()

    def sampled(self, entry: SiteEntry, seconds: float) -> None:
        """Take in a round trip."""
        self._rankings.clear()
        entry.estimator.add(seconds)

    def good(self, entry: SiteEntry) -> None:
        """Take in a good probe."""
        self._rankings.clear()
        if entry.health.good():
            log.info("site %s (%s) is healthy", entry.site.id, entry.site.url)

    def bad(self, entry: SiteEntry, reason: str) -> None:
        """Take in a failed probe or connect; an unreachable site is told once, until it is back."""
        self._rankings.clear()
        before = entry.health.state
        if entry.health.bad(reason):
            self.on_trouble(entry)
        if entry.health.state is not before and before in (Health.HEALTHY, Health.NEW):
            log.warning("site %s (%s) is unreachable: %s", entry.site.id, entry.site.url, reason)
        if entry.health.state is Health.EJECTED:
            entry.estimator.clear()
            if before is not Health.EJECTED:
                entry.pool.clear()

    def keep_warm(self, connections: int) -> None:
        """Keep so many connections open to the two best sites of every account."""
        best: set[str] = set()
        seen: set[tuple[str, ...]] = set()
        accounts = {name for site in self.directory.sites.values() for name in site.exchanges}
        for exchange_id in (None, *sorted(accounts)):
            capable = tuple(site.url for site in self.directory.capable(exchange_id))
            if capable not in seen:
                seen.add(capable)
                best.update(entry.site.url for entry in self._rank(exchange_id)[:_WARM_SITES])
        for url, entry in self.entries.items():
            is_lost = entry.health.state is Health.EJECTED
            entry.pool.keep_warm(connections if url in best and not is_lost else 0)

    async def until_warm(self, within: float) -> None:
        """Wait for the warm connections of all sites, so many seconds at most."""
        await asyncio.gather(*(entry.pool.until_warm(within) for entry in self.entries.values()))

    async def aclose(self) -> None:
        """Close every site."""
        async with contextlib.AsyncExitStack() as last:
            for entry in (*self.entries.values(), *self.leaving):
                last.push_async_callback(entry.aclose)

    def views(self) -> list[SiteView]:
        """Return every site as users see it, best first."""
        return [entry.view() for entry in self._rank(None)]
