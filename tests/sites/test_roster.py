"""The roster on a clock of the test's own: what it makes of probes and calls, and whom it chooses."""

import logging
from random import Random
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.directory import Site
from coinapi_ems_async.sites.effects import EFFECTS, Effect
from coinapi_ems_async.sites.flags import Flag
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.roster import Roster, SiteEntry
from coinapi_ems_async.sites.selector import hop_cost

from .fakes import ACCOUNT, FAR, NEAR, Clock, eject, make_roster, measured, names, pair, pool_of, site, table, url

# The choice


def test_the_choice_follows_the_estimates_after_three_rounds() -> None:
    clock = Clock()
    roster, a, _ = pair(clock)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    roster.unsettled.clear()
    for turn in range(9):
        clock.now += 1.0
        roster.sampled(a, 0.200 if turn % 2 else 0.100)
    assert a.estimator.estimate == 0.100
    assert roster.unsettled.is_set()
    assert roster.evaluate() == clock.now + 1.0
    clock.now += 1.0
    roster.evaluate()
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    clock.now += 1.0
    roster.evaluate()
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    assert names(roster.ranked(ACCOUNT, preferred=url("a"))) == ["a", "b"]


def test_the_choice_follows_what_cannot_be_noise_after_two_rounds() -> None:
    clock = Clock()
    roster, a, _ = pair(clock)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    for _ in range(9):
        clock.now += 1.0
        roster.sampled(a, 0.100)
    assert roster.evaluate() == clock.now + 1.0
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    clock.now += 1.0
    roster.evaluate()
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]


def test_reads_of_no_exchange_go_to_the_nearest_site_of_all() -> None:
    clock = Clock()
    roster, _, b = pair(clock)
    assert names(roster.ranked(None)) == ["a", "b"]
    roster.sampled(b, NEAR - 0.0001)
    roster.evaluate()
    assert names(roster.ranked(None)) == ["b", "a"]


def test_health_changes_the_choice_at_once() -> None:
    clock = Clock()
    roster, a, b = pair(clock)
    roster.ranked(ACCOUNT)
    roster.overdue(a, "late")
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    roster.good(a)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    roster.overdue(a, "late")
    roster.good(a)
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"], "it comes back after three rounds"
    eject(roster, b)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]


def test_a_site_that_was_ejected_is_chosen_again_as_soon_as_it_is_healthy() -> None:
    clock = Clock()
    roster, a, _ = pair(clock)
    roster.ranked(ACCOUNT)
    eject(roster, a)
    assert a.estimator.estimate is None
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    while a.health.state is not Health.HEALTHY:
        assert a.health.probe_at is not None
        clock.now = a.health.probe_at
        roster.good(a)
        if a.health.state is Health.PROBATION:
            assert names(roster.ranked(ACCOUNT, for_order=True)) == ["b", "a"]
            roster.sampled(a, NEAR)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]


def test_a_preferred_site_goes_first_unless_it_is_ejected_and_tried_ones_are_left_out() -> None:
    clock = Clock()
    roster, _, b = pair(clock)
    assert names(roster.ranked(ACCOUNT, preferred=url("b"))) == ["b", "a"]
    assert names(roster.ranked(ACCOUNT, preferred=url("b"), tried={url("b")})) == ["a"]
    assert names(roster.ranked(ACCOUNT, tried={url("a"), url("b")})) == ["a", "b"]
    assert names(roster.ranked(ACCOUNT, preferred="https://gone.example")) == ["a", "b"]
    roster.overdue(b, "late")
    assert names(roster.ranked(ACCOUNT, preferred=url("b"))) == ["b", "a"]
    eject(roster, b)
    assert names(roster.ranked(ACCOUNT, preferred=url("b"))) == ["a", "b"]
    assert names(roster.ranked("UNKNOWN", preferred=url("a"))) == []


def test_when_all_are_ejected_the_last_that_answered_goes_first() -> None:
    clock = Clock()
    roster, a, b = pair(clock)
    roster.ranked(ACCOUNT)
    clock.now += 1.0
    roster.good(b)
    eject(roster, a)
    eject(roster, b)
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    assert a.troubled
    clock.now += 1.0
    roster.answered(a, ACCOUNT)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
    assert a.health.state is Health.EJECTED


