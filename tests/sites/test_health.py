"""The table of states, the record that walks it, the flags beside it: pure, on times of the test's."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.effects import EFFECTS, Effect
from coinapi_ems_async.sites.flags import Flag
from coinapi_ems_async.sites.health import RANK, TRANSITIONS, Event, Health, HealthRecord, follow

PLAIN = Settings()


def state(one: HealthRecord) -> Health:
    """Its state now: what a type checker concludes from the last look no longer holds."""
    return one.state


class Middle(Random):
    """Never off the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def record(settings: Settings = PLAIN) -> HealthRecord:
    return HealthRecord(settings, Middle())


def healthy(settings: Settings = PLAIN) -> HealthRecord:
    one = record(settings)
    one.probe_good(0.0)
    return one


def ejected(now: float = 10.0, times: int = 1) -> HealthRecord:
    """Ejected for the `times`-th time, with the probe due then."""
    one = healthy()
    for _ in range(2):
        one.probe_failed(now, "silent")
    for _ in range(times - 1):
        assert one.probe_at is not None
        one.probe_failed(one.probe_at, "silent")
    return one


def readmitted(one: HealthRecord) -> float:
    """Let every probe be good until the site is healthy; returns when that is."""
    while one.probe_at is not None:
        now = one.probe_at
        one.probe_good(now)
    assert state(one) is Health.HEALTHY
    return now


# The table


def test_every_state_has_a_row_and_a_rank() -> None:
    assert set(TRANSITIONS) == set(RANK) == set(Health)


def test_only_what_cannot_happen_is_missing_from_the_table() -> None:
    missing = {(state, event) for state in Health for event in Event if event not in TRANSITIONS[state]}
    assert missing == {(state, Event.PROVED) for state in Health if state is not Health.PROBATION}


@pytest.mark.parametrize("state", [state for state in Health if state is not Health.PROBATION])
def test_what_cannot_happen_raises(state: Health) -> None:
    with pytest.raises(ValueError, match=f"cannot happen to a site that is {state}"):
        follow(state, Event.PROVED)


def test_nothing_leads_out_of_draining_and_everything_into_it() -> None:
    assert set(TRANSITIONS[Health.DRAINING].values()) == {Health.DRAINING}
    assert {following[Event.REMOVED] for following in TRANSITIONS.values()} == {Health.DRAINING}


def test_only_good_probes_lead_back_from_ejection() -> None:
    out = {event for event, state in TRANSITIONS[Health.EJECTED].items() if state is not Health.EJECTED}
    assert out == {Event.PROBE_GOOD, Event.REMOVED}
    into_healthy = {event for event, state in TRANSITIONS[Health.PROBATION].items() if state is Health.HEALTHY}
    assert into_healthy == {Event.PROVED}


# Probes


def test_one_good_probe_or_answer_makes_a_new_site_healthy() -> None:
    for good in (HealthRecord.probe_good, HealthRecord.answered):
        one = record()
        assert state(one) is Health.NEW
        assert one.is_troubled
        assert good(one, 1.0)
        assert state(one) is Health.HEALTHY
        assert not one.is_troubled


def test_one_failure_is_a_suspicion_the_second_an_ejection() -> None:
    one = healthy()
    walk = []
    steps: list[Callable[[], bool]] = [
        lambda: one.probe_failed(10.0, "why"),
        lambda: one.probe_good(10.1),
        lambda: one.probe_failed(20.0, "why"),
        lambda: one.probe_failed(20.3, "why"),
    ]
    for step in steps:
        assert step()
        walk.append(state(one))
    assert walk == [Health.SUSPECT, Health.HEALTHY, Health.SUSPECT, Health.EJECTED]
    assert one.last_error == "why"
    assert one.probe_at == pytest.approx(21.3)


def test_a_refused_call_and_a_refused_probe_are_two_in_a_row() -> None:
    one = healthy()
    one.take(Effect.REFUSED, 1.0, "refused")
    assert state(one) is Health.SUSPECT
    one.probe_failed(1.1, "refused", Row.REFUSED)
    assert state(one) is Health.EJECTED


