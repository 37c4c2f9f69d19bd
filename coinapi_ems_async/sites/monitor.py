"""The loops: probing every site, and choosing among them."""

import asyncio
import contextlib
import logging
import random
from functools import partial
from time import monotonic
from typing import Final

from ..matrix import Kind
from ..operations import Operation, Request
from ..redaction import NOTHING_HIDDEN, Redaction
from ..settings import Settings
from ..supervisor import Supervisor
from ..transport.base import Attempt
from .directory import Directory
from .effects import TIMED
from .rhythm import interval, timeout
from .roster import Roster, SiteEntry

__all__ = ["Monitor"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_SAMPLES_TO_START: Final = 3
"""A kept connection gives the second sample; servers that close each connection never give one that is warm."""
_ROUND: Final = 1.0
"""Seconds after which flags are looked at again, and warm connections asked for."""


class Monitor:
    """Keeps estimates, health and the site table of a roster current."""

    def __init__(
        self,
        roster: Roster,
        settings: Settings,
        supervisor: Supervisor,
        redaction: Redaction = NOTHING_HIDDEN,
    ) -> None:
        self._roster = roster
        self._settings = settings
        self._supervisor = supervisor
        self._redaction = redaction
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
        self._roster.lag.start()
        while True:
            alive = await self.probe(entry)
            if alive is False or entry.estimator.samples or entry.discarded >= _SAMPLES_TO_START:
                entry.probed.set()
            if not self._is_due_at_once(entry, alive):
                await self._rest(entry)

    @staticmethod
    def _is_due_at_once(entry: SiteEntry, alive: bool | None) -> bool:
        """A second opinion comes at once, on a new connection; so does what the first estimate takes."""
        if entry.health.probe_at is not None:
            return False
        if not alive:
            return True
        return not entry.estimator.samples and entry.discarded < _SAMPLES_TO_START

    async def _rest(self, entry: SiteEntry) -> None:
        due = monotonic() + self._interval(entry) * self._random.uniform(0.9, 1.1)
        while (left := self._due(entry, due) - monotonic()) > 0:
            entry.wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await entry.wake.wait()
        if entry.hurried:
            entry.hurried, entry.hurried_at = False, monotonic()

    def _due(self, entry: SiteEntry, due: float) -> float:
        """When the next probe is: as the state says, else when due, else as soon as it is wanted.

        However many calls fail at a site, they do not make more probes than it would get as the best one.
        """
        if (probe_at := entry.health.probe_at) is not None:
            return probe_at
        if entry.hurried:
            return min(due, entry.hurried_at + self._settings.probe_interval)
        return due

    def _interval(self, entry: SiteEntry) -> float:
        estimates = (other.estimator.estimate for other in self._roster.entries.values())
        best = min((one for one in estimates if one is not None), default=None)
        is_best = self._roster.is_among_the_best(entry)
        return interval(entry.estimator.estimate, best, is_best=is_best, settings=self._settings)

    async def probe(self, entry: SiteEntry) -> bool | None:
        """Make one probe; returns whether the site is alive, None if the event loop stood still meanwhile.

        Any complete status below 500 means alive. The sample runs from the request's first byte to the response's
        head; on a new connection it is discarded (slow start), unless there is never another.
        """
        begun = monotonic()
        samples = entry.estimator.samples
        within = timeout(min(samples) if samples else None, self._settings)
        site, until = entry.site.id, begun + within
        attempt = Attempt(self._probe, site, until, started=begun, redaction=self._redaction)
        settled = await self._exchange(entry, attempt)
        answer, failure = attempt.answer, attempt.failure
        if answer is not None and answer.status < 500:
            self._roster.good(entry)
            self._take_sample(entry, attempt)
            return True
        entry.discarded = 0
        entry.probe_pool.clear()  # the second opinion is had on a new connection
        is_timed = not settled or (failure is not None and failure.row in TIMED)
        if is_timed and self._roster.lag.stalled(begun):
            return None
        self._roster.bad(entry, _reason(attempt, settled), failure.row if failure else None)
        return False

    async def _exchange(self, entry: SiteEntry, attempt: Attempt) -> bool:
        """Carry a probe; returns whether it was settled in time."""
        entry.probe_pool.carry(attempt)
        watched = _Overdue(self._roster, entry, attempt)
        try:
            return await attempt.wait()
        finally:
            watched.stop()
            attempt.abort()

    def _take_sample(self, entry: SiteEntry, attempt: Attempt) -> None:
        if attempt.first_byte is None or attempt.committed is None:
            return
        seconds = attempt.first_byte - attempt.committed
        if self._roster.lag.stalled(attempt.committed):
            if entry.estimator.estimate is None:
                entry.estimator.seed(seconds)  # better than none
            entry.discarded += 1
        elif attempt.reused or entry.discarded >= _SAMPLES_TO_START - 1:
            if attempt.reused:
                entry.discarded = 0
            self._roster.sampled(entry, seconds)
        else:
            entry.discarded += 1

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
        """Begin to keep the choices current, and connections open to the best sites, whichever they are."""
        self._supervisor.start("choosing", self._choose)

    async def _choose(self) -> None:
        roster = self._roster
        while True:
            roster.unsettled.clear()
            due = await roster.evaluate_gently()
            roster.keep_warm(self._settings.warm_connections)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(due - monotonic(), _ROUND))):
                    await roster.unsettled.wait()

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


class _Overdue:
    """Watches a probe: one that takes clearly longer than the estimate makes its site suspect before it times out.

    Its age counts from the request, not from a handshake before it.
    """

    def __init__(self, roster: Roster, entry: SiteEntry, attempt: Attempt) -> None:
        self._roster = roster
        self._entry = entry
        self._attempt = attempt
        self._after = entry.estimator.doubt_after
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def _look(self) -> None:
        self._timer = None
        attempt, after = self._attempt, self._after
        if attempt.committed is not None:
            self._entry.estimator.sent(attempt.committed)
        if attempt.settled or after is None:
            return
        left = after if attempt.committed is None else attempt.committed + after - monotonic()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
        elif not self._roster.lag.stalled(attempt.started):
            self._roster.overdue(self._entry, f"no answer to a probe within {after * 1000:.0f} ms")

    def stop(self) -> None:
        """Watch no more."""
        self._entry.estimator.settled()
        if self._timer is not None:
            self._timer.cancel()


def _reason(attempt: Attempt, settled: bool) -> str:
    if not settled:
        return "the probe was not answered in time"
    if attempt.answer is not None:
        return f"the probe was answered with HTTP {attempt.answer.status}"
    return "the probe failed" if attempt.failure is None else attempt.failure.message


def _probe_operation(path: str) -> Operation:
    return Operation(name="probe", kind=Kind.READ, method="GET", path=path, decode=lambda body: None, statuses={})