def test_orders_may_prefer_the_home_while_reads_go_to_the_nearest() -> None:
    directory = table(site("a"), site("b"), homes={ACCOUNT: "b"})
    estimates, clock = {"a": 0.005, "b": 0.060}, Clock()
    usual = measured(directory, estimates, clock)
    assert names(usual.ranked(ACCOUNT, for_order=True)) == ["a", "b"]
    homely = measured(directory, estimates, clock, settings=Settings(prefer_home_for_orders=True))
    assert names(homely.ranked(ACCOUNT, for_order=True)) == ["b", "a"]
    assert names(homely.ranked(ACCOUNT)) == ["a", "b"]
    homely.overdue(homely.entries[url("b")], "late")
    assert names(homely.ranked(ACCOUNT, for_order=True)) == ["a", "b"]


def test_a_cost_is_asked_for_each_account() -> None:
    """5 ms to one site and 80 on to the exchange, or 60 ms to its home; the other exchange is near both."""
    hops = {"KRAKEN": 0.080, "DERIBIT": 0.001}
    accounts = ("KRAKEN", "DERIBIT")
    directory = table(site("a", accounts), site("b", accounts), homes=dict.fromkeys(accounts, "b"))
    cost = hop_cost(lambda site, exchange_id: hops[exchange_id or ""] if exchange_id else 0.0)
    roster = measured(directory, {"a": 0.005, "b": 0.060}, Clock(), cost=cost)
    assert names(roster.ranked("KRAKEN")) == ["b", "a"]
    assert names(roster.ranked("DERIBIT")) == ["a", "b"]
    roster.evaluate()
    assert names(roster.ranked("KRAKEN")) == ["b", "a"]


async def test_looking_gently_comes_to_the_same() -> None:
    accounts = [f"E{number}" for number in range(40)]
    roster = measured(table(site("a", accounts), site("b", accounts)), {"a": NEAR, "b": FAR}, Clock())
    for name in accounts:
        roster.ranked(name)
    roster.sampled(roster.entries[url("b")], 0.001)
    due = await roster.evaluate_gently()
    assert due == roster.evaluate()


async def test_a_gentle_look_gives_way_to_a_change_of_health() -> None:
    accounts = [f"E{number}" for number in range(40)]
    roster = measured(table(site("a", accounts), site("b", accounts)), {"a": NEAR, "b": FAR}, Clock())
    for name in accounts:
        roster.ranked(name)
    looks = roster.looks()
    next(looks)
    eject(roster, roster.entries[url("a")])
    assert list(looks) == []
    assert all(names(roster.ranked(name)) == ["b", "a"] for name in accounts)


# What calls tell


def expected_state(effect: Effect) -> Health:
    match effect:
        case Effect.DOUBT | Effect.REFUSED | Effect.MALFORMED:
            return Health.SUSPECT
        case Effect.UNTRUSTED:
            return Health.EJECTED
        case _:
            return Health.HEALTHY


@pytest.mark.parametrize("row", Row)
def test_every_end_of_a_call_has_its_effect(row: Row) -> None:
    roster, a, b = pair(Clock())
    roster.ranked(ACCOUNT)
    told: list[object] = []
    roster.on_trouble, roster.on_stale = told.append, told.append
    effect = EFFECTS[row]
    roster.note(a, row, "why", exchange_id=ACCOUNT)
    assert a.health.state is expected_state(effect)
    wants_probe = effect in (Effect.PROBE, Effect.DOUBT, Effect.REFUSED, Effect.MALFORMED)
    assert a.hurried is wants_probe
    is_left = effect in (Effect.AUTH_BLOCKED, Effect.THROTTLED, Effect.EXCHANGE_DOWN)
    is_left |= a.health.state is not Health.HEALTHY
    assert names(roster.ranked(ACCOUNT)) == (["b", "a"] if is_left else ["a", "b"])
    if a.health.state is not Health.HEALTHY:
        assert told == [a]
    elif effect is Effect.STALE_TABLE:
        assert told == ["site a: why"]
    else:
        assert told == []
    assert b.health.state is Health.HEALTHY


