"""The loops: probing every site, and keeping connections to the best ones."""

import asyncio
import contextlib
import logging
import random
from functools import partial
from time import monotonic
from typing import Final

from ..matrix import Kind
from ..operations import Operation, Request
from ..settings import Settings
from ..supervisor import Supervisor
from ..transport.base import Attempt
from .directory import Directory
from .health import Health
from .roster import Roster, SiteEntry

__all__ = ["Monitor"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

# A kept connection gives the second sample; servers that close each connection never give one that is warm.
_SAMPLES_TO_START: Final = 3
_FIRST_TIMEOUT: Final = 1.0
_WARM_ROUND: Final = 1.0


class Monitor:
    """Keeps estimates, health and the site table of a roster current."""

    def __init__(self, roster: Roster, settings: Settings, supervisor: Supervisor) -> None:
        self._roster = roster
        self._settings = settings
        self._supervisor = supervisor
        self._probe = Request(operation=_probe_operation(settings.probe_path), target=settings.probe_path)
        self._random = random.Random()  # noqa: S311  # spreads probes, protects nothing
        self._tasks: dict[str, str] = {}

    def watch(self, entry: SiteEntry) -> None:
        """Begin to probe a site."""
        name = f"probing {entry.site.url}"
        self._tasks[entry.site.url] = name
        self._supervisor.start(name, lambda: self._watch(entry))

    async def forget(self, url: str) -> None:
        """Stop probing a site."""
        if (name := self._tasks.pop(url, None)) is not None:
            await self._supervisor.stop(name)

    async def _watch(self, entry: SiteEntry) -> None:
        while True:
            alive = await self._sample(entry)
            entry.probed.set()
            if not alive and entry.health.state is Health.SUSPECT:
                continue  # the second opinion comes at once, on a new connection
            await self._rest(entry)

    async def _sample(self, entry: SiteEntry) -> bool:
        """Probe until there is an estimate, or once if there is one; returns whether the site is alive."""
        for turn in range(_SAMPLES_TO_START):
            fresh_counts = turn == _SAMPLES_TO_START - 1
            if not await self.probe(entry, fresh_counts=fresh_counts):
                return False
            if entry.estimator.estimate is not None:
                return True
        return True

    async def _rest(self, entry: SiteEntry) -> None:
        interval = self._interval(entry) * self._random.uniform(0.9, 1.1)
        begun = monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await entry.wake.wait()
        # However many calls fail at a site, they do not make more probes than it would get as the best one.
        await asyncio.sleep(max(0.0, min(interval, self._settings.probe_interval) - (monotonic() - begun)))
        entry.wake.clear()

    def _interval(self, entry: SiteEntry) -> float:
        settings, mine = self._settings, entry.estimator.estimate
        estimates = [other.estimator.estimate for other in self._roster.entries.values()]
        best = min((one for one in estimates if one is not None), default=None)
        if mine is None or best is None:
            return settings.probe_interval_others
        if mine <= best:
            return settings.probe_interval
        slow = mine > 2 * best and mine > best + 0.020
        return settings.probe_interval_slow if slow else settings.probe_interval_others

    async def probe(self, entry: SiteEntry, *, fresh_counts: bool = False) -> bool:
        """Make one probe; returns whether the site is alive: any complete status below 500.

        The sample runs from the request's first byte to the response's head; on a new connection it is
        discarded (slow start) unless `fresh_counts`.
        """
        attempt = Attempt(self._probe, entry.site.id, until=monotonic() + self._timeout(entry))
        entry.probe_pool.carry(attempt)
        try:
            settled = await attempt.wait()
        finally:
            attempt.abort()
        answer = attempt.answer
        if answer is None or answer.status >= 500:
            self._roster.bad(entry, _reason(attempt, settled))
            entry.probe_pool.clear()  # the second opinion is had on a new connection
            return False
        self._roster.good(entry)
        if attempt.first_byte is not None and attempt.committed is not None and (attempt.reused or fresh_counts):
            self._roster.sampled(entry, attempt.first_byte - attempt.committed)
        return True

    def _timeout(self, entry: SiteEntry) -> float:
        estimate = entry.estimator.estimate
        return _FIRST_TIMEOUT if estimate is None else min(max(4 * estimate + 0.05, 0.25), 1.0)

    async def until_ready(self) -> None:
        """Return when every site has an estimate or failed its first probe, within the settings' limits."""
        waiting = {asyncio.ensure_future(entry.probed.wait()) for entry in self._roster.entries.values()}
        end = monotonic() + self._settings.open_within
        try:
            while waiting:
                left = end - monotonic()
                done, waiting = await asyncio.wait(
                    waiting, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                if any(entry.estimator.estimate is not None for entry in self._roster.entries.values()):
                    end = min(end, monotonic() + self._settings.open_after_first)
        finally:
            for future in waiting:
                future.cancel()

    def keep_warm(self) -> None:
        """Begin to keep connections open to the best sites, whichever they are."""
        self._supervisor.start("warming", self._keep_warm)

    async def _keep_warm(self) -> None:
        while True:
            self._roster.keep_warm(self._settings.warm_connections)
            await asyncio.sleep(_WARM_ROUND)

    async def apply(self, directory: Directory) -> None:
        """Take over a new site table: watch what came, forget what went."""
        left_before = set(self._roster.leaving)
        changes = self._roster.apply(directory)
        leaving = [entry for entry in self._roster.leaving if entry not in left_before]
        for site in changes.added:
            log.info("site %s (%s) added", site.id, site.url)
            self.watch(self._roster.entries[site.url])
        for site in changes.removed:
            log.info("site %s (%s) removed", site.id, site.url)
            await self.forget(site.url)
        for entry in leaving:
            self._supervisor.start(f"leaving {entry.site.url} {id(entry)}", partial(self._leave, entry))

    async def _leave(self, entry: SiteEntry) -> None:
        await entry.leave(self._settings.drain)
        self._roster.leaving.remove(entry)


def _reason(attempt: Attempt, settled: bool) -> str:
    if attempt.answer is not None:
        return f"the probe was answered with HTTP {attempt.answer.status}"
    if attempt.failure is not None:
        return attempt.failure.message
    return "the probe was not answered in time" if not settled else "the probe failed"


def _probe_operation(path: str) -> Operation:
    return Operation(name="probe", kind=Kind.READ, method="GET", path=path, decode=lambda body: None, statuses={})
