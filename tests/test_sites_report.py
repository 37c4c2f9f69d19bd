"""What the rig of benchmarks/sites says of its findings, with figures made up."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.machine import this_machine
from benchmarks.peers import Skipped, load
from benchmarks.sites.__main__ import TooNoisy, _check
from benchmarks.sites.findings import SHORT, Floor, Found, Plan, Report, found_of, read_found, write_found
from benchmarks.sites.plot import draw
from benchmarks.sites.render import as_markdown, as_text
from benchmarks.sites.scenarios import ALL
from benchmarks.sites.scenarios.estimators import COLUMNS, ORACLE, OURS, OWN
from benchmarks.sites.scenarios.lasting import SHARES
from benchmarks.sites.scenarios.spoiled import _ALL as SPOILINGS
from benchmarks.sites.targets import Line, lines
from benchmarks.sites.watch import Event, History

SITES = ("near", "next")


def a_found(name: str, counts: Mapping[str, float] | None = None, **values: list[float]) -> Found:
    found = found_of(name, Plan())
    found.repeats, found.counts, found.values = 20, dict(counts or {}), dict(values)
    return found


def estimator_counts() -> dict[str, float]:
    counts: dict[str, float] = {}
    for who in (OURS, OWN, ORACLE):
        counts |= {f"{who}: static": 2.0, f"{who}: up": 4.0, f"{who}: down": 2.0}
        for column in COLUMNS:
            counts |= {f"{who}: switches, {column}": 3.0, f"{who}: regret, {column}": 0.05}
    return counts


IDLE_ORDERS, IDLE_LOST = ("orders_learned", "orders_configured"), ("lost_learned", "lost_configured")


def good_run() -> Report:
    outage = {"failed_reads": 0, "reads_in_outage": 100, "orders_after_suspect": 0, "orders_in_probation": 0}
    outage |= {"orders": 1000, "reads": 5000}
    spoiled = {"failed_reads": 0, "taken_as_success": 0, "orders_hit": 30}
    hedging: dict[str, float] = {}
    for share in SHARES:
        hedging |= {f"extra_{share}": 9.0, f"budget_{share}": 10.2}
    founds = [
        a_found("choice", choice=[0.3], change=[30.0]),
        a_found("estimators", estimator_counts()),
        a_found("wall-clock", {"regret": 0.1, "virtual_regret": 0.1, "failed_reads": 0, "reads": 100}),
        a_found("kill", outage, added=[38.0]),
        a_found(
            "freeze",
            outage,
            stuck=[600.0],
            others=[60.0],
            others_bound=[66.0],
            suspect=[300.0, 700.0],
            ejected=[900.0],
            unanswered_orders=[9.0],
        ),
        a_found("refuse", outage, readmitted=[1900.0]),
        *(a_found(name, outage, orders_elsewhere=[260.0]) for name in ("hole", "stall")),
        *(a_found(name, outage) for name in ("expired", "wrong-host")),
        *(a_found(one.name, spoiled) for one in SPOILINGS),
        a_found("statuses", {"wrong_outcomes": 0, "orders_hit": 40, "failed_reads": 0}),
        a_found("hedging", hedging, reads_3=[60.0], reads_10=[80.0], reads_20=[320.0]),
        a_found("idle-race", {**dict.fromkeys(IDLE_ORDERS, 1000), **dict.fromkeys(IDLE_LOST, 0)}),
        a_found("management-down", {"failed": 0, "reads": 100}, first_up=[21.0], first_down=[22.0]),
        a_found("storm", {"faults": 10_004, "duplicates": 0, "taken_as_success": 0}),
        a_found("flap", {"ejections": 4, "seconds": 600.1}),
    ]
    found = {one.name: one for one in founds}
    return Report(machine=this_machine("the simulator"), plan=Plan(), floor=Floor(1.0, 2.0, 0.5), found=found)


def line(report: Report, start: str) -> Line:
    (found,) = [one for one in lines(report) if one.quantity.startswith(start)]
    return found


def test_a_good_run_meets_every_target() -> None:
    report = good_run()
    assert [one.quantity for one in lines(report) if one.met is not True] == []
    assert set(report.found) == {one.name for one in ALL}
    assert len({one.quantity for one in lines(report)}) == len(lines(report))


@pytest.mark.parametrize(
    ("scenario", "spoil", "quantity"),
    [
        (
            "estimators",
            lambda f: f.counts.update({f"{OWN}: switches, s=1": 4.0}),
            f"{OWN}: switches, sites move, s=1",
        ),
        ("freeze", lambda f: f.values.update(suspect=[300.0, 801.0]), "freeze: suspect after, at most"),
        ("freeze", lambda f: f.values.update(suspect=[501.0]), "freeze: suspect after, mean"),
        ("freeze", lambda f: f.values.update(others=[70.0]), "freeze: all other reads"),
        ("freeze", lambda f: f.values.update(unanswered_orders=[17.0]), "freeze: orders left unknown"),
        ("kill", lambda f: f.counts.update(failed_reads=1), "kill: failed reads"),
        ("kill", lambda f: f.values.update(added=[42.0]), "kill: worst added"),
        ("hole", lambda f: f.values.update(orders_elsewhere=[287.0]), "hole: an order"),
        ("refuse", lambda f: f.counts.update(not_readmitted=1), "refuse, under 1 s"),
        ("stall", lambda f: f.counts.update(orders_in_probation=1), "orders to a site in probation"),
        ("storm", lambda f: f.counts.update(duplicates=1), "orders executed twice"),
        ("bad-json", lambda f: f.counts.update(taken_as_success=1), "wrong answers, 10 kinds: orders"),
        ("idle-race", lambda f: f.counts.update(lost_learned=1), "orders lost in the idle race, limit learned"),
        ("hedging", lambda f: f.values.update(reads_10=[93.0]), "hedging, 10 % slow: p99"),
        ("hedging", lambda f: f.counts.update(extra_20=10.3), "hedging, 20 % slow: more requests"),
        ("flap", lambda f: f.counts.update(ejections=7), "flap"),
        ("flap", lambda f: f.counts.update(ejections=7, seconds=150.0), "flap"),
        ("choice", lambda f: f.values.update(choice=[3.1]), "choice"),
        ("management-down", lambda f: f.values.update(first_down=[27.0]), "management API down: first read"),
        ("kill", lambda f: f.violations.append("I1: order a was read 2 times"), "rules I1 to I7"),
    ],
)
def test_what_misses_its_target_is_said(scenario: str, spoil: Callable[[Found], object], quantity: str) -> None:
    report = good_run()
    spoil(report.found[scenario])
    assert line(report, quantity).met is False
    assert " NO" in as_text(report)


def test_too_few_chances_prove_nothing() -> None:
    report = good_run()
    report.found["storm"].counts["faults"] = 500.0
    assert line(report, "orders executed twice").met is None
    report.found["flap"].counts["seconds"] = 150.0
    assert line(report, "flap").met is None
    assert line(report, "flap").ours == "4 in 150 s"
    report.found.clear()
    assert {one.met for one in lines(report)} == {None}


def test_the_report_tells_everything() -> None:
    report = good_run()
    report.found["management-down"].skipped = "this client keeps no site table on disk"
    report.found["kill"].violations.append("I1: order a was read 2 times")
    report.found["estimators"].tables["Policies"] = [["policy", "switches"], ["ours", "2.4"]]
    text, told = as_text(report), as_markdown(report)
    for found in (text, told):
        assert "I1: order a was read 2 times" in found
        assert "keeps no site table" in found
        assert all(one.quantity in found for one in lines(report))
    assert "| ours | 2.4 |" in told
    assert "p50 1.00 ms, p99 2.00 ms" in told
    assert "busy" not in told
    report.forced, report.plan = True, SHORT
    assert "not quiet enough" in as_text(report)
    assert "mean nothing" in as_markdown(report)


def test_findings_are_kept_for_those_who_go_by_the_same_plan(tmp_path: Path) -> None:
    found = a_found("freeze", {"reads": 3}, suspect=[1.0])
    found.history = History([Event(1.0, "near", None, "healthy")], [1.0], {"near": [None]})
    write_found(tmp_path, found)
    assert read_found(tmp_path, "freeze", Plan()) == found
    assert read_found(tmp_path, "freeze", SHORT) is None
    assert read_found(tmp_path, "kill", Plan()) is None
    (tmp_path / "freeze.json").write_text("{")
    assert read_found(tmp_path, "freeze", Plan()) is None


def test_a_machine_that_is_not_quiet_is_refused() -> None:
    assert _check(Floor(1.0, 2.9, 0.1), Plan(), False) is False
    assert _check(Floor(1.0, 9.0, 0.1), SHORT, False) is False
    assert _check(Floor(1.0, 3.1, 0.1), Plan(), True) is True
    with pytest.raises(TooNoisy, match=r"p99 of 3\.1 ms"):
        _check(Floor(1.0, 3.1, 0.1), Plan(), False)


def test_the_plot(tmp_path: Path) -> None:
    found = found_of("wall-clock", Plan())
    events = [Event(10.0, None, None, "near"), Event(10.0, "near", None, "healthy")]
    events += [Event(10.5, "near", "healthy", "ejected"), Event(10.5, None, "near", "next")]
    found.history = History(events, [10.0, 11.0], {"near": [20.0, None], "next": [35.0, 35.0]})
    found.begun = 10.0
    found.tables["True floors, ms"] = [["s", *SITES], ["0.0", "20.0", "35.0"]]
    try:
        load("matplotlib")
    except Skipped:
        with pytest.raises(Skipped, match="matplotlib is not installed"):
            draw(found, tmp_path / "plot.png")
        return
    draw(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_scenarios_are_unique_and_explained() -> None:
    names = [one.name for one in ALL]
    assert len(set(names)) == len(names)
    readme = (Path(__file__).parents[1] / "benchmarks" / "sites" / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in names)