@pytest.mark.parametrize("row", Row)
def test_a_connection_of_an_older_generation_says_nothing(row: Row) -> None:
    roster, a, _ = pair(Clock())
    roster.ranked(ACCOUNT)
    told: list[object] = []
    roster.on_trouble, roster.on_stale = told.append, told.append
    for _ in range(9):
        roster.note(a, row, "why", exchange_id=ACCOUNT, retry_after=60.0, stale=True)
    assert (a.health.state, a.troubled, a.hurried, told) == (Health.HEALTHY, False, False, [])
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]


def test_a_kept_connection_that_was_lost_only_asks_for_a_probe() -> None:
    roster, a, _ = pair(Clock())
    roster.note(a, Row.LOST, "lost", reused=True)
    assert (a.health.state, a.hurried) == (Health.HEALTHY, True)
    roster.note(a, Row.LOST, "lost")
    assert a.health.state is Health.SUSPECT


async def test_a_timer_that_rang_because_the_loop_stood_still_says_nothing() -> None:
    clock = Clock()
    roster, a, _ = pair(clock)
    roster.lag.start()
    clock.now += 5.0
    for row in (Row.NO_ANSWER, Row.CONNECT_TIMEOUT):
        roster.note(a, row, "too late")
    assert (a.health.state, a.hurried) == (Health.HEALTHY, True)
    roster.note(a, Row.CUT_ANSWER, "cut")
    assert a.health.state is Health.SUSPECT
    await roster.aclose()


def test_success_is_to_be_told_only_while_there_is_trouble() -> None:
    roster, a, _ = pair(Clock())
    told = [a.troubled]
    roster.note(a, Row.UNAVAILABLE, "503")
    told.append(a.troubled)
    roster.answered(a, ACCOUNT)
    told.append(a.troubled)
    roster.note(a, Row.EXCHANGE_UNREACHABLE, "490", exchange_id=ACCOUNT)
    roster.answered(a, "DERIBIT")
    told.append(a.troubled)
    roster.answered(a, ACCOUNT)
    told.append(a.troubled)
    assert told == [False, True, False, True, False]
    fresh = make_roster(table(site("a")), Clock())
    entry = fresh.entries[url("a")]
    assert entry.troubled
    fresh.answered(entry, ACCOUNT)
    assert (entry.health.state, entry.troubled) == (Health.HEALTHY, False)


def test_an_unreachable_exchange_moves_only_its_own_account() -> None:
    accounts, clock = (ACCOUNT, "DERIBIT"), Clock()
    roster = measured(table(site("a", accounts), site("b", accounts)), {"a": NEAR, "b": FAR}, clock)
    a = roster.entries[url("a")]
    for name in accounts:
        roster.ranked(name)
    roster.note(a, Row.EXCHANGE_UNREACHABLE, "490", exchange_id=ACCOUNT)
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    assert names(roster.ranked("DERIBIT")) == ["a", "b"]
    assert roster.views()[0].unreachable == (ACCOUNT,)
    clock.now += 5.0
    for _ in range(3):
        roster.evaluate()
        clock.now += 1.0
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]


def test_an_account_asked_for_the_first_time_sees_the_flags() -> None:
    roster, a, _ = pair(Clock())
    roster.note(a, Row.EXCHANGE_UNREACHABLE, "490", exchange_id=ACCOUNT)
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]


# The table


def test_the_table_is_asked_for_when_nobody_is_left() -> None:
    roster, a, b = pair(Clock())
    reasons: list[str] = []
    roster.on_stale = reasons.append
    assert roster.ranked("NOBODY/HERE") == []
    roster.ranked(ACCOUNT)
    eject(roster, a)
    assert reasons == ["no site serves NOBODY/HERE"]
    eject(roster, b)
    assert reasons[1:] == [f"every site of {ACCOUNT} is ejected"]


def test_a_table_of_nothing_but_lost_sites_is_asked_for_before_any_call() -> None:
    roster, a, b = pair(Clock())
    reasons: list[str] = []
    roster.on_stale = reasons.append
    eject(roster, a)
    eject(roster, b)
    assert reasons == ["every site of the table is ejected"]


