"""A roster on a clock of the test's own, with pools that only remember what they were told."""

from collections.abc import Mapping, Sequence
from math import inf
from random import Random
from types import MappingProxyType

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.operations import Request
from coinapi_ems_async.sites.directory import Directory, Site
from coinapi_ems_async.sites.roster import Roster, SiteEntry
from coinapi_ems_async.sites.selector import CostFunction, network_cost
from coinapi_ems_async.transport.base import Attempt, Pool, TransportFailure

ACCOUNT = "KRAKEN/JOHN"
NEAR, FAR = 0.010, 0.040


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakePool(Pool):
    """Keeps what it is to carry until a test lets it begin; counts what else it was told."""

    def __init__(self) -> None:
        self.cleared = 0
        self.warm = 0
        self.is_taken = False
        self.given_up = Row.CONNECT_TIMEOUT
        """How an attempt ends that is taken out of the queue."""
        self.queue: list[Attempt] = []
        self.begun: list[Attempt] = []
        self.in_use = 0
        self.idle = inf
        """For how long each of its connections had been unused."""

    def rested(self, attempt: Attempt) -> float:
        return self.idle

    def carry(self, attempt: Attempt) -> None:
        attempt.carrier = self
        self.queue.append(attempt)

    def begin(self) -> Attempt:
        """Let the first in the queue have a connection, and return it."""
        attempt = self.queue.pop(0)
        self.begun.append(attempt)
        try:
            attempt.mark()
        except TransportFailure as failure:
            attempt.fail(failure)
        return attempt

    def refuse(self, row: Row = Row.REFUSED) -> None:
        """Fail the first in the queue."""
        self.queue.pop(0).fail(TransportFailure(row))

    def abort(self, attempt: Attempt) -> None:
        if attempt in self.queue:
            self.queue.remove(attempt)
            attempt.fail(TransportFailure(Row.POOL_WAIT if self.is_taken else self.given_up))
        elif attempt in self.begun:
            attempt.fail(TransportFailure(Row.NO_ANSWER))

    def is_full(self, request: Request) -> bool:
        return self.is_taken

    @property
    def connections(self) -> int:
        return self.warm

    @property
    def in_flight(self) -> int:
        return self.in_use

    def most_in_flight(self) -> int:
        return self.in_use

    def keep_warm(self, connections: int, *, exchanges: int = 0) -> None:
        self.warm = max(connections, exchanges)

    def clear(self) -> None:
        self.cleared += 1

    async def until_warm(self, within: float) -> None:
        return

    async def drain(self) -> None:
        return

    async def aclose(self) -> None:
        return


def site(name: str, exchanges: Sequence[str] = (ACCOUNT,)) -> Site:
    return Site(id=name, url=url(name), location_id=name, exchanges=frozenset(exchanges))


def url(name: str) -> str:
    return f"https://{name}.example"


def table(*sites: Site, homes: Mapping[str, str] = MappingProxyType({})) -> Directory:
    return Directory(sites={one.url: one for one in sites}, homes=homes)


def make_roster(
    directory: Directory,
    clock: Clock,
    *,
    settings: Settings | None = None,
    cost: CostFunction = network_cost,
    seed: int = 1,
) -> Roster:
    """A roster that has heard nothing yet."""
    roster = Roster(
        lambda site, for_probes: FakePool(),
        cost=cost,
        settings=settings or Settings(),
        clock=clock,
        random=Random(seed),
    )
    roster.apply(directory)
    return roster


def measured(directory: Directory, estimates: Mapping[str, float], clock: Clock, **kinds: object) -> Roster:
    """A roster whose sites are healthy and as far as `estimates` says, by id."""
    roster = make_roster(directory, clock, **kinds)  # type: ignore[arg-type]  # passed on as they are
    for name, seconds in estimates.items():
        entry = roster.entries[url(name)]
        roster.good(entry)
        roster.sampled(entry, seconds)
    return roster


def pool_of(entry: SiteEntry) -> FakePool:
    assert isinstance(entry.pool, FakePool)
    return entry.pool


def names(entries: Sequence[SiteEntry]) -> list[str]:
    return [entry.site.id for entry in entries]


def pair(clock: Clock, **kinds: object) -> tuple[Roster, SiteEntry, SiteEntry]:
    """Two healthy sites, "a" nearer than "b"."""
    roster = measured(table(site("a"), site("b")), {"a": NEAR, "b": FAR}, clock, **kinds)
    return roster, roster.entries[url("a")], roster.entries[url("b")]


def eject(roster: Roster, entry: SiteEntry) -> None:
    roster.bad(entry, "silent")
    roster.bad(entry, "silent")
