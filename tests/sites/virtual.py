"""Sites on a virtual clock: estimator, health, choice and rhythm are the client's; sockets and time are not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.rhythm import interval, timeout
from coinapi_ems_async.sites.roster import SiteEntry

from .fakes import ACCOUNT, Clock, make_roster, site, table, url

_READ_TIMEOUT: Final = 4.0


def jitter(random: Random, scale: float) -> float:
    """What a round trip takes beyond its floor, times `scale`: one-sided, with a heavy right tail.

    Weibull, and once in 300 a Pareto tail: p50 3.4 ms, mean 5.4, p99 28, p99.9 50, as recorded between regions.
    """
    if random.random() < 1 / 300:
        return scale * min(0.028 * random.paretovariate(2.0), 0.3)
    return scale * random.weibullvariate(0.00506, 0.92)


Fault = Callable[[float, Random], Row | None]
"""How a request ends that is sent at this time; None: well."""


def never(now: float, random: Random) -> Row | None:
    return None


def half(row: Row) -> Fault:
    """Every second request fails, by chance."""
    return lambda now, random: row if random.random() < 0.5 else None


def between(row: Row, begin: float, end: float) -> Fault:
    return lambda now, random: row if begin <= now < end else None


@dataclass
class Behaviour:
    """How one site behaves: its floor in seconds at a time, its faults for probes and for calls."""

    floor: Callable[[float], float]
    probes: Fault = never
    calls: Fault = never


@dataclass
class Story:
    """What happened: (time, site) of choices, (time, site, state) of states, (time, site, row) of calls."""

    choices: list[tuple[float, str]] = field(default_factory=list)
    states: list[tuple[float, str, Health]] = field(default_factory=list)
    calls: list[tuple[float, str, Row]] = field(default_factory=list)

    def ejections(self, name: str) -> list[float]:
        return [when for when, who, state in self.states if who == name and state is Health.EJECTED]

    def first(self, name: str, state: Health, after: float = 0.0) -> float | None:
        """Seconds from `after` to the site's first turning into that state."""
        found = (when - after for when, who, what in self.states if (who, what) == (name, state) and when >= after)
        return next(found, None)

    def settled_on(self, name: str, after: float) -> float:
        """Seconds from `after` to the choice that lasted."""
        when, last = self.choices[-1]
        assert last == name
        return max(0.0, when - after)


