"""The only place that knows our client from the inside: estimator, choice, probe intervals, states.

Everything else in the rig keeps to the public names of the package.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final, cast

from coinapi_ems_async import Settings
from coinapi_ems_async.sites.directory import Directory, Site
from coinapi_ems_async.sites.estimator import Estimator
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.roster import Roster
from coinapi_ems_async.sites.selector import Candidate, rank
from coinapi_ems_async.sites.view import SiteView
from coinapi_ems_async.transport.base import Pool

__all__ = ["EJECTED", "HEALTHY", "SUSPECT", "Ours", "cache_settings", "first_choice", "full_roster", "take_sample"]

HEALTHY: Final = Health.HEALTHY.value
SUSPECT: Final = Health.SUSPECT.value
EJECTED: Final = Health.EJECTED.value


class Ours:
    """The client's own estimator and choice as a policy; `interval` None: probed as often as the client does."""

    pace = 0.1

    def __init__(self, sites: int, interval: float | None = None) -> None:
        self._fixed = interval
        self._settings = Settings()
        self._estimators = [Estimator() for _ in range(sites)]
        self._sites = [_site(number) for number in range(sites)]
        self._incumbent: str | None = None

    @property
    def interval(self) -> float:
        """Seconds to the first probe."""
        return self._fixed or self._settings.probe_interval

    def probed(self, site: int, sample: float, now: float) -> None:
        self._estimators[site].add(sample)

    def choose(self, now: float) -> int:
        pairs = zip(self._sites, self._estimators, strict=True)
        candidates = [Candidate(site, Health.HEALTHY, one.estimate) for site, one in pairs]
        self._incumbent = rank(candidates, incumbent=self._incumbent)[0].url
        return next(number for number, site in enumerate(self._sites) if site.url == self._incumbent)

    def until_next(self, site: int) -> float:
        if self._fixed is not None:
            return self._fixed
        mine, settings = self._estimators[site].estimate or inf, self._settings
        best = min(one.estimate or inf for one in self._estimators)
        if mine <= best:
            return settings.probe_interval
        is_slow = mine > 2 * best and mine > best + 0.020
        return settings.probe_interval_slow if is_slow else settings.probe_interval_others


def _site(number: int, exchanges: frozenset[str] = frozenset()) -> Site:
    return Site(id=f"site-{number:02}", url=f"https://10.0.0.{number}:8443", exchanges=exchanges)


def full_roster(sites: int, exchanges: Sequence[str]) -> tuple[Roster, list[Any]]:
    """Return a roster whose sites serve every account and have estimates, and its entries; its pools are none."""
    roster = Roster(lambda _site, _for_probes: cast(Pool, None))
    table = [_site(number, frozenset(exchanges)) for number in range(sites)]
    roster.apply(Directory(sites={site.url: site for site in table}, homes={}))
    entries = [roster.entries[site.url] for site in table]
    for number, entry in enumerate(entries):
        roster.good(entry)
        for _ in range(3):
            roster.sampled(entry, 0.010 + 0.003 * number)
    return roster, entries


def take_sample(roster: Roster, entry: Any, seconds: float) -> None:
    """Let a probe end, with all that follows for the choice."""
    roster.sampled(entry, seconds)


def first_choice(views: Sequence[SiteView], exchange_id: str) -> str | None:
    """Return the id of the site to which calls for this account go first."""
    return next((view.id for view in views), None)


def cache_settings(folder: str) -> Mapping[str, Any] | None:
    """Return the settings that keep the site table in a folder; None if this client keeps none."""
    return {"cache_dir": folder, "refresh_retry": 1.0} if "cache_dir" in Settings.__struct_fields__ else None
