"""The choice for every exchange account in use: kept ready, so that an order only looks it up."""

import logging
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from math import inf, isnan
from typing import Final

from ..settings import Settings
from .directory import Directory
from .entry import SiteEntry
from .selector import Candidate, CostFunction, Held, hold, network_cost, place

__all__ = ["Choices", "guarded"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_MOST: Final = 1_000
"""Accounts kept ready; who asks for more than the service has asks for names that do not exist."""

_BEST: Final = 2
_Seen = dict[Hashable, tuple[Held, list[SiteEntry]]]


def guarded(cost: CostFunction) -> CostFunction:
    """Return a cost that never raises: where the user's does, or is not a number, the round trip counts.

    It is asked whenever a site's health changes, in the midst of calls whose orders are under way.
    """
    if cost is network_cost:
        return cost
    is_told = False

    def safe(candidate: Candidate) -> float:
        """What the user's says, or the round trip."""
        nonlocal is_told
        try:
            found = float(cost(candidate))
        except Exception:
            if not is_told:
                is_told = True
                log.exception("the cost function failed on site %s: its round trip counts", candidate.site.id)
            return network_cost(candidate)
        return network_cost(candidate) if isnan(found) else found

    return safe


class _Account:
    """One exchange account, None for any: who can serve it, and who is to."""

    __slots__ = ("capable", "exchange_id", "for_order", "held", "home", "left", "ranking")

    def __init__(self, exchange_id: str | None, for_order: bool) -> None:
        self.exchange_id = exchange_id
        self.for_order = for_order
        self.capable: tuple[SiteEntry, ...] = ()
        self.home: str | None = None
        self.held = Held()
        self.left: SiteEntry | None = None
        """The site that was in use until it was suspected, as long as it is no more than that."""
        self.ranking: list[SiteEntry] = []

    def __str__(self) -> str:
        name = self.exchange_id or "any exchange"
        return f"{name}, orders" if self.for_order else name


class Choices:
    """Who serves whom.

    `ready` and `ready_for_orders` are the rankings by account, best first; they are one and the same unless orders
    prefer the exchange's home.
    """

    def __init__(self, settings: Settings, cost: CostFunction) -> None:
        self._settings = settings
        self._cost = cost
        self._accounts: dict[tuple[str | None, bool], _Account] = {}
        self.ready: dict[str | None, list[SiteEntry]] = {}
        self.ready_for_orders = {} if settings.prefer_home_for_orders else self.ready
        self.best: frozenset[SiteEntry] = frozenset()
        """The two best sites of every account in use: the first choice and its successor."""
        self.due = inf
        """When the next round of any account is due, monotonic."""
        self._turn = 0

    def begin(
        self,
        exchange_id: str | None,
        *,
        for_order: bool,
        directory: Directory,
        entries: Mapping[str, SiteEntry],
        now: float,
    ) -> list[SiteEntry]:
        """Return the ranking for an account asked for the first time, empty if nobody can serve it."""
        account = _Account(exchange_id, for_order and self._settings.prefer_home_for_orders)
        self._place(account, directory, entries)
        if not account.capable:
            return []
        if len(self._accounts) >= _MOST:
            self._accounts.clear()
            self.ready.clear()
            self.ready_for_orders.clear()
        self._accounts[exchange_id, account.for_order] = account
        down = tuple(entry for entry in account.capable if entry.health.flags.down(now))
        self._look(account, now, {}, down, None)
        self._sum_up()
        return account.ranking

    def would(
        self, names: Iterable[str], *, directory: Directory, entries: Mapping[str, SiteEntry], now: float
    ) -> dict[str, SiteEntry]:
        """Return where an order of each account would go now, but of those nobody serves; changes nothing."""
        for_order = self._settings.prefer_home_for_orders
        down = tuple(entry for entry in entries.values() if entry.health.flags.down(now))
        seen, found = _Seen(), {}
        for name in names:
            account = self._accounts.get((name, for_order))
            if account is not None:
                found[name] = account.ranking[0]
                continue
            account = _Account(name, for_order)
            self._place(account, directory, entries)
            if account.capable:
                found[name] = self._found(account, now, seen, down, None)[1][0]
        return found

    def take_over(self, directory: Directory, entries: Mapping[str, SiteEntry]) -> None:
        """Take over a new site table; accounts that nobody serves any more are forgotten."""
        for key, account in list(self._accounts.items()):
            self._place(account, directory, entries)
            if not account.capable:
                del self._accounts[key]
                (self.ready_for_orders if account.for_order else self.ready).pop(account.exchange_id)

    @staticmethod
    def _place(account: _Account, directory: Directory, entries: Mapping[str, SiteEntry]) -> None:
        account.capable = tuple(entries[site.url] for site in directory.capable(account.exchange_id))
        account.home = directory.home(account.exchange_id) if account.exchange_id else None

    def evaluate(self, now: float, entries: Collection[SiteEntry], *, returned: SiteEntry | None = None) -> None:
        """Look at every account again.

        returned: a site that has just become healthy after it was new or ejected.
        """
        for _ in self.looks(now, entries, returned=returned):
            pass

    def looks(
        self, now: float, entries: Collection[SiteEntry], *, returned: SiteEntry | None = None
    ) -> Iterator[None]:
        """Look at every account again, one a turn, for whoever wants to do something else in between."""
        self._turn += 1
        turn, seen = self._turn, _Seen()
        down = tuple(entry for entry in entries if entry.health.flags.down(now))
        url = None if returned is None else returned.site.url
        for key, account in list(self._accounts.items()):
            if self._accounts.get(key) is account:
                self._look(account, now, seen, down, url)
                yield
                if turn != self._turn:
                    return  # in between everything was looked at anew
        self._sum_up()

    def _sum_up(self) -> None:
        accounts = self._accounts.values()
        self.due = min((one.held.due(self._settings) for one in accounts), default=inf)
        is_any = all(one.exchange_id is None for one in accounts)
        self.best = frozenset(() if is_any else [entry for one in accounts for entry in one.ranking[:_BEST]])

    def _look(
        self,
        account: _Account,
        now: float,
        seen: _Seen,
        down: Sequence[SiteEntry],
        returned: str | None,
    ) -> None:
        """Choose anew for one account."""
        name = account.exchange_id
        before, ranking = account.held.url, account.ranking
        account.held, account.ranking = self._found(account, now, seen, down, returned)
        if account.left is not None or before != account.held.url:
            used = [account.left] if account.left is not None else ranking[:1]
            account.left = next((one for one in used if one.is_suspect and one is not account.ranking[0]), None)
        (self.ready_for_orders if account.for_order else self.ready)[name] = account.ranking
        if before != account.held.url:
            self._tell(account, before, account.ranking[0])

    def _found(
        self, account: _Account, now: float, seen: _Seen, down: Sequence[SiteEntry], returned: str | None
    ) -> tuple[Held, list[SiteEntry]]:
        """Rank one account's sites, or take what was found for another one that is like it."""
        name = account.exchange_id
        key: Hashable = (
            account.capable,
            account.home,
            account.for_order,
            account.held,
            account.left,
            # What else may differ: where the account is unreachable, and what a cost of the user's says.
            name if self._cost is not network_cost or name is None else None,
            name is None,
            tuple(entry for entry in down if entry.health.flags.is_down(name, now)),
        )
        found = seen.get(key)
        if found is None:
            found = seen[key] = self._ranked(account, now, returned)
        return found

    def _ranked(self, account: _Account, now: float, returned: str | None) -> tuple[Held, list[SiteEntry]]:
        by_url = {entry.site.url: entry for entry in account.capable}
        placed = place(
            [entry.candidate(account.exchange_id, account.home, now) for entry in account.capable],
            cost=self._cost,
            prefer_home=account.for_order,
        )
        urls = [one.candidate.site.url for one in placed]
        if account.exchange_id is None:  # whoever is nearest now: nothing is gained by staying
            held = Held(urls[0])
        else:
            left = None if account.left is None else account.left.site.url
            held = hold(account.held, placed, now, self._settings, returned=returned, left=left)
            urls.sort(key=lambda url: url != held.url)
        return held, [by_url[url] for url in urls]

    @staticmethod
    def _tell(account: _Account, before: str | None, entry: SiteEntry) -> None:
        old = next((one.site.id for one in account.capable if one.site.url == before), "none")
        estimate = entry.estimator.estimate
        level = logging.DEBUG if account.exchange_id is None else logging.INFO
        shown = "no estimate" if estimate is None else f"{estimate * 1000:.1f} ms"
        log.log(level, "%s: site %s -> %s (%s)", account, old, entry.site.id, shown)

    def chosen_by(self, entry: SiteEntry) -> tuple[str, ...]:
        """Return the accounts in use that go there first."""
        names = {one.exchange_id for one in self._accounts.values() if one.ranking[0] is entry}
        return tuple(sorted(name for name in names if name is not None))

    def lost(self) -> list[str]:
        """Return the accounts in use all of whose sites are ejected."""
        return [str(one) for one in self._accounts.values() if all(entry.is_lost for entry in one.capable)]