def test_a_site_that_leaves_drains_and_is_chosen_no_more() -> None:
    roster, a, b = pair(Clock())
    roster.ranked(ACCOUNT)
    roster.apply(table(site("b")))
    assert roster.leaving == [a]
    assert a.health.state is Health.DRAINING
    assert names(roster.ranked(ACCOUNT)) == ["b"]
    roster.note(a, Row.NO_ANSWER, "late")
    assert a.health.state is Health.DRAINING
    roster.apply(table(site("b", ("DERIBIT",))))
    assert roster.ranked(ACCOUNT) == []
    assert roster.ranked("DERIBIT") == [b]


def test_seeds_rank_sites_until_their_first_samples() -> None:
    clock = Clock()
    roster = make_roster(table(site("a"), site("b")), clock)
    roster.seed({url("a"): 0.050, url("b"): 0.010, url("c"): 0.001})
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    assert {entry.health.state for entry in roster.entries.values()} == {Health.NEW}
    roster.apply(table(site("a"), site("b"), site("c")))
    assert roster.entries[url("c")].estimator.estimate == 0.001
    roster.sampled(roster.entries[url("b")], 0.030)
    assert roster.entries[url("b")].estimator.estimate == 0.030


# Suspicion


def test_a_site_suspected_once_is_chosen_again_at_once_and_one_that_is_so_again_is_not() -> None:
    clock = Clock()
    roster, a, b = pair(clock)

    def first() -> SiteEntry:
        return roster.ranked(ACCOUNT)[0]

    nearest, other = (a, b) if first() is a else (b, a)
    for again in (False, True):
        roster.overdue(nearest, "silent")
        assert first() is other
        clock.now += 0.3
        roster.good(nearest)
        assert (first() is nearest) is not again
    for _ in range(4):  # three rounds
        clock.now += 1.0
        roster.evaluate()
    assert first() is nearest
    clock.now += 31.0
    roster.overdue(nearest, "silent")
    roster.good(nearest)
    assert first() is nearest


def test_a_suspicion_does_not_cost_a_site_its_place_but_an_ejection_may() -> None:
    clock = Clock()
    roster, a, b = pair(clock)
    assert roster.ranked(ACCOUNT)[0] is a
    for _ in range(9):
        clock.now += 1.0
        roster.sampled(b, NEAR - 0.0005)  # nearer, not clearly so
    roster.evaluate()
    assert roster.ranked(ACCOUNT)[0] is a
    roster.overdue(a, "silent")
    assert roster.ranked(ACCOUNT)[0] is b
    roster.good(a)
    assert roster.ranked(ACCOUNT)[0] is a
    clock.now += 31.0
    roster.overdue(a, "silent")
    eject(roster, a)
    assert a.health.probe_at is not None
    clock.now = a.health.probe_at
    for _ in range(8):
        roster.good(a)
        clock.now += 1.0
    assert a.health.state is Health.HEALTHY
    roster.sampled(a, NEAR)
    assert roster.ranked(ACCOUNT)[0] is b


def test_a_suspect_that_answers_a_call_is_not_as_far_as_its_probe_is_old() -> None:
    clock = Clock()
    roster, a, b = pair(clock)
    assert roster.ranked(ACCOUNT)[0] is a
    a.estimator.sent(clock.now)
    clock.now += 0.2
    roster.overdue(a, "silent")
    assert roster.ranked(ACCOUNT)[0] is b
    roster.answered(a, ACCOUNT)
    assert roster.ranked(ACCOUNT)[0] is a
    clock.now += 0.2  # and still no answer to the probe
    roster.evaluate()
    assert a.estimator.at(clock.now) == pytest.approx(0.2)


# Looking at it


def test_a_view_shows_flags_samples_and_who_chooses_it() -> None:
    clock = Clock()
    roster, a, _ = pair(clock)
    roster.ranked(ACCOUNT)
    roster.ranked(None)
    for turn in range(100):
        clock.now += 1.0
        roster.sampled(a, NEAR + 0.0001 * turn)
    roster.note(a, Row.AUTHENTICATION, "401")
    pool_of(a).in_use = 3
    best, other = roster.views()
    assert (best.id, other.id) == ("b", "a")
    assert other.flags == (Flag.AUTH_BLOCKED,)
    assert best.chosen_by == (ACCOUNT,)
    assert other.chosen_by == ()
    assert other.in_flight == 3
    assert len(other.samples) == 60
    assert other.samples[-1] == (clock.now, NEAR + 0.0001 * 99)


