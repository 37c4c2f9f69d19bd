"""What the benchmark says of a journal's cost."""

from benchmarks.results import JournalCost, Latency, LoopResults, Machine, Plan, Results
from benchmarks.table import report


def test_the_report_shows_every_mode_and_what_the_cost_is_made_of() -> None:
    alone = {mode: Latency(p50, 2 * p50, 3 * p50, [p50]) for mode, p50 in (("none", 90.0), ("process", 170.0))}
    cost = JournalCost(alone, {"none": 18_000.0, "process": 15_000.0}, 28.0, {"process": 33.0})
    machine = Machine(cpu="c", cores=2, system="s", python="p", versions={}, server="own", measured_at="now")
    lines = report(Results(machine, Plan(), loops={"plain": LoopResults(journal=cost)})).splitlines()
    assert "plain loop, place over http1, journal none: p50 90 us, p99 180 us; in flight 18,000 per s" in lines
    assert "plain loop, place over http1, journal process: p50 170 us, p99 340 us; in flight 15,000 per s" in lines
    assert "plain loop, to a thread and back 28 us, the statement alone 33 us (process)" in lines
