"""Hours of sites in seconds: how often the choice changes, how soon it is right, what a failing site costs."""

from collections.abc import Sequence
from math import ceil
from random import Random
from statistics import mean

import msgspec
import pytest

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.health import Health

from .virtual import Behaviour, Fault, Story, Virtual, between, half

BUSY, QUIET = 100.0, 1 / 60
LONG = 1e6


def at(seconds: float) -> Behaviour:
    return Behaviour(lambda now: seconds)


def step(before: float, after: float, when: float) -> Behaviour:
    return Behaviour(lambda now: before if now < when else after)


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(share * len(values)) - 1]


# Choosing


RHYTHMS = pytest.mark.parametrize(
    "settings", [Settings(), Settings(probe_interval=1.0)], ids=["its own rhythm", "a probe a second"]
)


@RHYTHMS
def test_two_sites_a_millisecond_apart_change_places_five_times_an_hour_at_most(settings: Settings) -> None:
    changes = []
    for seed in range(5):
        story = Virtual({"a": at(0.020), "b": at(0.021)}, seed=seed, settings=settings).run(3600)
        changes.append(len(story.choices) - 1)
    assert mean(changes) <= 5, changes


@pytest.mark.parametrize("ahead", [0.001, 0.002, 0.0015])
@RHYTHMS
def test_a_home_that_is_barely_left_or_barely_gone_back_to_does_not_alternate(
    settings: Settings, ahead: float
) -> None:
    """More than a hundred times an hour, if it were left and gone back to at the same difference."""
    changes = []
    for seed in range(5):
        sites = {"away": at(0.012), "home": at(0.012 + ahead)}
        story = Virtual(sites, seed=seed, settings=settings, home="home").run(3600)
        changes.append(len(story.choices) - 1)
    assert mean(changes) <= 10, changes


@RHYTHMS
def test_even_with_the_full_noise_it_is_not_the_estimates_that_change_places(settings: Settings) -> None:
    """Spikes above 50 ms, a dozen an hour, are suspicions and change the choice; without those it is quiet."""
    changes = []
    for seed in range(5):
        settings = msgspec.structs.replace(settings, suspect_after=1.0)
        story = Virtual({"a": at(0.020), "b": at(0.021)}, seed=seed, scale=1.0, settings=settings).run(3600)
        changes.append(len(story.choices) - 1)
    assert mean(changes) <= 5, changes


@RHYTHMS
@pytest.mark.parametrize(
    ("a", "b", "within"),
    [((0.020, 0.060), (0.030, 0.030), 5.0), ((0.030, 0.030), (0.035, 0.020), 3.0)],
    ids=["40 ms slower", "15 ms faster"],
)
def test_a_change_of_paths_is_followed(
    a: tuple[float, float], b: tuple[float, float], within: float, settings: Settings
) -> None:
    took = []
    for seed in range(60):
        when = 30 + Random(f"step {seed}").random()
        story = Virtual({"a": step(*a, when), "b": step(*b, when)}, seed=seed, settings=settings).run(50)
        took.append(story.settled_on("b", when))
    assert quantile(took, 0.95) <= within, sorted(took)[-5:]


# Failing


@pytest.mark.parametrize("rate", [BUSY, QUIET], ids=["100 a second", "1 a minute"])
@pytest.mark.parametrize(
    ("calls", "probes"),
    [
        (half(Row.UNAVAILABLE), False),
        (half(Row.UNAVAILABLE), True),
        (half(Row.REFUSED), True),
        (half(Row.NO_ANSWER), True),
        (half(Row.LOST), True),
    ],
    ids=["calls get 503", "all get 503", "all are refused", "all time out", "all are reset"],
)
def test_a_site_that_fails_half_of_all_requests_is_ejected_six_times_in_ten_minutes_at_most(
    calls: Fault, probes: bool, rate: float
) -> None:
    for seed in range(3 if rate == BUSY else 10):
        bad = Behaviour(lambda now: 0.010, calls=calls)
        if probes:
            bad.probes = calls
        story = Virtual({"bad": bad, "good": at(0.030)}, seed=seed, rate=rate).run(600)
        assert len(story.ejections("bad")) <= 6
        assert story.ejections("good") == []


