"""The rig of benchmarks/sites: its arithmetic with figures made up, and one very short run of it."""

import gc
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.sites.__main__ import measure, write_report
from benchmarks.sites.findings import SHORT, Report
from benchmarks.sites.jitter import Jitter, made_jitter
from benchmarks.sites.load import CallLog, Done, an_order
from benchmarks.sites.ours import Ours, full_roster
from benchmarks.sites.policies import (
    ANCHORS,
    Argmin,
    Ewma,
    ExclusionOfSlow,
    Hysteresis,
    MedianOf,
    MinimumOf,
    NearestWindow,
    Oracle,
    PeakEwma,
    WindowedMinimum,
)
from benchmarks.sites.rig import ACCOUNT, NEAR, Rig, RigError
from benchmarks.sites.scenarios import ALL
from benchmarks.sites.scenarios.estimators import COLUMNS, oracle_row, row_of
from benchmarks.sites.scenarios.lasting import _STORM
from benchmarks.sites.scenarios.outages import Episode, is_noisy, measured
from benchmarks.sites.scenarios.spoiled import _ALL as SPOILINGS
from benchmarks.sites.scenarios.spoiled import hits_of
from benchmarks.sites.scenarios.wallclock import cost_of
from benchmarks.sites.site import Command, _plan
from benchmarks.sites.statistics import quantile, quantile_bounds, summary, zero_bound
from benchmarks.sites.truth import Request, Truth, duplicates, read_truth, violations
from benchmarks.sites.virtual import (
    Noise,
    Trace,
    convergence,
    dynamic_trace,
    played,
    score,
    step_trace,
    typical_time,
)
from benchmarks.sites.watch import Event, History
from benchmarks.sites.weather import Spoil, Weather
from coinapi_ems_async import AttemptRecord, Phase
from coinapi_ems_async.simulator import Injection, Record
from coinapi_ems_async.simulator.messages import Answer

SITES = ("near", "next")


# Noise


def test_the_noise_is_what_it_is_said_to_be() -> None:
    noise = [1e3 * one for one in made_jitter(40_000, seed=3)]
    assert min(noise) >= 0
    assert quantile(noise, 0.5) == pytest.approx(3.4, rel=0.05)
    assert sum(noise) / len(noise) == pytest.approx(5.4, rel=0.05)
    assert quantile(noise, 0.9) == pytest.approx(12.6, rel=0.05)
    assert quantile(noise, 0.99) == pytest.approx(28, rel=0.10)
    assert quantile(noise, 0.999) == pytest.approx(50, rel=0.25)
    assert max(noise) <= 300


def test_the_noise_comes_from_its_seed() -> None:
    assert made_jitter(100, seed=1) == made_jitter(100, seed=1) != made_jitter(100, seed=2)
    one, other, third = (Jitter([0.001, 0.002, 0.003], seed, scale=2.0) for seed in (1, 1, 2))
    drawn = [one.draw() for _ in range(50)]
    assert drawn == [other.draw() for _ in range(50)] != [third.draw() for _ in range(50)]
    assert set(drawn) == {0.002, 0.004, 0.006}


# Statistics


def test_summary() -> None:
    hundred = [float(number) for number in range(1, 101)]
    found = summary(hundred)
    assert (found.count, found.mean, found.p50, found.p95, found.p99, found.maximum) == (
        100,
        50.5,
        50,
        95,
        99,
        100,
    )
    assert found.mean_low < 48 < 50.5 < 53 < found.mean_high
    assert found.mean_high - found.mean_low == pytest.approx(2 * 1.96 * 28.9 / 10, rel=0.15)
    assert quantile_bounds(hundred, 0.95)[0] < 93
    assert found.p95_low <= 95 <= found.p95_high
    assert summary([7.0]) == summary([7.0])
    assert summary([7.0]).p999 == 7
    with pytest.raises(ValueError, match="no values"):
        summary([])


def test_nothing_seen_is_not_nothing_there() -> None:
    assert zero_bound(10_000) == pytest.approx(3 / 10_000, rel=0.01)
    assert zero_bound(1) == pytest.approx(0.95)


