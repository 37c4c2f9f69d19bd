"""The choice: pure, so estimates and time come from the test."""

from itertools import pairwise
from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import Settings
from coinapi_ems_async.sites.directory import Site
from coinapi_ems_async.sites.health import RANK, Health
from coinapi_ems_async.sites.selector import (
    Candidate,
    Held,
    first_pick,
    hold,
    hop_cost,
    network_cost,
    place,
    rank,
)

SETTINGS = Settings()


def site(name: str) -> Site:
    return Site(id=name, url=f"https://{name}.example")


def candidate(
    name: str, estimate: float | None = None, health: Health = Health.HEALTHY, *, home: bool = False
) -> Candidate:
    return Candidate(site(name), health, estimate, home)


def names(sites: list[Site]) -> list[str]:
    return [one.id for one in sites]


# Selector


def test_the_nearest_healthy_site_comes_first() -> None:
    ranked = rank(
        [
            candidate("far", 0.040),
            candidate("near", 0.005),
            candidate("unknown"),
            candidate("ill", 0.001, Health.SUSPECT),
            candidate("new", 0.001, Health.NEW),
            candidate("back", 0.001, Health.PROBATION),
            candidate("dead", 0.001, Health.EJECTED),
        ]
    )
    assert names(ranked) == ["near", "far", "unknown", "back", "new", "ill", "dead"]


def test_equals_are_ordered_by_home_then_by_name() -> None:
    ranked = rank([candidate("b", 0.01), candidate("a", 0.01), candidate("c", 0.01, home=True)])
    assert names(ranked) == ["c", "a", "b"]


def test_sites_tried_before_are_left_out_unless_there_is_no_other() -> None:
    both = [candidate("a", 0.01), candidate("b", 0.02)]
    assert names(rank(both, tried={"https://a.example"})) == ["b"]
    assert names(rank(both, tried={"https://a.example", "https://b.example"})) == ["a", "b"]
    assert rank([]) == []


def test_the_preferred_site_comes_first_unless_it_is_ejected() -> None:
    both = [candidate("a", 0.01), candidate("b", 0.02, Health.SUSPECT)]
    assert names(rank(both, preferred="https://b.example")) == ["b", "a"]
    gone = [candidate("a", 0.01), candidate("b", 0.02, Health.EJECTED)]
    assert names(rank(gone, preferred="https://b.example")) == ["a", "b"]


def test_the_incumbent_stays_while_the_difference_is_noise() -> None:
    held = "https://a.example"
    assert names(rank([candidate("a", 0.0105), candidate("b", 0.010)], incumbent=held)) == ["a", "b"]
    assert names(rank([candidate("a", 0.0121), candidate("b", 0.010)], incumbent=held)) == ["b", "a"]
    assert names(rank([candidate("a", 0.105), candidate("b", 0.100)], incumbent=held)) == ["a", "b"]
    ill = candidate("a", 0.010, Health.SUSPECT)
    assert names(rank([ill, candidate("b", 0.011)], incumbent=held)) == ["b", "a"]


def test_the_cost_can_be_replaced() -> None:
    hops = {"near": 0.080, "home": 0.0}
    ranked = rank(
        [candidate("near", 0.005), candidate("home", 0.060)],
        cost=lambda one: network_cost(one) + hops[one.site.id],
    )
    assert names(ranked) == ["home", "near"]
    assert network_cost(candidate("x")) == inf


def test_a_hop_is_added_everywhere_but_at_home() -> None:
    """The nearer site is not the nearer way: 5 ms and 80 to the exchange, or 60 ms and none."""
    asked: list[tuple[str, str | None]] = []

    def hop(site: Site, exchange_id: str | None) -> float:
        asked.append((site.id, exchange_id))
        return 0.080

    near = Candidate(site("near"), Health.HEALTHY, 0.005, exchange_id="KRAKEN")
    home = Candidate(site("home"), Health.HEALTHY, 0.060, at_home=True, exchange_id="KRAKEN")
    assert names(rank([near, home])) == ["near", "home"]
    assert names(rank([near, home], cost=hop_cost(hop))) == ["home", "near"]
    assert asked == [("near", "KRAKEN")]


