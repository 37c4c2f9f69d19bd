"""Which site to take: an order over candidates, and when to change. Pure: estimates and time come in."""

from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf, isinf
from typing import Final, NamedTuple

import msgspec

from ..settings import Settings
from .directory import Site
from .health import RANK, Health

__all__ = [
    "Candidate",
    "CostFunction",
    "Held",
    "Placed",
    "first_pick",
    "hold",
    "hop_cost",
    "network_cost",
    "place",
    "rank",
]

_DEFAULTS: Final = Settings()


class Candidate(msgspec.Struct, frozen=True):
    """A site with what is known of it, for one choice.

    estimate: its round trip in seconds, None before the first. at_home: whether the exchange is connected there.
    exchange_id: the account to be served, None if any will do. is_flagged: whether it comes after its peers for
    now. in_flight: requests under way. last_success: when it last gave a good answer, monotonic. doubt: by how
    much the estimate may be too high, seconds.
    """

    site: Site
    health: Health
    estimate: float | None
    at_home: bool = False
    exchange_id: str | None = None
    is_flagged: bool = False
    in_flight: int = 0
    last_success: float = -inf
    doubt: float = inf


CostFunction = Callable[[Candidate], float]
"""How far a site is, seconds; infinite if unknown."""


def network_cost(candidate: Candidate) -> float:
    """Return the round trip to the site, seconds; infinite before it has an estimate."""
    return inf if candidate.estimate is None else candidate.estimate


def hop_cost(hop: Callable[[Site, str | None], float]) -> CostFunction:
    """Return the cost that adds `hop(site, exchange_id)`: the seconds from there to the exchange and back.

    At the exchange's home location it is zero, and `hop` is not asked.
    """

    def cost(candidate: Candidate) -> float:
        """The round trip, and the way on from there."""
        return network_cost(candidate) + (0.0 if candidate.at_home else hop(candidate.site, candidate.exchange_id))

    return cost


class Placed(NamedTuple):
    """A candidate with its place: lower `peers` are better whatever the cost, only equals are compared by cost."""

    peers: tuple[int, bool, bool]
    cost: float
    is_away: bool
    in_flight: int
    location: str
    site_id: str
    candidate: Candidate


def place(
    candidates: Iterable[Candidate], *, cost: CostFunction = network_cost, prefer_home: bool = False
) -> list[Placed]:
    """Return the candidates, best first: health, flags, then cost; equals by home, work under way, and name.

    prefer_home: the exchange's home location comes before the others of the same health. Ejected ones are in the
    order of their last success.
    """
    placed = [_placed(one, cost, prefer_home) for one in candidates]
    placed.sort(key=_order)
    return placed


def _placed(one: Candidate, cost: CostFunction, prefer_home: bool) -> Placed:
    is_lost = one.health is Health.EJECTED
    return Placed(
        (RANK[one.health], one.is_flagged, prefer_home and not one.at_home),
        -one.last_success if is_lost else cost(one),
        not one.at_home,
        one.in_flight,
        one.site.location_id or "",
        one.site.id,
        one,
    )


def _order(one: Placed) -> tuple[tuple[int, bool, bool], float, bool, int, str, str]:
    return one[:6]


def _beats(
    challenger: Placed,
    held: Placed,
    settings: Settings,
    doubt: float = 0.0,
    *,
    least: float = 1.0,
    share: float = 1.0,
) -> bool:
    """Differences below max(2 ms, 10 %) are noise: changing sites for them gains nothing.

    doubt: by how much what is held may cost less than it seems to. least, share: how much of the 2 ms, and of the
    10 %, is enough.
    """
    if isinf(held.cost):
        return not isinf(challenger.cost)
    cost = held.cost - doubt
    return cost - challenger.cost > max(least * settings.switch_least, share * settings.switch_share * cost)


def _lasting(held: Placed, placed: Sequence[Placed], settings: Settings) -> Placed | None:
    """Return who takes over if that stays so: the home for one that is away, else the best; None for nobody."""
    best = placed[0]
    if held.is_away:
        home = next((one for one in placed if not one.is_away), None)
        if home is not None and _is_as_good(home, best, settings):
            return home
    return best if _beats_for_long(best, held, settings) else None


def _is_as_good(home: Placed, best: Placed, settings: Settings) -> bool:
    """Whether less than half of what it takes to leave the home is between them: at all of it they alternate."""
    return home.peers == best.peers and not _beats(best, home, settings, least=0.5, share=0.5)


def _beats_for_long(challenger: Placed, held: Placed, settings: Settings) -> bool:
    """Half as much is none any more if it stays; but what is saved from home may be lost on the way on."""
    is_off = not held.is_away and challenger.is_away
    return not is_off and _beats(challenger, held, settings, share=0.5)


