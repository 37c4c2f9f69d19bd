"""When a read is asked elsewhere too: pure, so the times come from the test."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async.hedging import ServiceTimes

SITE, READ = "https://a.example", "positions"
ROUND_TRIP = 0.020


def after(times: ServiceTimes) -> float:
    return times.hedge_after(SITE, READ, ROUND_TRIP)


def taught(*samples: float) -> ServiceTimes:
    times = ServiceTimes()
    for seconds in samples:
        times.answered(SITE, READ, seconds)
    return times


def test_before_there_are_sixteen_samples_the_round_trip_decides() -> None:
    assert after(taught()) == pytest.approx(0.090)
    assert after(taught(*(0.020,) * 15)) == pytest.approx(0.090)
    assert after(taught(*(0.020,) * 16)) == pytest.approx(0.020)
    assert taught().hedge_after(SITE, READ, None) == 1.0


def test_sites_and_operations_have_times_of_their_own() -> None:
    times = taught(*(0.020,) * 64)
    assert times.hedge_after("https://b.example", READ, ROUND_TRIP) == pytest.approx(0.090)
    assert times.hedge_after(SITE, "balances", ROUND_TRIP) == pytest.approx(0.090)


def test_it_is_the_95th_percentile_but_at_most_twice_the_median() -> None:
    times = taught(*(0.020 + 0.0001 * turn for turn in range(100)))
    assert after(times) == pytest.approx(0.0295, abs=0.0007)
    slow = taught(*(0.320 if turn % 10 == 0 else 0.020 for turn in range(1024)))
    assert after(slow) == pytest.approx(0.040)


@pytest.mark.parametrize("count", [16, 40, 100, 200, 500])
def test_a_bad_beginning_does_not_delay_hedges_to_twice_the_median(count: int) -> None:
    random, times = Random(count), ServiceTimes()
    for turn in range(count):
        if turn % 10 == 0:
            times.given_up(SITE, READ, 0.080)
        else:
            times.answered(SITE, READ, 0.020 + 0.010 * random.random())
    assert 0.025 < after(times) < 0.031
    for _ in range(512):
        times.answered(SITE, READ, 0.020)
    assert after(times) == pytest.approx(0.020)


def test_where_all_are_within_twice_the_median_few_samples_are_no_exception() -> None:
    assert after(taught(*(0.020,) * 15, *(0.039,) * 15)) == pytest.approx(0.039)


def test_three_slow_reads_in_a_hundred_do_not_delay_the_hedges_that_they_need() -> None:
    random, times, late = Random(1), ServiceTimes(), 0
    for turn in range(21_024):
        late += turn >= 1024 and after(times) > 0.030
        if random.random() < 0.03:
            times.given_up(SITE, READ, 0.060)
        else:
            times.answered(SITE, READ, 0.020 + 0.010 * random.random())
    assert late < 0.01 * 20_000


def test_a_burst_of_hedges_at_a_site_that_falls_silent_does_not_delay_the_next() -> None:
    times = taught(*(0.020,) * 1024)
    for _ in range(20):
        times.given_up(SITE, READ, 0.060)
        assert after(times) == pytest.approx(0.020)


def test_a_service_that_has_become_slower_as_a_whole_is_followed_within_120_reads() -> None:
    times = taught(*(0.020,) * 1024, *(0.100,) * 120)
    assert after(times) == pytest.approx(0.100)


def test_what_was_given_up_early_says_nothing() -> None:
    times = taught(*(0.020,) * 1024)
    for _ in range(1024):
        times.given_up(SITE, READ, 0.001)
    assert after(times) == pytest.approx(0.020)


@given(st.lists(st.tuples(st.booleans(), st.floats(min_value=0, max_value=60)), max_size=200))
def test_it_is_always_within_its_bounds_and_no_loser_lowers_it(reads: list[tuple[bool, float]]) -> None:
    times = taught(*(0.020,) * 1024)
    for is_answer, seconds in reads:
        before = after(times)
        if is_answer:
            times.answered(SITE, READ, seconds)
        else:
            times.given_up(SITE, READ, seconds)
        assert 0.010 <= after(times) <= 1.0
        if not is_answer and not any(answered for answered, _ in reads):
            assert after(times) >= before
