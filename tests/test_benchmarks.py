"""The benchmarks' own arithmetic and machinery, with figures made up."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from benchmarks.canned import REPORT, decode, new_order, order_fields
from benchmarks.entrants import ENTRANTS, Entrant, Target
from benchmarks.entrants.clients import AIOHTTP, PYREQWEST
from benchmarks.entrants.floor import FLOOR, FULL_FLOOR
from benchmarks.entrants.h2 import BARE_H2
from benchmarks.entrants.ours import SHARED_POOL, place_row, whole_row
from benchmarks.figures import counted, percentile, ratio, settled_from, typical
from benchmarks.measure import Call
from benchmarks.parts.rounds import measure_rounds
from benchmarks.peers import Skipped, load
from benchmarks.plot import draw
from benchmarks.results import (
    Decoding,
    FirstOrders,
    Importing,
    Latency,
    Load,
    LoopResults,
    Machine,
    Plan,
    Probed,
    Results,
    Row,
    alone_ratio,
    cpu_ratio,
    rate_ratio,
)
from benchmarks.servers.base import Certificates
from benchmarks.servers.http1 import ANSWER, Http1
from benchmarks.servers.http2 import PREFACE, Http2, answer, frame
from benchmarks.servers.management import answers
from benchmarks.servers.nginx import configuration
from benchmarks.table import report
from benchmarks.targets import Verdict, verdicts
from coinapi_ems_async.models.orders import ExecutionReport
from coinapi_ems_async.models.reading import AnswerReader

QUICK = Plan(rounds=3, alone=0.0, loaded=0.0, width=4, crowd=8)


def a_row(microseconds: float, rate: float, crowd_cpu: float = 20.0, *, ours: bool = False) -> Row:
    """A row whose four rounds are all alike; 20 us of CPU time per request at 64 in flight."""
    loads = {64: Load([rate] * 4, [20.0] * 4), 1024: Load([rate] * 4, [crowd_cpu] * 4)}
    return Row(ours=ours, alone=Latency.of([[microseconds] * 100] * 4), loads=loads)


def made_up(**changes: Row) -> dict[str, Row]:
    rows = {
        FLOOR: a_row(80, 90_000),
        FULL_FLOOR: a_row(90, 50_000),
        place_row("http1"): a_row(92, 40_000, 22, ours=True),
        whole_row("http1"): a_row(99, 36_000, 22, ours=True),
        SHARED_POOL: Row(ours=True, loads=a_row(1, 40_000, 23).loads),
        place_row("http2"): a_row(240, 10_000, ours=True),
        BARE_H2: a_row(200, 9_000),
        AIOHTTP: a_row(160, 10_000),
        PYREQWEST: a_row(115, 25_000),
    }
    return rows | changes


def a_run() -> Results:
    results = Results(
        Machine(
            cpu="some processor",
            cores=2,
            system="Linux",
            python="CPython 3.11",
            versions={"msgspec": "0.21"},
            server="nginx",
            measured_at="2026-01-01T00:00:00+00:00",
        ),
        Plan(),
    )
    for name in ("plain", "uvloop"):
        first = {"http1": FirstOrders(100, [110], [90], handshakes_after_start=0, handshakes_after_idle=0)}
        probed = Probed(transport="http1", sites=8, p50=100, p99=150, rounds=[1.5, 1.5])
        results.loops[name] = LoopResults(http=made_up(), first=first, probed=probed)
    results.decoding = Decoding(one=2.0, thousand=1.9, plain_one=1.0, plain_thousand=1.0)
    results.importing = Importing(milliseconds=80, imports_aiohttp=False)
    return results


# Figures


def test_percentile() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert percentile(hundred, 0.5) == 51
    assert percentile(hundred, 0.99) == 100
    assert percentile([3.0], 0.999) == 3
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("rounds", "first"),
    [
        ([10, 10, 10, 10], 0),
        ([5, 9.5, 10, 10, 10, 10], 1),  # within a tenth is settled
        ([20, 15, 12, 10, 10, 10], 3),  # from above as well
        ([1, 1, 10, 10], 2),
        ([1, 2, 4, 8, 16, 32], 3),  # never settles: half of them count all the same
        ([7], 0),
        ([], 0),
    ],
)
def test_rounds_before_the_pace_settles_do_not_count(rounds: list[float], first: int) -> None:
    assert settled_from(rounds) == first


def test_a_ratio_is_taken_round_by_round_where_both_have_settled() -> None:
    mine, theirs = [99.0, 12.0, 22.0, 12.0, 12.0, 12.0], [10.0, 10.0, 20.0, 10.0, 10.0, 10.0]
    assert (settled_from(mine), settled_from(theirs)) == (1, 0)
    assert ratio(mine, theirs) == 1.2  # the median of 1.2, 1.1, 1.2, 1.2, 1.2
    assert typical([1.0, 1.0, 10.0, 12.0]) == 11.0
    assert list(range(4))[counted([10.0] * 4, [1.0, 1.0, 10.0, 10.0])] == [2, 3]


def test_a_ratio_follows_the_machine_through_its_moods() -> None:
    calm, busy = [10.0, 10.0, 10.0, 10.0], [10.0, 10.0, 11.0, 10.5]
    mine = [2 * value for value in busy]
    assert ratio(mine, busy) == 2.0
    assert ratio(mine, calm) != 2.0


def test_latency_pools_the_rounds_that_count() -> None:
    latency = Latency.of([[1000.0] * 3, [10.0, 11.0, 12.0], [10.0, 11.0, 300.0], [10.0, 11.0, 12.0]])
    assert latency.rounds == [1000, 11, 11, 11]
    assert (latency.p50, latency.p99, latency.p999) == (11, 300, 300)


def test_load() -> None:
    load = Load([100.0, 40_000.0, 50_000.0, 50_000.0], [90.0, 20.0, 20.0, 20.0])
    assert (load.rate, load.cpu_time) == (50_000, 20)
    assert load.busy == pytest.approx(1.0)


def test_ratios_of_rows() -> None:
    rows = made_up()
    assert alone_ratio(rows, place_row("http1"), FLOOR) == 1.15
    assert rate_ratio(rows, place_row("http1"), AIOHTTP, 64) == 4.0
    assert cpu_ratio(rows, place_row("http1"), 1024, 64) == 1.1
    assert alone_ratio(rows, SHARED_POOL, FLOOR) is None
    assert alone_ratio(rows, "nobody", FLOOR) is None
    assert rate_ratio(rows, FLOOR, AIOHTTP, 65) is None


# Targets


def said(results: Results, text: str) -> Verdict:
    (found,) = [verdict for verdict in verdicts(results) if text in verdict.what]
    return found


def test_a_good_run_meets_every_target() -> None:
    assert {verdict.met for verdict in verdicts(a_run())} == {True}


def test_every_target_has_its_line() -> None:
    bounds = [(verdict.sense, verdict.bound, verdict.unit) for verdict in verdicts(a_run())]
    for loop_bound in (1.25, 0.60, 0.85):
        assert bounds.count(("at most", loop_bound, "x")) == (4 if loop_bound == 1.25 else 2)
    for rate_bound in (0.60, 3.0, 1.2, 2.0, 1.0):  # on one loop, of an order made before and within
        assert bounds.count(("at least", rate_bound, "x")) == 2
    assert bounds.count(("at most", 1.2, "x")) == 4
    assert bounds.count(("at most", 2.0, "x")) == 2
    assert bounds.count(("at most", 0, "")) == 5
    assert bounds[-4:] == [
        ("at most", 100.0, "ms"),
        ("at most", 0, ""),
        ("at most", 2.5, "us"),
        ("at most", 2.0, "ms"),
    ]


@pytest.mark.parametrize(
    ("spoil", "text", "measured"),
    [
        (lambda run: run.http.update({place_row("http1"): a_row(112, 40_000)}), "http1 to floor", 1.4),
        (lambda run: run.http.update({AIOHTTP: a_row(115, 10_000)}), "time, place, http1 to aiohttp", 0.8),
        (lambda run: run.http.update({FULL_FLOOR: a_row(90, 80_000)}), "rate of place, http1 to full", 0.5),
        (
            lambda run: run.http.update({PYREQWEST: a_row(115, 72_000)}),
            "rate of NewOrder + place, http1 to pyr",
            0.5,
        ),
        (lambda run: run.http.update({BARE_H2: a_row(160, 9_000)}), "to bare h2 loop", 1.5),
        (
            lambda run: run.http.update({place_row("http1"): a_row(92, 40_000, 30)}),
            "CPU time per order at 1,024 in flight to 64, place, http1",
            1.5,
        ),
        (lambda run: setattr(run.probed, "rounds", [2.5]), "p99 to p50", 2.5),
        (lambda run: setattr(run.first["http1"], "handshakes_after_idle", 2), "after idle", 2),
    ],
)
def test_what_misses_its_target_is_said(
    spoil: Callable[[LoopResults], object], text: str, measured: float
) -> None:
    results = a_run()
    del results.loops["plain"]
    results.loops["uvloop"].http.pop(SHARED_POOL)
    spoil(results.loops["uvloop"])
    found = [verdict for verdict in verdicts(results) if text in verdict.what and verdict.measured is not None]
    assert [verdict.measured for verdict in found] == [pytest.approx(measured)]
    assert [verdict.met for verdict in found] == [False]
    assert f"{measured:.2f}".rstrip("0").rstrip(".") in report(results)
    assert report(results).count("MISSED") == sum(verdict.met is False for verdict in verdicts(results))


def test_what_could_not_be_measured_is_neither_met_nor_missed() -> None:
    results = a_run()
    results.loops["plain"].http.pop(PYREQWEST)
    results.loops["plain"].probed = None
    results.decoding = None
    unmeasured = [verdict for verdict in verdicts(results) if verdict.measured is None]
    assert len(unmeasured) == 1 + 2 + 1 + 2
    assert {verdict.met for verdict in unmeasured} == {None}
    assert report(results).count("not measured") == len(unmeasured)


def test_the_tail_over_another_transport_is_no_answer() -> None:
    results = a_run()
    probed = results.loops["plain"].probed
    assert probed is not None
    probed.transport = "aiohttp"
    assert said(results, "plain loop: p99").met is None


# The report


def test_the_report_shows_every_row_and_what_was_skipped() -> None:
    results = a_run()
    results.skipped.append("ccxt: not installed")
    text = report(results)
    lines = text.splitlines()
    for name in made_up():
        assert sum(line.startswith(name + " ") for line in lines) >= 2
    floor = next(line for line in lines if line.startswith("floor "))
    assert floor.split() == [
        "floor",
        "80",
        "80",
        "80",
        "1.00",
        "90,000",
        "1.00",
        "20.0",
        "180%",
        "90,000",
        "20.0",
        "1.00",
    ]
    assert "p99/p50 1.50" in text
    assert text.endswith("skipped\n  ccxt: not installed\n")
    assert not any(line != line.rstrip() for line in lines)


def test_a_short_run_says_that_it_means_nothing() -> None:
    results = a_run()
    assert "mean nothing" not in report(results)
    results.plan.short = True
    assert "mean nothing" in report(results)


def test_results_survive_json() -> None:
    results = a_run()
    again = msgspec.json.decode(msgspec.json.encode(results), type=Results)
    assert again == results
    assert report(again) == report(results)


def test_the_plot(tmp_path: Path) -> None:
    try:
        load("matplotlib")
    except Skipped:
        with pytest.raises(Skipped, match="matplotlib is not installed"):
            draw(a_run(), tmp_path / "plot.png")
        return
    draw(a_run(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


# Rounds


class Sender:
    """An entrant without any socket: it notes who was called, and fails from the `fails_at`th call on."""

    def __init__(self, name: str, log: list[str], *, ours: bool = False, fails_at: int | None = None) -> None:
        self.name = name
        self.log = log
        self.fails_at = fails_at
        self.calls = self.open = 0
        self.entrant = Entrant(name, (name,), self._open, ours=ours)

    @asynccontextmanager
    async def _open(self, _target: Target, _count: int) -> AsyncIterator[Mapping[str, Call]]:
        self.open += 1
        try:
            yield {self.name: self._call}
        finally:
            self.open -= 1

    async def _call(self) -> None:
        self.calls += 1
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise ConnectionError("gone")
        if self.log[-1:] != [self.name]:
            self.log.append(self.name)
        await asyncio.sleep(0)


async def measured(senders: Sequence[Sender], told: list[str]) -> dict[str, Row]:
    entrants = [sender.entrant for sender in senders]
    return await measure_rounds(entrants, Target("http://h:1", "http://h:2"), QUICK, (1, 4, 8), told.append)


async def test_all_take_turns_forwards_and_backwards() -> None:
    log: list[str] = []
    senders = [Sender(name, log) for name in "abc"]
    rows = await measured(senders, [])
    assert "".join(log) == "abc" + "abc" + "ba" + "bc"  # opening, then three rounds; who goes on is noted once
    assert list(rows) == ["a", "b", "c"]
    for row in rows.values():
        assert row.alone is not None
        assert len(row.alone.rounds) == 3
        assert {width: len(load.rates) for width, load in row.loads.items()} == {4: 3, 8: 3}
    assert [sender.open for sender in senders] == [0, 0, 0]


@pytest.mark.parametrize("fails_at", [1, 60])
async def test_a_peer_that_fails_is_named_and_leaves(fails_at: int) -> None:
    told: list[str] = []
    senders = [Sender("floor", []), Sender("peer", [], fails_at=fails_at)]
    rows = await measured(senders, told)
    assert list(rows) == ["floor"]
    assert told == ["peer: failed with ConnectionError: gone"]
    assert [sender.open for sender in senders] == [0, 0]


@pytest.mark.parametrize(("name", "ours"), [("ours-http1", True), ("floor", False)])
@pytest.mark.parametrize("fails_at", [1, 60])
async def test_what_the_run_is_about_must_not_fail(name: str, ours: bool, fails_at: int) -> None:
    sender = Sender(name, [], ours=ours, fails_at=fails_at)
    with pytest.raises((ConnectionError, ExceptionGroup)):
        await measured([sender], [])
    assert sender.open == 0


async def test_a_peer_that_is_not_installed_is_skipped() -> None:
    @asynccontextmanager
    async def opened(_target: Target, _count: int) -> AsyncIterator[Mapping[str, Call]]:
        load("no_such_package_at_all")
        yield {}

    told: list[str] = []
    entrant = Entrant("stranger", ("stranger",), opened)
    assert not await measure_rounds([entrant], Target("http://h:1", "http://h:2"), QUICK, (1,), told.append)
    assert told == ["stranger: no_such_package_at_all is not installed"]


def test_names_of_entrants_and_rows_are_unique() -> None:
    names = [entrant.name for entrant in ENTRANTS]
    rows = [row for entrant in ENTRANTS for row in entrant.rows]
    assert len(set(names)) == len(names)
    assert len(set(rows)) == len(rows)
    readme = (Path(__file__).parents[1] / "benchmarks" / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in names)


# What is sent and answered


def test_the_canned_report_answers_the_canned_order() -> None:
    order, report_read = new_order(), AnswerReader(ExecutionReport).one(REPORT)
    assert report_read.client_order_id == order.client_order_id == order_fields()["client_order_id"]
    assert decode(REPORT).client_order_id == order.client_order_id
    assert not report_read.unread
    assert f"{len(REPORT)} bytes" in (Path(__file__).parents[1] / "benchmarks" / "README.md").read_text()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_server_answers_each_http1_request_once(size: int) -> None:
    sent: list[bytes] = []
    server = Http1(sent.append, {b"/list": lambda: b"[]"})
    wire = b"POST /v1/orders HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd" * 2 + b"GET /list HTTP/1.1\r\n\r\n"
    orders = [server.feed(wire[at : at + size]) for at in range(0, len(wire), size)]
    assert sent[:2] == [ANSWER, ANSWER]
    assert sent[2].endswith(b"\r\n\r\n[]")
    assert len(sent) == 3
    assert sum(orders) in (1, 2)


def request(stream: int) -> bytes:
    return frame(1, 0x4, stream, b"\x83") + frame(0, 0x1, stream, b"{}")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_server_answers_each_http2_stream_once(size: int) -> None:
    sent: list[bytes] = []
    server = Http2(sent.append)
    get = frame(1, 0x5, 5, b"\x82")
    wire = PREFACE + frame(4, 0, 0) + request(1) + request(3) + get + frame(6, 0, 0, b"12345678")
    for at in range(0, len(wire), size):
        server.feed(wire[at : at + size])
    told = b"".join(sent)
    for stream in (1, 3, 5):
        assert told.count(answer(stream)) == 1
    assert told.count(frame(4, 1, 0)) == 1
    assert told.count(frame(6, 1, 0, b"12345678")) == 1


def test_the_server_keeps_to_the_window_of_the_connection() -> None:
    sent: list[bytes] = []
    server = Http2(sent.append)
    fits = 65_535 // len(REPORT)
    server.feed(PREFACE + b"".join(request(2 * number + 1) for number in range(fits + 2)))
    assert b"".join(sent).count(REPORT) == fits
    server.feed(frame(8, 0, 1, (1 << 20).to_bytes(4, "big")))  # of one stream only
    assert b"".join(sent).count(REPORT) == fits
    server.feed(frame(8, 0, 0, (1 << 20).to_bytes(4, "big")))
    assert b"".join(sent).count(REPORT) == fits + 2


@pytest.mark.parametrize(("number", "listens"), [((1, 22, 1), True), ((1, 25, 1), False), ((1, 27, 0), False)])
def test_nginx_is_told_of_http2_in_its_own_words(number: tuple[int, ...], listens: bool) -> None:
    folder = Path("/folder")
    text = configuration(folder, list(range(9001, 9013)), Certificates(folder / "server.pem", b""), number)
    assert ("listen 127.0.0.1:9002 http2 backlog" in text) is listens
    assert ("http2 on;" in text) is not listens
    unquoted = re.sub("'[^']*'", "", text)
    assert unquoted.count("{") == unquoted.count("}")
    assert answers(["http://127.0.0.1:9005"])["/v1/locations"].startswith('[{"location_id": "site-1"')
    assert "ssl_certificate" not in configuration(folder, list(range(9001, 9013)), None, number)