class Virtual:
    """Sites by name, a client that probes them and sends `rate` requests a second.

    home: the site where the exchange is connected, if any is.
    """

    def __init__(
        self,
        sites: dict[str, Behaviour],
        *,
        seed: int,
        scale: float = 0.3,
        rate: float = 0.0,
        settings: Settings | None = None,
        home: str | None = None,
    ) -> None:
        self.random = Random(f"virtual {seed}")
        self.clock = Clock(0.0)
        self.settings = settings or Settings()
        directory = table(*(site(name) for name in sites), homes={} if home is None else {"KRAKEN": home})
        self.roster = make_roster(directory, self.clock, settings=self.settings, seed=seed)
        self.behaviour = {url(name): one for name, one in sites.items()}
        self.scale = scale
        self.rate = rate
        self.story = Story()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._states = {entry: entry.health.state for entry in self.roster.entries.values()}
        self._probe_numbers = dict.fromkeys(self._states, 0)
        self._due = dict.fromkeys(self._states, 0.0)

    def run(self, seconds: float) -> Story:
        for entry in self._states:
            self._next_probe(entry, self.random.uniform(0.0, 0.5))
        self._at(0.0, self._round)
        if self.rate:
            self._at(2.0, self._call)
        while self._events and self._events[0][0] <= seconds:
            self.clock.now, _, event = heappop(self._events)
            event()
            self._look()
        return self.story

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._numbers), event))

    def _look(self) -> None:
        """Note what changed."""
        now = self.clock.now
        if self.roster.unsettled.is_set():
            self.roster.unsettled.clear()
            self.roster.evaluate()
        for entry, before in self._states.items():
            if (after := entry.health.state) is not before:
                self._states[entry] = after
                self.story.states.append((now, entry.site.id, after))
            if entry.wake.is_set():
                entry.wake.clear()
                self._next_probe(entry, self._due[entry])
        chosen = self.roster.ranked(ACCOUNT)[0].site.id
        if not self.story.choices or self.story.choices[-1][1] != chosen:
            self.story.choices.append((now, chosen))

    def _round(self) -> None:
        """Wake when a round is due, and once a second for flags."""
        now = self.clock.now
        self._at(max(now + 0.01, min(self.roster.evaluate(), now + 1.0)), self._round)

    # Probes

    def _next_probe(self, entry: SiteEntry, due: float) -> None:
        """Plan the next probe, unless one is in flight."""
        self._due[entry] = due
        if due < 0:
            return
        if entry.health.probe_at is not None:
            due = entry.health.probe_at
        elif entry.hurried:
            due = min(due, entry.hurried_at + self.settings.probe_interval)
        self._probe_numbers[entry] += 1
        number = self._probe_numbers[entry]
        self._at(max(due, self.clock.now), lambda: self._probe(entry, number))

    def _probe(self, entry: SiteEntry, number: int) -> None:
        if number != self._probe_numbers[entry]:
            return  # planned anew since
        now, behaviour = self.clock.now, self.behaviour[entry.site.url]
        if entry.hurried:
            entry.hurried, entry.hurried_at = False, now
        self._due[entry] = -1.0
        within = timeout(entry.estimator.estimate, self.settings)
        row = behaviour.probes(now, self.random)
        trip = behaviour.floor(now) + jitter(self.random, self.scale)
        takes = behaviour.floor(now) if row is Row.REFUSED else trip
        if row is Row.NO_ANSWER or takes > within:
            row, takes = Row.NO_ANSWER, within
        entry.estimator.sent(now)
        doubt_after = entry.estimator.doubt_after
        if doubt_after is not None and takes > doubt_after:
            self._at(now + doubt_after, lambda: self.roster.overdue(entry, "overdue"))
        self._at(now + takes, lambda: self._probed(entry, row, trip))

    def _probed(self, entry: SiteEntry, row: Row | None, trip: float) -> None:
        entry.estimator.settled()
        now = self.clock.now
        if row is None:
            self.roster.good(entry)
            self.roster.sampled(entry, trip)
        else:
            self.roster.bad(entry, row.value, row)
        if row is not None and entry.health.probe_at is None:
            self._next_probe(entry, now)
        else:
            self._next_probe(entry, now + self._interval(entry) * self.random.uniform(0.9, 1.1))

    def _interval(self, entry: SiteEntry) -> float:
        estimates = (one.estimator.estimate for one in self._states)
        best = min((one for one in estimates if one is not None), default=None)
        is_best = self.roster.is_among_the_best(entry)
        return interval(entry.estimator.estimate, best, is_best=is_best, settings=self.settings)

    # Calls

    def _call(self) -> None:
        now = self.clock.now
        self._at(now + self.random.expovariate(self.rate), self._call)
        entry = self.roster.ranked(ACCOUNT, for_order=True)[0]
        behaviour = self.behaviour[entry.site.url]
        row = behaviour.calls(now, self.random)
        self.story.calls.append((now, entry.site.id, row or Row.SUCCESS))
        takes = behaviour.floor(now) + jitter(self.random, self.scale)
        generation = len(self.story.ejections(entry.site.id))
        if row is Row.NO_ANSWER:
            takes = _READ_TIMEOUT
        self._at(now + takes, lambda: self._called(entry, row, generation))

    def _called(self, entry: SiteEntry, row: Row | None, generation: int) -> None:
        if row is not None:
            stale = generation != len(self.story.ejections(entry.site.id))
            self.roster.note(entry, row, row.value, exchange_id=ACCOUNT, stale=stale)
        elif entry.troubled:
            self.roster.answered(entry, ACCOUNT)