def test_a_probe_that_takes_too_long_is_a_suspicion_and_no_more() -> None:
    one = healthy()
    assert one.overdue(1.0, "late")
    assert state(one) is Health.SUSPECT
    assert not one.overdue(1.1, "late")
    one.probe_good(1.2)
    assert state(one) is Health.HEALTHY
    lost = ejected()
    assert lost.probe_at is not None
    lost.probe_good(lost.probe_at)
    assert not lost.overdue(lost.probe_at, "late")
    assert state(lost) is Health.PROBATION


def test_a_certificate_that_is_not_valid_ejects_at_once_and_for_a_minute() -> None:
    probed, called = healthy(), healthy()
    probed.probe_failed(10.0, "untrusted", Row.TLS_VERIFICATION)
    called.take(Effect.UNTRUSTED, 10.0, "untrusted")
    for one in (probed, called):
        assert state(one) is Health.EJECTED
        assert one.probe_at == 70.0


def test_the_backoff_doubles_up_to_a_minute() -> None:
    waits, one = [], ejected(10.0)
    now = 10.0
    for _ in range(9):
        assert one.probe_at is not None
        waits.append(one.probe_at - now)
        now = one.probe_at
        one.probe_failed(now, "silent")
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_the_backoff_is_spread_by_a_fifth() -> None:
    waits = set()
    for seed in range(200):
        one = HealthRecord(PLAIN, Random(seed))
        one.probe_failed(0.0, "silent")
        one.probe_failed(0.0, "silent")
        waits.add(one.probe_at or 0.0)
    assert 0.8 <= min(waits) < 0.85
    assert 1.15 < max(waits) <= 1.2


def test_readmission_takes_a_good_probe_and_three_more() -> None:
    one = ejected(10.0)
    due = one.probe_at
    assert due == 11.0
    assert not one.probe_good(10.5), "it was under way before the site was ejected"
    assert state(one) is Health.EJECTED
    seen = []
    now = due
    while state(one) is not Health.HEALTHY:
        one.probe_good(now)
        seen.append((round(now, 2), state(one)))
        now = one.probe_at or 0.0
    assert seen == [
        (11.0, Health.PROBATION),
        (11.25, Health.PROBATION),
        (11.5, Health.PROBATION),
        (11.75, Health.HEALTHY),
    ]


@pytest.mark.parametrize(("times", "probes"), [(1, 1), (2, 2), (3, 3), (4, 4), (7, 4)])
def test_who_was_ejected_often_shows_more_good_probes_before_probation(times: int, probes: int) -> None:
    one = ejected(times=times)
    count = 0
    while state(one) is Health.EJECTED:
        assert one.probe_at is not None
        one.probe_good(one.probe_at)
        count += 1
    assert count == probes


@pytest.mark.parametrize("kind", [Effect.DOUBT, Effect.GATEWAY_ERROR, Effect.SERVER_ERROR, Effect.MALFORMED])
def test_any_failure_in_probation_ejects_again_for_longer(kind: Effect) -> None:
    one = ejected(10.0)
    one.probe_good(11.0)
    one.take(kind, 11.1, "why")
    assert state(one) is Health.EJECTED
    assert one.probe_at == pytest.approx(13.1)
    probed = ejected(10.0)
    probed.probe_good(11.0)
    probed.probe_failed(11.1, "why")
    assert probed.probe_at == pytest.approx(13.1)


def test_half_a_minute_of_health_forgives_an_ejection() -> None:
    one = ejected(10.0, times=4)
    assert one.ejections == 4
    now = readmitted(one)
    one.overdue(now + 20.0, "late")  # a short suspicion in between changes nothing
    one.probe_good(now + 20.1)
    one.probe_failed(now + 61.0, "silent")
    one.probe_failed(now + 61.2, "silent")
    assert one.ejections == 3  # two forgiven, one more
    assert one.probe_at == pytest.approx(now + 61.2 + 4.0)