# Policies


@pytest.mark.parametrize(
    ("estimate", "samples", "expected"),
    [
        (Ewma(0.5), [1.0, 2.0, 2.0], 1.75),
        (PeakEwma(10.0), [1.0, 5.0], 5.0),
        (WindowedMinimum(10.0), [3.0, 1.0, 2.0], 1.0),
        (WindowedMinimum(1.0), [1.0, 3.0, 2.0], 2.0),
        (MinimumOf(2), [1.0, 3.0, 2.0], 2.0),
        (MedianOf(3), [9.0, 1.0, 3.0, 2.0], 2.0),
    ],
)
def test_estimates(estimate: Any, samples: list[float], expected: float) -> None:
    assert estimate.value(0.0) == float("inf")
    for second, sample in enumerate(samples):
        estimate.add(sample, float(second))
    assert estimate.value(float(len(samples))) == expected


def test_a_peak_fades() -> None:
    estimate = PeakEwma(10.0)
    for second, sample in ((0.0, 5.0), (10.0, 1.0)):
        estimate.add(sample, second)
    assert estimate.value(10.0) == pytest.approx(1 + 4 / 2.71828, rel=1e-4)


def test_hysteresis_waits_for_three_rounds_of_a_clear_gain() -> None:
    policy = Hysteresis(2, lambda: MinimumOf(1))
    assert policy.until_next(0) == policy.interval == 1.0

    def chosen(now: float, *costs: float) -> int:
        for site, cost in enumerate(costs):
            policy.probed(site, cost, now)
        return policy.choose(now)

    assert [chosen(0, 0.020, 0.030), chosen(1, 0.020, 0.0185)] == [0, 0]  # less than max(2 ms, 10 %)
    assert [chosen(second, 0.020, 0.015) for second in (2, 3)] == [0, 0]
    assert chosen(4, 0.020, 0.030) == 0
    assert [chosen(second, 0.020, 0.015) for second in (5, 6, 7)] == [0, 0, 1]


def test_those_that_choose_at_random_do_so_among_the_near_ones() -> None:
    window, exclusion = NearestWindow(3, seed=1), ExclusionOfSlow(3, seed=1)
    for policy in (window, exclusion):
        for site, cost in enumerate((0.020, 0.030, 0.050)):
            policy.probed(site, cost, 0.0)
        assert {policy.choose(10.0 * second) for second in range(40)} == {0, 1}
    assert len({window.choose(400.0 + second) for second in range(9)}) == 1


def test_the_oracle_knows() -> None:
    trace = step_trace((0.040, 0.0), 5.0)
    oracle = Oracle(trace)
    oracle.probed(0, 99.0, 0.0)
    assert [oracle.choose(4.9), oracle.choose(5.0), oracle.choose(1.0)] == [0, 1, 0]
    assert oracle.until_next(0) == oracle.interval


def test_every_policy_plays() -> None:
    recorded = made_jitter(1_000)
    trace = dynamic_trace(1, 60)
    makers: Mapping[str, Callable[[int, int], Any]] = {**ANCHORS, "ours": lambda sites, _seed: Ours(sites)}
    for make in makers.values():
        runs = [played(make(4, 1), trace, Noise(0.3, 0.02), recorded, seed=1, seconds=60) for _ in range(2)]
        assert runs[0] == runs[1]
        times, sites = zip(*runs[0], strict=True)
        assert list(times) == sorted(times)
        assert times[0] == 1.0
        assert set(sites) <= {0, 1, 2, 3}


# The virtual clock


def test_a_trace_is_read_at_any_time() -> None:
    trace = Trace([(0.0, (1.0, 2.0)), (5.0, (3.0, 2.0)), (9.0, (1.0, 1.0))])
    first, second, third = (floors for _, floors in trace.steps)
    assert [trace(now) for now in (0.0, 4.9, 5.0, 100.0, 1.0)] == [first, first, second, third, first]
    moves = [at for at, _ in dynamic_trace(3).steps]
    assert dynamic_trace(3).steps == dynamic_trace(3).steps
    assert all(60 <= after - before <= 180 for before, after in pairwise(moves))


