"""Estimator and rhythm: pure, so time and samples come from the test."""

from math import inf
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import Settings
from coinapi_ems_async.sites.estimator import Estimator
from coinapi_ems_async.sites.rhythm import interval, timeout

SETTINGS = Settings()


# Estimator


def test_no_sample_no_estimate() -> None:
    estimator = Estimator()
    assert estimator.estimate is None
    assert estimator.at(5.0) is None


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


def test_with_more_probes_a_second_the_window_is_as_long_in_time() -> None:
    estimator = Estimator()
    for turn in range(40):
        estimator.add(0.020, 0.5 * turn)
    assert len(estimator.samples) == 16


def test_a_path_that_became_slower_is_seen_after_three_samples() -> None:
    estimator = Estimator()
    for _ in range(8):
        estimator.add(0.020)
    assert not estimator.add(0.060)
    assert not estimator.add(0.061)
    assert estimator.estimate == 0.020
    assert estimator.add(0.062)
    assert estimator.estimate == 0.060
    assert estimator.samples == (0.060, 0.061, 0.062)


def test_probes_a_second_apart_are_judged_by_the_last_eight() -> None:
    estimator, random, now = Estimator(), Random(1), 0.0
    for turn in range(500):
        estimator.add(0.020, now)
        now += random.uniform(0.9, 1.1)
        assert len(estimator.samples) == min(turn + 1, 8)


def test_a_run_that_may_be_noise_has_to_be_longer() -> None:
    # The spread is 2 ms: samples 9 ms above the estimate are four and a half spreads, which must add up to 20.
    estimator = Estimator()
    for turn in range(16):
        estimator.add(0.022 if turn % 2 else 0.020, 0.7 * turn)
    for turn in range(16, 20):
        estimator.add(0.029, 0.7 * turn)
        assert estimator.estimate == 0.020
    estimator.add(0.029, 0.7 * 20)
    assert estimator.samples == (0.029,) * 3


def test_what_an_estimate_may_be_too_high_by_is_what_it_was_of_late_or_five_spreads() -> None:
    estimator = Estimator()
    for turn in range(8):
        assert (estimator.doubt(turn) == inf) is (turn < 3)
        estimator.add(0.020, turn)
    assert estimator.doubt(8) == 0
    for turn, sample in enumerate((0.060, 0.060, 0.064), 8):
        estimator.add(sample, turn)
    assert estimator.estimate == 0.060
    assert estimator.doubt(11) == 0, "three samples with next to no spread"
    for turn, sample in enumerate((0.062, 0.062), 11):
        estimator.add(sample, turn)
    assert estimator.doubt(13) == pytest.approx(5 * 0.002)
    for turn in range(13, 24):
        estimator.add(0.062 if turn % 2 else 0.060, turn)
    assert estimator.doubt(24) == 0, "of late it was not quicker"
    estimator.sent(24.0)
    assert estimator.doubt(25.0) == pytest.approx(1.0 - 0.060)
    estimator.clear()
    assert estimator.doubt(25.0) == inf


def test_three_samples_count_as_a_change_only_over_a_second_and_a_quarter() -> None:
    estimator = Estimator()
    for turn in range(16):
        estimator.add(0.020, 0.5 * turn)
    for turn in range(16, 19):
        estimator.add(0.060, 0.5 * turn)
        assert estimator.estimate == 0.020
    estimator.add(0.060, 9.5)
    assert estimator.estimate == 0.060
    assert len(estimator.samples) == 3


def test_noise_just_before_a_change_does_not_hide_it() -> None:
    estimator = Estimator()
    for turn in range(16):
        estimator.add(0.020, 0.5 * turn)
    for turn, sample in enumerate((0.026, 0.060, 0.061, 0.062, 0.063), 16):
        estimator.add(sample, 0.5 * turn)
    assert estimator.samples == (0.060, 0.061, 0.062, 0.063)