@pytest.mark.parametrize("rate", [BUSY, QUIET], ids=["100 a second", "1 a minute"])
def test_a_site_that_falls_silent_is_left_as_soon_as_its_probe_is_overdue(rate: float) -> None:
    suspected, ejected = [], []
    for seed in range(40):
        when = 20 + Random(f"fault {seed}").random()
        silent = between(Row.NO_ANSWER, when, LONG)
        bad = Behaviour(lambda now: 0.020, probes=silent, calls=silent)
        story = Virtual({"bad": bad, "good": at(0.030)}, seed=seed, rate=rate).run(25)
        suspected.append(_seconds(story, "bad", Health.SUSPECT, when))
        ejected.append(_seconds(story, "bad", Health.EJECTED, when))
        later = when + suspected[-1]
        assert {site for moment, site, _ in story.calls if moment > later} <= {"good"}
    assert max(suspected) <= 0.8
    assert mean(suspected) <= 0.5
    assert quantile(ejected, 0.95) <= 1.2


def _seconds(story: Story, name: str, state: Health, after: float) -> float:
    found = story.first(name, state, after)
    assert found is not None
    return found


def test_at_a_call_a_minute_three_gateway_errors_eject_although_every_probe_is_good() -> None:
    bad = Behaviour(lambda now: 0.010, calls=between(Row.UNAVAILABLE, 0.0, LONG))
    story = Virtual({"bad": bad, "good": at(0.030)}, seed=1, rate=QUIET).run(1200)
    assert story.ejections("bad")
    before = [row for moment, site, row in story.calls if site == "bad" and moment <= story.ejections("bad")[0]]
    assert before == [Row.UNAVAILABLE] * 3


def test_a_short_outage_is_over_two_and_a_half_seconds_after_it_ends() -> None:
    for seed in range(20):
        end = 20 + 0.5 + 0.4 * Random(f"end {seed}").random()
        down = between(Row.REFUSED, 20.0, end)
        bad = Behaviour(lambda now: 0.010, probes=down, calls=down)
        story = Virtual({"bad": bad, "good": at(0.030)}, seed=seed, rate=BUSY).run(30)
        assert _seconds(story, "bad", Health.EJECTED, 20.0) < end - 20.0
        assert _seconds(story, "bad", Health.HEALTHY, end) <= 2.5
        assert story.choices[-1][1] == "bad", "it is the nearest again"


def test_no_order_goes_to_a_site_in_probation_while_another_is_healthy() -> None:
    down = between(Row.REFUSED, 20.0, 40.0)
    bad = Behaviour(lambda now: 0.010, probes=down, calls=down)
    story = Virtual({"bad": bad, "good": at(0.030)}, seed=5, rate=BUSY).run(120)
    begun = _seconds(story, "bad", Health.EJECTED, 20.0) + 20.0
    ended = _seconds(story, "bad", Health.HEALTHY, 40.0) + 40.0
    assert {site for moment, site, _ in story.calls if begun < moment < ended} == {"good"}
    assert ended - 40.0 <= 75.0


def test_after_an_outage_of_the_home_the_choice_is_at_home_again() -> None:
    for seed in range(5):
        sites = {"away": at(0.0200), "home": Behaviour(lambda now: 0.0203, between(Row.REFUSED, 100, 130))}
        story = Virtual(sites, seed=seed, home="home").run(300)
        assert len(story.ejections("home")) >= 1
        assert "away" in {where for when, where in story.choices if when >= 100}
        assert story.choices[-1][1] == "home"
        assert story.choices[-1][0] < 180


def test_an_hour_of_silence_is_over_75_seconds_after_it_ends() -> None:
    down = between(Row.NO_ANSWER, 20.0, 3620.0)
    story = Virtual({"only": Behaviour(lambda now: 0.010, probes=down)}, seed=2).run(3720)
    assert _seconds(story, "only", Health.HEALTHY, 3620.0) <= 75.0