def test_score_counts_switches_and_what_they_cost() -> None:
    trace = Trace([(0.0, (0.010, 0.020))])
    perfect = score([(1.0, 0)], trace, 115.0)
    assert (perfect.switches, perfect.regret) == (0, 0)
    turns = [(1.0, 1), *((15.0 + number, number % 2) for number in range(1, 101))]
    half = score(turns, trace, 115.0)
    assert half.switches == pytest.approx(100 * 36)
    assert half.regret == pytest.approx(5.0, abs=0.1)


def test_convergence_is_counted_from_the_change() -> None:
    def make(_seed: int) -> Argmin:
        return Argmin(2, lambda: MinimumOf(1))

    quick = convergence(make, (0.040, 0.0), Noise(0.0), [0.0], range(5))
    assert all(one is not None and one <= 2.2 for one in quick)
    never = convergence(make, (0.0, 0.0), Noise(0.0), [0.0], range(2))
    assert never == [None, None]
    assert typical_time([1.0, 2.0, 3.0], 0.5) == 2.0
    assert typical_time([1.0, None], 0.5) is None


def test_rows_of_the_policies() -> None:
    row = row_of(ANCHORS["plain minimum of 8, our hysteresis"], SHORT, made_jitter(1_000))
    assert len(row.cells()) == 3 + len(COLUMNS)
    assert row.up[1] is not None
    assert oracle_row(SHORT).dynamic["s=1"].regret < row.dynamic["s=1"].regret + 1


# What really happened


def attempt(phase: Phase, status: int | None = None) -> AttemptRecord:
    return AttemptRecord(site="near", phase=phase, milliseconds=20.0, status=status)


ATTEMPTS: Mapping[str, AttemptRecord] = {
    "accepted": attempt(Phase.ANSWERED, 200),
    "rejected": attempt(Phase.ANSWERED, 400),
    "not sent": attempt(Phase.WAITING),
    "unknown": attempt(Phase.COMMITTED),
}


def done(name: str | None, ended: str, **changes: Any) -> Done:
    fields: dict[str, Any] = {
        "attempts": (ATTEMPTS[ended],) if ended in ATTEMPTS else (),
        "operation": "order_new",
        "ended": ended,
        "started": 1.0,
        "done": 1.02,
        "committed": 1.0,
        "site": "near",
        "sites": ("near",),
        "failures": ("",),
        "client_order_id": name,
        "exchange_id": "KRAKEN/JOHN",
    }
    return Done(**(fields | changes))


def request(name: str | None, site: str = "near", operation: str = "order_new", path: str = "/") -> Request:
    return Request(1.0, site, operation, name, 1, path)


def broken(requests: list[Request], *orders: Done, executed: Mapping[str, int] | None = None, **more: Any) -> str:
    truth = Truth(requests, Counter(executed or {}), more.pop("leaks", []))
    exchanges = {"near": ["KRAKEN/JOHN"], "next": ["BITMEX/JOHN"]}
    return "; ".join(violations(truth, orders, exchanges=exchanges, **more))


def test_what_went_well_breaks_nothing() -> None:
    ended = ("accepted", "rejected", "unknown", "unknown", "not sent")
    orders = [done(str(number), one) for number, one in enumerate(ended)]
    requests = [request(name) for name in "012"]
    requests += [request("9", operation="order_cancel")] * 2 + [request(None, operation="order_cancel_all")]
    assert broken(requests, *orders, executed={"0": 1}, cancels={"9": 1}, cancels_of_all=1) == ""


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("I1", lambda: broken([request("a"), request("a", "near")])),
        ("I1", lambda: broken([], executed={"a": 2})),
        ("I2", lambda: broken([request("a")], done("a", "not sent"))),
        ("I3", lambda: broken([], done("a", "accepted"))),
        ("I3", lambda: broken([], done("a", "rejected"))),
        ("I1", lambda: broken([request("a")] * 2, done("a", "unknown"))),
        ("I4", lambda: broken([], done("a", "unknown", attempts=(ATTEMPTS["not sent"],)))),
        ("I5", lambda: broken([request("a", operation="order_cancel")] * 3, cancels={"a": 1})),
        ("I5", lambda: broken([request(None, operation="order_cancel_all")], cancels_of_all=0)),
        ("I6", lambda: broken([request("a", "next")], done("a", "accepted"))),
        ("I6", lambda: broken([request(None, "next", "positions", "/v1/positions?exchange_id=KRAKEN%2FJOHN")])),
        ("I7", lambda: broken([], leaks=["GET / was sent to a host that is not listed"])),
    ],
)
def test_what_breaks_a_rule_is_told(rule: str, found: Callable[[], str]) -> None:
    assert rule in found()