def test_jitter_does_not_reset() -> None:
    estimator = Estimator()
    for sample in (0.020, 0.030, 0.020, 0.031, 0.020):
        estimator.add(sample)
    for _ in range(3):
        estimator.add(0.024)
    assert estimator.estimate == 0.020


def test_the_spread_is_that_of_the_samples_before_the_new_one() -> None:
    # Before the last sample: 20, 20, 50, 51, of which the spread is 15: three times that is more than it exceeds.
    # With the sample itself the spread would be 30, without any of the three it would be none.
    estimator = Estimator()
    for sample in (0.020, 0.020, 0.050, 0.051):
        estimator.add(sample)
    estimator.add(0.052)
    assert estimator.estimate == 0.020
    wide = Estimator()
    for sample in (0.020, 0.020, 0.020, 0.050, 0.051):
        wide.add(sample)
    wide.add(0.052)
    assert wide.estimate == 0.050


@pytest.mark.parametrize(("estimate", "doubt_after"), [(0.020, 0.070), (0.080, 0.160)])
def test_a_probe_in_flight_for_long_is_an_estimate_itself(estimate: float, doubt_after: float) -> None:
    estimator = Estimator()
    estimator.add(estimate)
    assert estimator.doubt_after == pytest.approx(doubt_after)
    estimator.sent(100.0)
    assert estimator.at(100.0 + doubt_after - 0.001) == estimate
    assert estimator.at(100.0 + doubt_after + 0.001) == pytest.approx(doubt_after + 0.001)
    estimator.excused(200.0)
    assert estimator.at(200.0 + doubt_after - 0.001) == estimate
    estimator.settled()
    estimator.excused(300.0)
    assert estimator.at(400.0) == estimate


def test_a_seed_ranks_until_the_first_sample() -> None:
    estimator = Estimator()
    estimator.seed(0.001)
    assert estimator.estimate == 0.001
    assert estimator.samples == ()
    assert estimator.doubt_after is None
    estimator.add(0.020)
    assert estimator.estimate == 0.020
    estimator.seed(0.001)
    assert estimator.estimate == 0.020
    estimator.clear()
    assert estimator.estimate is None


@given(st.lists(st.floats(min_value=1e-6, max_value=10), min_size=1, max_size=50))
def test_noise_alone_never_makes_a_path_surely_slower_than_it_was_seen(samples: list[float]) -> None:
    estimator = Estimator()
    for turn, sample in enumerate(samples):
        estimator.add(sample, turn)
        held = estimator.samples
        if len(held) < 3:
            assert estimator.doubt(turn) == inf
        else:
            five_spreads = 5 * (median(held) - min(held))
            assert 0 <= estimator.doubt(turn) <= five_spreads + 1e-9


@given(st.lists(st.floats(min_value=1e-6, max_value=10), min_size=1, max_size=50))
def test_the_estimate_is_always_one_of_the_last_samples(samples: list[float]) -> None:
    estimator = Estimator()
    for sample in samples:
        estimator.add(sample)
        assert estimator.estimate is not None
    assert estimator.estimate in samples[-8:]
    assert estimator.estimate <= samples[-1]


# Rhythm


@pytest.mark.parametrize(("estimate", "seconds"), [(None, 1.0), (0.001, 0.25), (0.1, 0.45), (0.5, 1.0)])
def test_a_probe_may_take_four_round_trips_within_bounds(estimate: float | None, seconds: float) -> None:
    assert timeout(estimate, SETTINGS) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("mine", "best", "is_best", "seconds"),
    [
        (0.100, 0.010, True, 0.5),
        (0.025, 0.020, False, 1.0),
        (None, 0.020, False, 1.0),
        (0.025, 0.010, False, 1.0),
        (0.041, 0.020, False, 5.0),
        (0.045, 0.030, False, 1.0),
    ],
)
def test_nearer_sites_are_probed_more_often(
    mine: float | None, best: float, is_best: bool, seconds: float
) -> None:
    assert interval(mine, best, is_best=is_best, settings=SETTINGS) == seconds