# Calls


@pytest.mark.parametrize(
    ("kind", "limit", "in_between"),
    [
        (Effect.REFUSED, 2, Health.SUSPECT),
        (Effect.MALFORMED, 3, Health.SUSPECT),
        (Effect.GATEWAY_ERROR, 3, Health.HEALTHY),
        (Effect.SERVER_ERROR, 5, Health.HEALTHY),
    ],
)
def test_so_many_failures_in_a_row_eject(kind: Effect, limit: int, in_between: Health) -> None:
    one = healthy()
    for turn in range(limit - 1):
        one.take(kind, float(turn), "why")
        assert state(one) is in_between
        assert one.is_troubled
    one.answered(10.0)
    assert state(one) is Health.HEALTHY
    assert not one.is_troubled
    for turn in range(limit):
        assert state(one) is not Health.EJECTED
        one.take(kind, 20.0 + turn, "why")
    assert state(one) is Health.EJECTED


def test_good_probes_do_not_break_a_row_of_failed_calls() -> None:
    """At a call a minute there are a hundred probes between two of them."""
    one = healthy()
    for minute in range(3):
        one.take(Effect.GATEWAY_ERROR, 60.0 * minute, "why")
        for turn in range(100):
            if state(one) is not Health.EJECTED:
                one.probe_good(60.0 * minute + turn * 0.5)
    assert state(one) is Health.EJECTED


@pytest.mark.parametrize("kind", [Effect.NONE, Effect.PROBE, Effect.STALE_TABLE])
def test_what_says_nothing_of_the_site_changes_nothing(kind: Effect) -> None:
    one = healthy()
    assert not one.take(kind, 1.0, "why")
    assert (state(one), one.is_troubled, one.last_error) == (Health.HEALTHY, False, None)


def test_every_row_has_an_effect() -> None:
    assert set(EFFECTS) == set(Row)


def test_a_site_that_is_removed_drains_whatever_happens() -> None:
    one = healthy()
    assert one.removed(1.0)
    for effect in Effect:
        one.take(effect, 2.0, "why", exchange_id="KRAKEN")
    one.probe_good(3.0)
    one.probe_failed(4.0, "why", Row.TLS_VERIFICATION)
    assert state(one) is Health.DRAINING


# Flags


def test_a_refused_caller_blocks_the_site_for_a_minute_or_until_a_good_answer() -> None:
    one = healthy()
    assert one.take(Effect.AUTH_BLOCKED, 10.0, "401")
    assert one.flags.now(69.0) == (Flag.AUTH_BLOCKED,)
    assert one.flags.now(70.0) == ()
    one.take(Effect.AUTH_BLOCKED, 80.0, "401")
    one.probe_good(81.0)  # probes show no key
    assert one.flags.is_flagged(82.0)
    assert one.is_troubled
    assert one.answered(83.0)
    assert not one.flags.is_flagged(84.0)
    assert not one.is_troubled


@pytest.mark.parametrize(("asked", "seconds"), [(None, 1.0), (7.0, 7.0), (600.0, 60.0), (0.0, 0.0)])
def test_a_site_that_limits_calls_is_throttled_as_long_as_it_says(asked: float | None, seconds: float) -> None:
    one = healthy()
    one.take(Effect.THROTTLED, 10.0, "429", retry_after=asked)
    assert not one.flags.is_flagged(10.0 + seconds)
    if seconds:
        assert one.flags.now(10.0 + seconds - 0.1) == (Flag.THROTTLED,)
    one.answered(10.0)
    assert one.flags.is_flagged(10.0) is bool(seconds), "only time ends it"


def test_a_gateway_error_with_retry_after_throttles_too() -> None:
    one = healthy()
    assert one.take(Effect.GATEWAY_ERROR, 10.0, "503", retry_after=5.0)
    assert state(one) is Health.HEALTHY
    assert one.flags.now(14.0) == (Flag.THROTTLED,)
    assert not healthy().take(Effect.GATEWAY_ERROR, 10.0, "503")