def test_an_order_that_a_site_sent_away_may_be_read_again_elsewhere() -> None:
    requests = [request("a"), request("a")]
    moved = done("a", "accepted", attempts=(attempt(Phase.ANSWERED, 421), ATTEMPTS["accepted"]))
    executed = {"a": 1}
    assert "I1" in broken(requests, done("a", "accepted"), executed=executed)
    assert "I1" in broken(requests, moved, executed=executed)
    assert broken(requests, moved, executed=executed, moved={"a": 1}) == ""
    assert "I1" in broken([*requests, request("a")], moved, executed=executed, moved={"a": 1})


def test_the_logs_of_the_servers_are_read(tmp_path: Path) -> None:
    line = '{"time": %s, "site": "near", "operation": "order_new", "client_order_id": "a", "connection": 1, '
    line += '"method": "POST", "path": "/v1/orders", "version": "1.1"}\n'
    (tmp_path / "near.requests.jsonl").write_text(
        line % 5 + '{"executed": "a"}\n' + line % 9 + '{"executed": "a"}\n'
    )
    (tmp_path / "near.clients.jsonl").write_text('{"heard": 3, "by": "expired"}\n{"spoiled": "fin"}\n')
    (tmp_path / "decoy.requests.jsonl").write_text(line % 1)
    truth = read_truth(tmp_path, ["near", "next"], since=6.0)
    assert [one.time for one in truth.requests] == [9]
    assert duplicates(truth) == 1
    assert len(truth.leaks) == 2


# Failures


def read(started: float, seconds: float, *sites: str, ended: str = "value") -> Done:
    times = {"started": started, "done": started + seconds}
    return done(None, ended, operation="positions", site=sites[-1], sites=sites, **times)


def test_a_failure_is_measured_from_when_it_began() -> None:
    log = CallLog()
    log += [read(9.0 + number / 10, 0.020, "near") for number in range(9)]
    log += [read(9.99, 0.55, "near", "next"), read(10.2, 0.34, "near", "next"), read(10.6, 0.035, "next")]
    log += [read(10.1, 0.06, "near", "next"), read(10.7, 0.035, "next", ended="ConnectionLost")]
    log += [
        done("a", "unknown", started=10.0, done=11.5),
        done("b", "accepted", started=10.1, done=12.0, committed=10.1),
    ]
    log += [done("c", "accepted", started=10.7, done=10.74, committed=10.7, site="next")]
    log += [done("d", "unknown", started=10.6, done=11.5, committed=10.6)]
    events = [Event(0.0, "near", None, "healthy"), Event(10.5, "near", "healthy", "suspect")]
    events += [Event(10.8, "near", "suspect", "ejected")]
    values, counts = measured(Episode("near", 10.0, 11.0, History(events), log), second=0.035)
    assert values["suspect"] == [pytest.approx(500)]
    assert values["ejected"] == [pytest.approx(800)]
    assert values["failover"] == [pytest.approx(160)]
    assert values["stuck"] == [pytest.approx(550), pytest.approx(340)]
    assert values["others"] == [pytest.approx(35), pytest.approx(60)]
    assert values["others_bound"] == [pytest.approx(20 + 35 + 10)]
    assert values["added"] == [pytest.approx(530)]
    assert values["orders_elsewhere"] == [pytest.approx(40)]
    assert values["unanswered_orders"] == [3]
    assert (counts["failed_reads"], counts["reads_in_outage"], counts["slow_reads"]) == (1, 5, 2)
    assert (counts["orders_after_suspect"], counts["never_suspect"]) == (1, 0)