def first_pick(placed: Sequence[Placed], settings: Settings = _DEFAULTS) -> Placed:
    """Return the site to begin with: the best, or of those not clearly worse the one at home, the least busy."""
    best = placed[0]
    if best.candidate.health is Health.EJECTED:
        return best
    equals = (one for one in placed if one.peers == best.peers and not _beats(best, one, settings))
    return min(equals, key=lambda one: one[2:6])


class Held(msgspec.Struct, frozen=True):
    """The choice of one account, a value: the site in use, and the rounds in which another has beaten it.

    at: when the last of these rounds was, monotonic seconds. since: from when on another takes over if that stays
    so: one nearer by half of what is needed to beat it, or the home; infinite if there is none.
    """

    url: str | None = None
    rounds: int = 0
    at: float = -inf
    since: float = inf

    def due(self, settings: Settings) -> float:
        """Return when the next round is due; infinite while nothing beats the site in use."""
        late = self.since + settings.switch_patience
        return min(late, self.at + settings.switch_round) if self.rounds else late


_EARLY: Final = 0.005
"""Timers of some loops fire a little before their time."""


def hold(
    held: Held,
    placed: Sequence[Placed],
    now: float,
    settings: Settings = _DEFAULTS,
    *,
    returned: str | None = None,
    left: str | None = None,
) -> Held:
    """Return the choice after looking at it `now`; `placed` as `place` returns it.

    The site in use stays unless another one beats it in three rounds a second apart, in two if there is nothing
    to doubt, and in every look between; or is nearer by half as much for ten seconds, not enough to leave the
    home; or is the home, and for as long not even half of what it takes to leave it farther than the best. It is
    left at once if it is gone, has no estimate, or is no longer among the best in health; and for `returned`, a
    site that has just become healthy after it was new, suspect or ejected. If that is `left`, which was in use
    until it was suspected, it need only not be clearly farther.
    """
    if not placed:
        return Held()
    best = placed[0]
    mine = next((one for one in placed if one.candidate.site.url == held.url), None)
    is_lost = best.candidate.health is Health.EJECTED
    if is_lost or mine is None or mine.peers > best.peers or isinf(mine.cost) != isinf(best.cost):
        return Held(first_pick(placed, settings).candidate.site.url)
    if returned is not None and returned == left and _is_equal(returned, mine, placed, settings):
        return Held(returned)
    lasting = _lasting(mine, placed, settings)
    since = inf if lasting is None else min(held.since, now)
    if lasting is not None and now - since >= settings.switch_patience - _EARLY:
        return Held(lasting.candidate.site.url)
    if not _beats(best, mine, settings):
        return Held(held.url, since=since)
    if best.candidate.site.url == returned:
        return Held(returned)
    return _after_round(held, best, mine, now, since, settings)


def _after_round(held: Held, best: Placed, mine: Placed, now: float, since: float, settings: Settings) -> Held:
    """Count a round in which the best beats the site in use, if one is due; the last one decides."""
    if held.rounds and now < held.at + settings.switch_round - _EARLY:
        return msgspec.structs.replace(held, since=since)
    is_sure = _beats(best, mine, settings, mine.candidate.doubt)
    if held.rounds + 1 >= (settings.switch_sure_rounds if is_sure else settings.switch_rounds):
        return Held(best.candidate.site.url)
    return Held(held.url, held.rounds + 1, now, since)


def _is_equal(url: str, held: Placed, placed: Sequence[Placed], settings: Settings) -> bool:
    """Whether a site is as healthy as the one in use, and that not clearly nearer."""
    mine = next((one for one in placed if one.candidate.site.url == url), None)
    return mine is not None and mine.peers <= held.peers and not _beats(held, mine, settings)


def rank(
    candidates: Iterable[Candidate],
    *,
    tried: Collection[str] = (),
    preferred: str | None = None,
    incumbent: str | None = None,
    cost: CostFunction = network_cost,
    prefer_home: bool = False,
    settings: Settings = _DEFAULTS,
) -> list[Site]:
    """Return the sites, best first: the whole choice in one look, without rounds.

    preferred: URL of a site that goes first unless it is ejected: the one that took the order.
    incumbent: URL of the site in use; it stays first while the best is its equal and not clearly nearer.
    tried: URLs to leave out; ignored if nothing would be left.
    """
    placed = place(candidates, cost=cost, prefer_home=prefer_home)
    first = preferred if _may_go_first(placed, preferred) else _kept(placed, incumbent, settings)
    sites = [one.candidate.site for one in placed]
    if first is not None:
        sites.sort(key=lambda site: site.url != first)
    return [site for site in sites if site.url not in tried] or sites


def _may_go_first(placed: Sequence[Placed], preferred: str | None) -> bool:
    return any(
        one.candidate.site.url == preferred and one.candidate.health is not Health.EJECTED for one in placed
    )


def _kept(placed: Sequence[Placed], incumbent: str | None, settings: Settings) -> str | None:
    mine = next((one for one in placed if one.candidate.site.url == incumbent), None)
    if mine is None or mine.peers > placed[0].peers or _beats(placed[0], mine, settings):
        return None
    return incumbent