def test_changes_are_logged_with_their_reasons(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coinapi_ems_async.sites")
    clock = Clock()
    roster, a, _ = pair(clock)
    roster.ranked(ACCOUNT)
    caplog.clear()
    eject(roster, a)
    clock.now = a.health.probe_at or 0.0
    roster.good(a)
    roster.bad(a, "silent again")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "site a (https://a.example) is suspect: silent"),
        ("INFO", "KRAKEN/JOHN: site a -> b (40.0 ms)"),
        ("WARNING", "site a (https://a.example) is ejected: silent"),
        ("INFO", "site a (https://a.example) is probation"),
        ("INFO", "site a (https://a.example) is ejected: silent again"),
    ]


# Speed


def test_an_order_only_looks_its_choice_up() -> None:
    """Ten sites and two hundred accounts, of which twenty ask between two looks at everything."""
    accounts = [f"EXCHANGE{number}/ACCOUNT" for number in range(200)]
    sites = [site(f"s{number}", accounts) for number in range(10)]
    homes = {name: f"s{number % 5}" for number, name in enumerate(accounts)}
    clock = Clock()
    roster = measured(table(*sites, homes=homes), {one.id: NEAR + 0.003 * i for i, one in enumerate(sites)}, clock)
    for name in accounts:
        roster.ranked(name)

    def choose() -> None:
        for name in accounts:
            roster.ranked(name, for_order=True)

    assert min(repeat(choose, number=10, repeat=20)) / (10 * len(accounts)) < 3e-6

    def look() -> None:
        clock.now += 0.1
        roster.evaluate()

    assert min(repeat(look, number=1, repeat=20)) < 0.010


def test_names_that_nobody_has_do_not_pile_up() -> None:
    anything = Site(id="a", url=url("a"), exchanges=frozenset("*"))
    roster = make_roster(table(anything), Clock())
    for number in range(2_500):
        assert len(roster.ranked(f"MADE/UP{number}")) == 1
    assert len(roster.views()[0].chosen_by) <= 1_000


# Anything in any order

STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([*Row, "good", "bad", "overdue", "answered", "sample"]),
        st.floats(min_value=0.0, max_value=5.0),
    ),
    max_size=60,
)


def _step(roster: Roster, entry: SiteEntry, what: Row | str, random: Random) -> None:
    match what:
        case "good":
            roster.good(entry)
        case "bad":
            roster.bad(entry, "silent")
        case "overdue":
            roster.overdue(entry, "late")
        case "answered":
            roster.answered(entry, ACCOUNT)
        case "sample":
            roster.sampled(entry, random.uniform(0.001, 0.2))
        case Row():
            roster.note(entry, what, "why", exchange_id=ACCOUNT)


@given(STEPS)
def test_the_chosen_site_is_capable_and_ejected_only_if_all_are(steps: list[tuple[str, Row | str, float]]) -> None:
    clock, random = Clock(), Random(3)
    roster = make_roster(table(site("a"), site("b"), site("c", ("DERIBIT",))), clock)
    for name, what, later in steps:
        clock.now += later
        _step(roster, roster.entries[url(name)], what, random)
        ranked = roster.ranked(ACCOUNT)
        assert sorted(names(ranked)) == ["a", "b"]
        if ranked[0].is_lost:
            assert all(entry.is_lost for entry in ranked)
        if any(entry.health.state is Health.HEALTHY for entry in ranked):
            assert ranked[0].health.state is Health.HEALTHY
        tried = roster.ranked(ACCOUNT, tried={ranked[0].site.url}, preferred=url("a"))
        assert tried == [ranked[1]]
        for entry in roster.entries.values():
            assert entry.troubled is entry.health.is_troubled


async def test_a_site_that_leaves_sends_away_who_waits_there() -> None:
    roster = make_roster(table(site("a")), Clock())
    entry = roster.entries[url("a")]
    entry.pool.keep_warm(2)
    await entry.leave(1.0)
    assert pool_of(entry).cleared == 1
    assert pool_of(entry).warm == 0
