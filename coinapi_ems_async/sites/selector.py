"""Which site to take: an order over candidates. Pure: whoever asks brings the estimates."""

from collections.abc import Callable, Collection, Iterable
from math import inf

import msgspec

from .directory import Site
from .health import RANK, Health

__all__ = ["Candidate", "CostFunction", "network_cost", "rank"]


class Candidate(msgspec.Struct, frozen=True):
    """A site with what is known of it: `estimate` is its round trip in seconds, None before the first."""

    site: Site
    health: Health
    estimate: float | None
    at_home: bool = False


CostFunction = Callable[[Candidate], float]


def network_cost(candidate: Candidate) -> float:
    """Return the round trip to the site, seconds; infinite before it has an estimate."""
    return inf if candidate.estimate is None else candidate.estimate


def rank(
    candidates: Iterable[Candidate],
    *,
    tried: Collection[str] = (),
    preferred: str | None = None,
    incumbent: str | None = None,
    cost: CostFunction = network_cost,
) -> list[Site]:
    """Return the sites, best first.

    Health first, then cost, then the exchange's home location, then the id, so that equals do not flap.
    preferred: URL of a site that goes first unless it is ejected: the one that took the order.
    incumbent: URL of the site in use; it stays first while the best is healthy too but not clearly nearer.
    tried: URLs to leave out; ignored if nothing would be left.
    """
    ordered = sorted(candidates, key=lambda one: _key(one, preferred, cost))
    if preferred is None and incumbent is not None:
        _keep(ordered, incumbent, cost)
    untried = [one.site for one in ordered if one.site.url not in tried]
    return untried or [one.site for one in ordered]


def _key(one: Candidate, preferred: str | None, cost: CostFunction) -> tuple[bool, int, float, bool, str]:
    first = one.site.url == preferred and one.health is not Health.EJECTED
    return (not first, RANK[one.health], cost(one), not one.at_home, one.site.id)


def _keep(ordered: list[Candidate], incumbent: str, cost: CostFunction) -> None:
    """Differences below max(2 ms, 10 %) are noise: changing sites for them gains nothing."""
    index = next((i for i, one in enumerate(ordered) if one.site.url == incumbent), 0)
    best, held = ordered[0] if ordered else None, ordered[index] if ordered else None
    if index == 0 or best is None or held is None or held.health is not best.health:
        return
    if cost(held) - cost(best) <= max(0.002, 0.1 * cost(held)):
        ordered.insert(0, ordered.pop(index))
