"""Estimator, health and selector: pure, so time and samples come from the test."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async.sites.directory import Site
from coinapi_ems_async.sites.estimator import Estimator
from coinapi_ems_async.sites.health import RANK, Health, HealthRecord
from coinapi_ems_async.sites.selector import Candidate, network_cost, rank


def site(name: str) -> Site:
    return Site(id=name, url=f"https://{name}.example")


def candidate(
    name: str, estimate: float | None = None, health: Health = Health.HEALTHY, *, home: bool = False
) -> Candidate:
    return Candidate(site(name), health, estimate, home)


def names(sites: list[Site]) -> list[str]:
    return [one.id for one in sites]


# Estimator


def test_no_sample_no_estimate() -> None:
    assert Estimator().estimate is None


def test_the_estimate_is_the_floor_of_the_last_eight() -> None:
    estimator = Estimator()
    for sample in (0.020, 0.021, 0.030, 0.022):
        estimator.add(sample)
    assert estimator.estimate == 0.020
    for _ in range(8):
        estimator.add(0.021)
    assert estimator.estimate == 0.021
    assert len(estimator.samples) == 8
    estimator.clear()
    assert estimator.estimate is None


def test_a_path_that_became_slower_is_seen_after_three_samples() -> None:
    estimator = Estimator()
    for _ in range(8):
        estimator.add(0.020)
    estimator.add(0.060)
    estimator.add(0.061)
    assert estimator.estimate == 0.020
    estimator.add(0.062)
    assert estimator.estimate == 0.060


def test_jitter_does_not_reset() -> None:
    estimator = Estimator()
    for sample in (0.020, 0.030, 0.020, 0.031, 0.020):
        estimator.add(sample)
    for _ in range(3):
        estimator.add(0.024)
    assert estimator.estimate == 0.020


@given(st.lists(st.floats(min_value=1e-6, max_value=10), min_size=1, max_size=50))
def test_the_estimate_is_always_one_of_the_last_samples(samples: list[float]) -> None:
    estimator = Estimator()
    for sample in samples:
        estimator.add(sample)
        assert estimator.estimate is not None
    assert estimator.estimate in samples[-8:]
    assert estimator.estimate <= samples[-1]


# Health


def test_one_failure_is_a_suspicion_the_second_an_ejection() -> None:
    record = HealthRecord()
    walk = [(record.state, False)]
    for step in (record.good, record.good, *(lambda: record.bad("why"),) * 3, record.good):
        changed = step()
        walk.append((record.state, changed))
    assert walk == [
        (Health.NEW, False),
        (Health.HEALTHY, True),
        (Health.HEALTHY, False),
        (Health.SUSPECT, True),
        (Health.EJECTED, True),
        (Health.EJECTED, False),
        (Health.HEALTHY, True),
    ]
    assert record.last_error == "why"
    assert record.failures == 0


# Selector


def test_the_nearest_healthy_site_comes_first() -> None:
    ranked = rank(
        [
            candidate("far", 0.040),
            candidate("near", 0.005),
            candidate("unknown"),
            candidate("ill", 0.001, Health.SUSPECT),
            candidate("new", 0.001, Health.NEW),
            candidate("dead", 0.001, Health.EJECTED),
        ]
    )
    assert names(ranked) == ["near", "far", "unknown", "new", "ill", "dead"]


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


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcdefgh"),
        st.none() | st.floats(min_value=0.0001, max_value=1),
        st.sampled_from(Health),
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