@pytest.mark.parametrize(
    ("slow", "begins", "reused", "is_busy"),
    [(6, 9.0, True, True), (5, 9.0, True, False), (6, 9.98, True, False), (6, 9.0, False, False)],
    ids=["one-in-twenty", "fewer", "not-before-the-failure", "first-on-its-connection"],
)
def test_whether_the_machine_was_busy_is_asked_of_what_was_over_before(
    slow: int, begins: float, reused: bool, is_busy: bool
) -> None:
    """A read of a site 20 ms away may take 23."""

    def single(started: float, seconds: float, *, reused: bool) -> Done:
        attempt = AttemptRecord(site=NEAR, phase=Phase.ANSWERED, milliseconds=1e3 * seconds, reused=reused)
        return msgspec.structs.replace(read(started, seconds, NEAR), attempts=(attempt,))

    log = CallLog([single(9.0, 0.022, reused=True) for _ in range(100)])
    log += [single(begins, 0.0235, reused=reused) for _ in range(slow)]
    assert is_noisy(Episode(NEAR, 10.0, 11.0, History([]), log)) is is_busy
    assert not is_noisy(Episode(NEAR, 10.0, 11.0, History([]), CallLog()))


def test_a_failure_that_nobody_saw() -> None:
    values, counts = measured(
        Episode("near", 10.0, 11.0, History([Event(0.0, "near", None, "healthy")]), CallLog())
    )
    assert values["suspect"] == values["ejected"] == values["failover"] == []
    assert counts["never_suspect"] == 1


def test_hits() -> None:
    reads = [
        read(1.0, 0.02, "near"),
        read(1.0, 0.06, "near", "next"),
        read(1.0, 1.0, "near", ended="ServerFailed"),
    ]
    orders = [done("a", "unknown"), done("b", "accepted"), done("c", "accepted")]
    hits = hits_of(reads, orders, frozenset({"a", "b"}), normal=0.02)
    assert hits.read_costs == [pytest.approx(0.04)]
    assert (hits.failed_reads, hits.orders) == (1, {"unknown": 1, "accepted": 1})


def test_the_cost_of_a_choice_leaves_outages_out() -> None:
    trace = Trace([(0.0, (0.010, 0.020))])
    history = History([Event(100.0, None, None, "near"), Event(105.0, None, "near", "next")])
    cost = cost_of(history, trace, SITES, 100.0, 10.0, [])
    assert cost == pytest.approx(10 * 50 / 90)
    assert cost_of(history, trace, SITES, 100.0, 10.0, [(5.0, 10.0)]) == 0
    assert cost_of(history, trace, SITES, 100.0, 10.0, [(0.0, 10.0)]) is None


# What befalls answers


@pytest.mark.parametrize("spoiling", SPOILINGS, ids=lambda one: str(one.name))
def test_every_way_to_spoil_answers_is_one(spoiling: Any) -> None:
    assert bool(spoiling.answers) != bool(spoiling.plan)
    if spoiling.plan:
        assert _plan({**spoiling.plan, "seed": 1}).rate > 0
    else:
        Spoil(msgspec.json.decode(msgspec.json.encode(spoiling.answers), type=dict[str, dict[str, Any]]))


def record(operation: Any, name: str | None = None) -> Record:
    return Record(1.0, "near", operation, name, 1, "GET", "/")