def test_the_home_may_be_preferred_as_long_as_it_is_as_healthy() -> None:
    near, home = candidate("near", 0.005), candidate("home", 0.060, home=True)
    assert names(rank([near, home], prefer_home=True)) == ["home", "near"]
    ill = candidate("home", 0.060, Health.SUSPECT, home=True)
    assert names(rank([near, ill], prefer_home=True)) == ["near", "home"]


def test_a_flag_ranks_last_among_peers_and_excludes_nobody() -> None:
    flagged = Candidate(site("a"), Health.HEALTHY, 0.001, is_flagged=True)
    both = [flagged, candidate("b", 0.040), candidate("c", 0.001, Health.PROBATION)]
    assert names(rank(both)) == ["b", "a", "c"]
    assert names(rank([flagged])) == ["a"]


def test_ejected_sites_are_tried_in_the_order_of_their_last_success() -> None:
    lost = [
        Candidate(site(name), Health.EJECTED, None, last_success=when)
        for name, when in (("a", 10.0), ("b", 30.0), ("c", 20.0), ("d", -inf))
    ]
    assert names(rank(lost)) == ["b", "c", "a", "d"]
    assert hold(Held("https://a.example"), place(lost), 40.0) == Held("https://b.example")


def test_the_first_pick_among_equals_is_the_home_then_the_least_busy() -> None:
    best = Candidate(site("a"), Health.HEALTHY, 0.020, in_flight=9)
    busy = Candidate(site("b"), Health.HEALTHY, 0.021, in_flight=3)
    home = Candidate(site("z"), Health.HEALTHY, 0.0215, at_home=True)
    far = Candidate(site("c"), Health.HEALTHY, 0.023)
    assert first_pick(place([best, busy, home, far])).candidate is home
    assert first_pick(place([best, busy, far])).candidate is busy
    assert first_pick(place([best, far])).candidate is best


# Rounds


def test_a_site_in_use_is_left_after_three_rounds() -> None:
    both = place([candidate("a", 0.030), candidate("b", 0.020)])
    a, b = "https://a.example", "https://b.example"
    first = hold(Held(a), both, 10.0)
    assert first == Held(a, 1, 10.0, 10.0)
    assert first.due(SETTINGS) == 11.0
    assert hold(first, both, 10.5) == first
    second = hold(first, both, 11.0)
    assert second == Held(a, 2, 11.0, 10.0)
    assert hold(second, both, 12.0) == Held(b)
    assert Held(b).due(SETTINGS) == inf


def test_two_rounds_are_enough_if_it_cannot_be_noise() -> None:
    mine = Candidate(site("a"), Health.HEALTHY, 0.030, doubt=0.0069)
    both = place([mine, candidate("b", 0.020)])
    first = hold(Held("https://a.example"), both, 10.0)
    assert first == Held("https://a.example", 1, 10.0, 10.0)
    assert hold(first, both, 11.0) == Held("https://b.example")
    doubtful = place([msgspec.structs.replace(mine, doubt=0.0079), candidate("b", 0.020)])
    assert hold(first, doubtful, 11.0) == Held("https://a.example", 2, 11.0, 10.0)


def test_one_look_without_a_better_site_begins_the_rounds_anew() -> None:
    worse = place([candidate("a", 0.030), candidate("b", 0.020)])
    equal = place([candidate("a", 0.021), candidate("b", 0.020)])
    held = hold(hold(Held("https://a.example"), worse, 10.0), worse, 11.0)
    assert held.rounds == 2
    assert hold(held, equal, 11.5) == Held("https://a.example")


