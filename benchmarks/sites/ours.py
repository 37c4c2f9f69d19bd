"""The only place that knows our client from the inside: estimator, choice, probe intervals, states.

Everything else in the rig keeps to the public names of the package.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from coinapi_ems_async import Settings
from coinapi_ems_async.sites.directory import Directory, Site
from coinapi_ems_async.sites.estimator import Estimator
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.rhythm import interval
from coinapi_ems_async.sites.roster import Roster, SiteEntry
from coinapi_ems_async.sites.selector import Candidate, Held, hold, place
from coinapi_ems_async.sites.view import SiteView
from coinapi_ems_async.transport.base import Pool

__all__ = ["EJECTED", "HEALTHY", "SUSPECT", "Ours", "cache_settings", "first_choice", "full_roster", "take_sample"]

HEALTHY: Final = Health.HEALTHY.value
SUSPECT: Final = Health.SUSPECT.value
EJECTED: Final = Health.EJECTED.value


class Ours:
    """The client's own estimator and choice as a policy; `interval` None: probed as often as the client does.

    It looks when an estimate has changed, when a round is due, and every second, as the client does.
    """

    pace = 0.1

    def __init__(self, sites: int, interval: float | None = None) -> None:
        self._fixed = interval
        self._settings = Settings()
        self._estimators = [Estimator(self._settings) for _ in range(sites)]
        self._sites = [_site(number) for number in range(sites)]
        self._numbers = {site.url: number for number, site in enumerate(self._sites)}
        self._held = Held()
        self._changed = True
        self._looked_at = 0.0
        self._best: tuple[int, ...] = ()

    @property
    def interval(self) -> float:
        """Seconds to the first probe."""
        return self._fixed or self._settings.probe_interval

    def probed(self, site: int, sample: float, now: float) -> None:
        self._changed |= self._estimators[site].add(sample, now)

    def choose(self, now: float) -> int:
        if self._changed or now >= min(self._looked_at + 1.0, self._held.due(self._settings)):
            self._changed, self._looked_at = False, now
            self._look(now)
        return self._best[0]

    def _look(self, now: float) -> None:
        pairs = zip(self._sites, self._estimators, strict=True)
        placed = place([Candidate(site, Health.HEALTHY, one.at(now), doubt=one.doubt(now)) for site, one in pairs])
        self._held = hold(self._held, placed, now, self._settings)
        chosen = self._numbers[self._held.url or ""]
        others = (self._numbers[one.candidate.site.url] for one in placed)
        self._best = (chosen, next((one for one in others if one != chosen), chosen))

    def until_next(self, site: int) -> float:
        if self._fixed is not None:
            return self._fixed
        estimates = [one.estimate for one in self._estimators]
        best = min((one for one in estimates if one is not None), default=None)
        return interval(estimates[site], best, is_best=site in self._best, settings=self._settings)


def _site(number: int, exchanges: frozenset[str] = frozenset()) -> Site:
    return Site(id=f"site-{number:02}", url=f"https://10.0.0.{number}:8443", exchanges=exchanges)


def full_roster(sites: int, exchanges: Sequence[str]) -> tuple[Roster, list[SiteEntry]]:
    """Return a roster whose sites serve every account and have estimates, and its entries; its pools are none."""
    roster = Roster(lambda _site, _for_probes: cast(Pool, None))
    table = [_site(number, frozenset(exchanges)) for number in range(sites)]
    roster.apply(Directory(sites={site.url: site for site in table}, homes={}))
    entries = [roster.entries[site.url] for site in table]
    for number, entry in enumerate(entries):
        roster.good(entry)
        for _ in range(3):
            take_sample(roster, entry, 0.010 + 0.003 * number)
    return roster, entries


def take_sample(roster: Roster, entry: SiteEntry, seconds: float) -> None:
    """Let a probe end, with all that follows for the choice."""
    roster.sampled(entry, seconds)
    roster.evaluate()


def first_choice(views: Sequence[SiteView], exchange_id: str) -> str | None:
    """Return the id of the site to which calls for this account go first: the nearest one until one was made."""
    chosen = (view.id for view in views if exchange_id in view.chosen_by)
    return next(chosen, views[0].id if views else None)


def cache_settings(folder: str) -> Mapping[str, Any] | None:
    """Return the settings that keep the site table in a folder; None if this client keeps none."""
    return {"cache_dir": folder, "refresh_retry": 1.0} if "cache_dir" in Settings.__struct_fields__ else None