def test_an_unreachable_exchange_concerns_that_account_for_longer_each_time() -> None:
    one, now, lengths = healthy(), 10.0, []
    for _ in range(6):
        one.take(Effect.EXCHANGE_DOWN, now, "490", exchange_id="KRAKEN/JOHN")
        begun = now
        one.take(Effect.EXCHANGE_DOWN, now + 0.1, "490", exchange_id="KRAKEN/JOHN")  # under way meanwhile
        assert not one.flags.is_down("KRAKEN", now)
        assert not one.flags.is_flagged(now)
        while one.flags.is_down("KRAKEN/JOHN", now):
            now += 1.0
        lengths.append(now - begun)
    assert lengths == [5, 10, 20, 40, 60, 60]
    one.take(Effect.EXCHANGE_DOWN, now, "490", exchange_id="KRAKEN/JOHN")
    assert one.flags.now(now) == (Flag.EXCHANGE_DOWN,)
    assert one.flags.down(now) == ("KRAKEN/JOHN",)
    assert not one.answered(now, "KRAKEN")
    assert not one.answered(now)
    assert one.answered(now, "KRAKEN/JOHN")
    assert one.flags.down(now) == ()
    assert not one.is_troubled


def test_the_third_ejection_in_ten_minutes_is_a_relapse() -> None:
    one, now, holds = healthy(), 0.0, []
    for _ in range(5):
        now += 20.0
        one.take(Effect.UNTRUSTED, now, "why")
        now = readmitted(one)
        end = now
        while Flag.RELAPSED in one.flags.now(end):
            end += 1.0
        holds.append(end - now)
    assert holds == [0, 0, 60, 120, 240]


# Anything in any order

SIGNALS = st.one_of(
    st.just("good"),
    st.sampled_from([None, Row.REFUSED, Row.TLS_VERIFICATION, Row.NO_ANSWER]),
    st.sampled_from(Effect),
    st.just("overdue"),
    st.just("answered"),
    st.just("removed"),
)


def _apply(one: HealthRecord, signal: object, now: float) -> None:
    match signal:
        case "good":
            one.probe_good(now)
        case "overdue":
            one.overdue(now, "late")
        case "answered":
            one.answered(now, "KRAKEN")
        case "removed":
            one.removed(now)
        case Effect():
            one.take(signal, now, "why", exchange_id="KRAKEN", retry_after=3.0)
        case Row() | None:
            one.probe_failed(now, "why", signal)


@given(st.lists(st.tuples(SIGNALS, st.floats(min_value=0.0, max_value=40.0)), max_size=80))
def test_whatever_happens_only_steps_of_the_table_are_made(signals: list[tuple[object, float]]) -> None:
    one, now = HealthRecord(PLAIN, Random(1)), 0.0
    for signal, later in signals:
        now += later
        before = state(one)
        _apply(one, signal, now)
        assert state(one) in {before, *TRANSITIONS[before].values()}
        assert (one.probe_at is not None) == (state(one) in (Health.EJECTED, Health.PROBATION))
        if one.probe_at is not None:
            assert one.probe_at - now <= 60.0 * 1.2
        assert 0 <= one.ejections <= 7
        if state(one) is not Health.HEALTHY:
            assert one.is_troubled


@given(st.lists(st.sampled_from(["good", Row.NO_ANSWER, Row.REFUSED]), min_size=1, max_size=60))
def test_probes_alone_bring_every_site_back_within_75_seconds(signals: list[object]) -> None:
    one, now = HealthRecord(PLAIN, Random(2)), 0.0
    for signal in signals:
        now = max(now + 0.25, one.probe_at or 0.0)
        _apply(one, signal, now)
    recovered = now
    while state(one) is not Health.HEALTHY:
        now = max(now + 0.01, one.probe_at or 0.0)
        one.probe_good(now)
    assert now - recovered <= 75.0