def test_weather(tmp_path: Path) -> None:
    weather = Weather(Jitter([0.001], 1, scale=3.0), tmp_path / "log", seed=1)
    weather.base = 0.020
    answer = Answer(200)
    assert weather.matches(record("probe"))
    assert weather.executes
    weather.damage(answer, None)
    assert answer.delay == pytest.approx(0.023)
    weather.spoil = Spoil(_STORM, times=2, kinds="orders", seed=1)
    assert weather.matches(record("positions"))
    assert weather.executes
    seen = []
    for number in range(4):
        assert weather.matches(record("order_new", str(number)))
        seen.append(weather.forces or weather.fault is not None or weather.reset)
    assert seen == [True, True, False, False]
    assert [line.count('"spoiled"') for line in (tmp_path / "log").read_text().splitlines()] == [1, 1]
    weather.slow_share, weather.slow = 1.0, 0.3
    for operation, delay in (("positions", 0.323), ("order_new", 0.023), ("probe", 0.023)):
        weather.matches(record(operation))
        answer = Answer(200)
        weather.damage(answer, None)
        assert answer.delay == pytest.approx(delay)
    assert isinstance(weather, Injection)


def test_commands_leave_out_what_stays() -> None:
    assert msgspec.json.encode(Command(base=0.0, spoil={})) == b'{"base":0.0,"spoil":{}}'


# Runs


def test_a_full_roster_serves_every_account() -> None:
    roster, entries = full_roster(10, ["A/JOHN", "B/JOHN"])
    assert len(roster.ranked("B/JOHN")) == len(entries) == 10
    assert roster.ranked("A/JOHN")[0] is entries[0]


def files_with(folder: Path, *secrets: bytes) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.stat().st_size for path in files)
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


async def test_a_rig_keeps_its_secrets_and_its_sites_their_ports(tmp_path: Path) -> None:
    async with Rig(tmp_path, {"near": 0.0, "next": 0.001}) as rig:
        url = rig.sites["near"].url
        await rig.sites["near"].kill()
        with pytest.raises(RigError, match="near"):
            await rig.sites["near"].command(base=0.0)
        await rig.sites["near"].start()
        assert rig.sites["near"].url == url
        with pytest.raises(RigError, match="TypeError"):
            await rig.sites["near"].command(spoil={"nonsense": 1})
        log = CallLog()
        async with rig.client(log) as ems:
            outcome = await ems.orders.submit(an_order())
        truth = read_truth(tmp_path, rig.sites)
        assert truth.executions == {outcome.client_order_id: 1}
        assert [one.ended for one in log.orders] == ["accepted"]
        assert rig.api_key not in repr(rig.sites["near"].task)
        key, private = rig.api_key.encode(), b"PRIVATE KEY"
    assert not files_with(tmp_path, key, private)


async def test_what_takes_long_is_done_before_it_is_measured(tmp_path: Path) -> None:
    async with Rig(tmp_path, {"near": 0.0, "next": 0.001}) as rig:
        await rig.get_ready()
        spare = rig._spare
        assert spare is not None
        assert spare.returncode is None
        await rig.sites["near"].kill()
        await rig.sites["near"].start()
        assert rig.sites["near"]._process is spare
        await rig.get_ready()
        async with rig.client() as ems:
            assert await ems.positions.get(ACCOUNT) is not None
        last = rig._spare
    assert last is not None
    assert last is not spare
    assert last.returncode is not None


def test_the_garbage_collector_does_not_look_through_what_a_run_has_seen() -> None:
    record = AttemptRecord(site="near", phase=Phase.ANSWERED, milliseconds=1.0)
    assert not gc.is_tracked(record)
    assert not gc.is_tracked(done(None, "value", attempts=(record,)))


async def test_a_very_short_run(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(SHORT, floor=0.1, hold=5.0, readmission=5.0)
    wanted = [one for one in ALL if one.name in ("freeze", "partial-head", "choice")]
    report = await measure(tmp_path, plan, wanted, resume=False, anyway=True, cpus=None)
    assert {name: found.violations for name, found in report.found.items()} == {name: [] for name in report.found}
    freeze, partial = report.found["freeze"], report.found["partial-head"]
    assert len(freeze.values["suspect"]) == 1
    assert freeze.counts["failed_reads"] == 0
    assert freeze.counts["reads"] > 0
    assert partial.counts["taken_as_success"] == 0
    write_report(tmp_path, report)
    assert "freeze" in (tmp_path / "report.md").read_text()
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report) == report
    again = await measure(tmp_path, plan, wanted, resume=True, anyway=True, cpus=None)
    assert again.found == report.found
    assert again.floor == report.floor