def test_half_the_difference_is_enough_if_it_stays() -> None:
    both = place([candidate("a", 0.0375), candidate("b", 0.035)])
    a, b = "https://a.example", "https://b.example"
    begun = hold(Held(a), both, 10.0)
    assert begun == Held(a, since=10.0)
    assert begun.due(SETTINGS) == 20.0
    assert hold(begun, both, 19.0) == begun
    assert hold(begun, both, 20.0) == Held(b)
    pause = place([candidate("a", 0.0365), candidate("b", 0.035)])  # 4 %
    assert hold(begun, pause, 19.0) == Held(a)
    least = place([candidate("a", 0.0219), candidate("b", 0.020)])  # 9 %, but less than 2 ms
    assert hold(Held(a), least, 10.0) == Held(a)


def test_a_great_difference_does_not_wait_for_a_small_one() -> None:
    little, much = (place([candidate("a", cost), candidate("b", 0.035)]) for cost in (0.0375, 0.050))
    a, b = "https://a.example", "https://b.example"
    held = hold(Held(a), little, 10.0)
    held = hold(held, much, 12.5)
    assert held == Held(a, 1, 12.5, 10.0)
    assert held.due(SETTINGS) == 13.5
    assert hold(held, little, 13.0) == Held(a, since=10.0), "its rounds are over, its time is not"
    assert hold(hold(held, much, 13.5), much, 14.5) == Held(b)
    late = hold(Held(a, since=10.0), much, 19.5)
    assert late.due(SETTINGS) == 20.0
    assert hold(late, much, 20.0) == Held(b), "and the small one is not begun anew"


def test_the_home_is_not_left_for_half_the_difference() -> None:
    a, b = "https://a.example", "https://b.example"
    at_home = place([candidate("a", 0.0375, home=True), candidate("b", 0.035)])
    assert hold(Held(a), at_home, 10.0) == Held(a)
    both_at_home = place([candidate("a", 0.0375, home=True), candidate("b", 0.035, home=True)])
    assert hold(hold(Held(a), both_at_home, 10.0), both_at_home, 20.0) == Held(b)
    to_home = place([candidate("a", 0.0375), candidate("b", 0.035, home=True)])
    assert hold(hold(Held(a), to_home, 10.0), to_home, 20.0) == Held(b)


def looks(held: Held, *candidates: Candidate, begin: int = 10, seconds: int = 10) -> list[str | None]:
    """The choice at each of so many seconds, and one more."""
    urls, placed = [], place(candidates)
    for second in range(seconds + 1):
        held = hold(held, placed, begin + second)
        urls.append(held.url)
    return urls


def test_the_home_is_gone_back_to_once_it_is_as_good_for_ten_seconds() -> None:
    a, home = "https://a.example", "https://home.example"
    away, back = candidate("a", 0.0200), candidate("home", 0.0205, home=True)
    assert looks(Held(), away, back) == [home] * 11
    assert looks(Held(a), away, back) == [a] * 10 + [home]
    assert looks(Held(home), away, back, seconds=60) == [home] * 61
    begun = hold(Held(a), place([away, back]), 10.0)
    assert begun == Held(a, since=10.0)
    assert begun.due(SETTINGS) == 20.0
    ill = place([away, candidate("home", 0.0205, Health.SUSPECT, home=True)])
    assert hold(begun, ill, 19.0) == Held(a)


@pytest.mark.parametrize(
    ("away", "home", "is_gone_back_to"),
    [(0.020, 0.0209, True), (0.020, 0.0211, False), (0.095, 0.0995, True), (0.095, 0.1005, False)],
)
def test_it_is_left_for_twice_as_much_as_keeps_it_from_being_gone_back_to(
    away: float, home: float, is_gone_back_to: bool
) -> None:
    both = candidate("a", away), candidate("home", home, home=True)
    assert looks(Held("https://home.example"), *both, seconds=60)[-1] == "https://home.example"
    assert (looks(Held("https://a.example"), *both, seconds=60)[-1] == "https://home.example") is is_gone_back_to


def test_the_home_need_not_be_the_second_best_but_as_good_as_the_best() -> None:
    best, held = candidate("best", 0.0200), candidate("held", 0.0204)
    assert (
        looks(Held(held.site.url), best, held, candidate("home", 0.0209, home=True))[-1] == "https://home.example"
    )
    assert looks(Held(held.site.url), best, held, candidate("home", 0.0212, home=True))[-1] == held.site.url


def test_after_an_ejection_and_after_a_second_suspicion_an_account_comes_home() -> None:
    """It began at home for the same costs."""
    away, home = candidate("a", 0.0200), "https://home.example"

    def look(held: Held, now: float, health: Health, returned: str | None = None, left: str | None = None) -> Held:
        back = candidate("home", 0.0205, health, home=True)
        return hold(held, place([away, back]), now, returned=returned, left=left)

    held = look(Held(home), 10, Health.EJECTED)
    held = look(held, 12, Health.PROBATION)
    held = look(held, 13, Health.HEALTHY, returned=home)
    assert held == Held(away.site.url, since=13)
    assert look(held, 23, Health.HEALTHY) == Held(home)
    held = look(Held(home), 30, Health.SUSPECT)
    held = look(held, 31, Health.HEALTHY, left=home)
    assert held == Held(away.site.url, since=31)
    assert look(held, 41, Health.HEALTHY) == Held(home)


@pytest.mark.parametrize("health", [Health.SUSPECT, Health.EJECTED, Health.PROBATION, Health.NEW])
def test_health_does_not_wait_for_rounds(health: Health) -> None:
    both = place([candidate("a", 0.001, health), candidate("b", 0.020)])
    assert hold(Held("https://a.example"), both, 10.0) == Held("https://b.example")


def test_a_site_that_has_returned_does_not_wait_for_rounds_if_it_is_clearly_nearer() -> None:
    held, back = Held("https://a.example"), "https://b.example"
    clearly = place([candidate("a", 0.030), candidate("b", 0.020)])
    assert hold(held, clearly, 10.0, returned=back) == Held(back)
    barely = place([candidate("a", 0.021), candidate("b", 0.020)])
    assert hold(held, barely, 10.0, returned=back) == held


@pytest.mark.parametrize(
    ("estimate", "health", "is_taken"),
    [
        (0.019, Health.HEALTHY, True),
        (0.021, Health.HEALTHY, True),
        (0.030, Health.HEALTHY, False),
        (0.019, Health.SUSPECT, False),
        (None, Health.HEALTHY, False),
    ],
)
def test_a_site_that_was_only_suspected_is_taken_back_unless_it_is_clearly_farther(
    estimate: float | None, health: Health, is_taken: bool
) -> None:
    meanwhile, back = Held("https://a.example"), "https://b.example"
    both = place([candidate("a", 0.020), candidate("b", estimate, health)])
    assert hold(meanwhile, both, 10.0, returned=back) == meanwhile
    assert hold(meanwhile, both, 10.0, returned=back, left=back) == (Held(back) if is_taken else meanwhile)
    assert hold(meanwhile, both, 10.0, returned="https://a.example", left=back) == meanwhile


def test_a_choice_without_estimate_does_not_hold() -> None:
    both = place([candidate("a"), candidate("b", 0.020)])
    assert hold(Held("https://a.example"), both, 10.0) == Held("https://b.example")
    neither = place([candidate("a"), candidate("b")])
    assert hold(Held("https://b.example"), neither, 10.0) == Held("https://b.example")
    assert hold(Held("https://gone.example"), neither, 10.0) == Held("https://a.example")
    assert hold(Held("https://gone.example"), [], 10.0) == Held()


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdefgh").map(site),
        st.sampled_from([health for health in Health if health is not Health.DRAINING]),
        st.none() | st.floats(min_value=0.0001, max_value=1),
        st.booleans(),
        is_flagged=st.booleans(),
        in_flight=st.integers(min_value=0, max_value=9),
    ),
    unique_by=lambda one: one.site.id,
)


@given(CANDIDATES, st.sampled_from([None, "https://a.example", "https://b.example"]))
def test_ranking_loses_nobody_and_never_puts_health_behind_cost(
    candidates: list[Candidate], incumbent: str | None
) -> None:
    ranked = rank(candidates, incumbent=incumbent)
    health = {one.site.id: one.health for one in candidates}
    assert sorted(names(ranked)) == sorted(health)
    ranks = [RANK[health[one.id]] for one in ranked]
    assert ranks == sorted(ranks)


@given(CANDIDATES.filter(bool), st.sampled_from("abcdefgh"))
def test_after_three_rounds_the_choice_is_within_the_margin_of_the_best(
    candidates: list[Candidate], incumbent: str
) -> None:
    placed, held = place(candidates), Held(f"https://{incumbent}.example")
    for second in range(3):
        held = hold(held, placed, 10.0 + second)
    chosen = next(one for one in placed if one.candidate.site.url == held.url)
    best = placed[0]
    assert chosen.peers == best.peers
    if chosen.cost != best.cost:
        assert chosen.cost - best.cost <= max(0.002, 0.1 * chosen.cost)


@given(CANDIDATES.filter(bool), st.sampled_from("abcdefgh"))
def test_after_ten_seconds_only_the_home_is_farther_than_half_the_margin(
    candidates: list[Candidate], incumbent: str
) -> None:
    placed, held = place(candidates), Held(f"https://{incumbent}.example")
    for second in range(11):
        held = hold(held, placed, 10.0 + second)
    chosen = next(one for one in placed if one.candidate.site.url == held.url)
    best = placed[0]
    is_lost = best.candidate.health is Health.EJECTED
    if chosen.cost != best.cost and not is_lost and (chosen.is_away or not best.is_away):
        assert chosen.cost - best.cost <= max(0.002, 0.05 * chosen.cost)


CLOSE = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdefgh").map(site),
        st.sampled_from([Health.HEALTHY, Health.HEALTHY, Health.HEALTHY, Health.NEW, Health.EJECTED]),
        st.none() | st.floats(min_value=0.018, max_value=0.024) | st.floats(min_value=0.095, max_value=0.112),
        st.booleans(),
        in_flight=st.integers(min_value=0, max_value=9),
        doubt=st.sampled_from([0.0, 0.001, inf]),
    ),
    min_size=1,
    unique_by=lambda one: one.site.id,
)


@given(CANDIDATES.filter(bool) | CLOSE, st.sampled_from("abcdefgh"))
def test_while_nothing_changes_the_choice_settles_and_stays(candidates: list[Candidate], incumbent: str) -> None:
    """It changes three times at most: away from what is not there, to the best, and to the home."""
    urls = looks(Held(f"https://{incumbent}.example"), *candidates, seconds=90)
    assert sum(one != other for one, other in pairwise(urls)) <= 2
    assert len(set(urls[30:])) == 1
    placed = place(candidates)
    chosen = next(one for one in placed if one.candidate.site.url == urls[-1])
    if chosen.is_away and chosen.candidate.health is not Health.EJECTED:
        homes = [one.cost for one in placed if not one.is_away and one.peers == chosen.peers]
        assert all(cost - placed[0].cost > max(0.001, 0.05 * cost) for cost in homes if cost != inf)


@given(CANDIDATES.filter(bool), st.sets(st.sampled_from("abcdefgh")), st.sampled_from("abcdefgh"))
def test_an_ejected_site_comes_first_only_when_no_other_is_left_untried(
    candidates: list[Candidate], tried: set[str], preferred: str
) -> None:
    urls = {f"https://{name}.example" for name in tried}
    first = rank(candidates, tried=urls, preferred=f"https://{preferred}.example")[0]
    health = {one.site.url: one.health for one in candidates}
    if health[first.url] is Health.EJECTED:
        left = [one for one in health if one not in urls] or list(health)
        assert {health[url] for url in left} == {Health.EJECTED}
