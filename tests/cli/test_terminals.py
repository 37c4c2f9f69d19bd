"""Terminals of every width, without Unicode, and readers that leave early."""

import json
import re
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from coinapi_ems_async.cli.demo_views import latency_table
from coinapi_ems_async.cli.exits import sentence
from coinapi_ems_async.cli.output import THEME, without_unicode
from coinapi_ems_async.cli.sheet import Bar, Sheet
from coinapi_ems_async.cli.stats import summarise
from coinapi_ems_async.errors import InvalidRequest
from coinapi_ems_async.simulator import Injection

from .conftest import ROOT, Cli, Service, environment

SITES = ["aws-us-west-2-prd", "aws-eu-west-1-prd", "aws-us-east-1-prd"]
COMMAND = f"{sys.executable} -m coinapi_ems_async.cli"
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def shell(command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    run = ["bash", "-c", f"set -o pipefail; {command}"]
    return subprocess.run(run, capture_output=True, text=True, env=environment(**more), cwd=ROOT, check=False)


def drawn(view: object, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, theme=THEME)
    with console.capture() as capture:
        console.print(view)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_ids_stay_whole_and_lines_fit(width: int) -> None:
    samples = {site: [0.001 * place for place in range(1, 26)] for site in SITES}
    figures = {site: summarise(found) for site, found in samples.items()}
    lines = drawn(latency_table(samples, figures), width)
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line.strip()]) == 2 + len(SITES)
    for site in SITES:
        (line,) = [line for line in lines if site in line]
        assert "█" in line


def test_columns_are_spared_before_anything_is_folded() -> None:
    sheet = Sheet(("id", "more", "number", "bar"), right=("number",), spare=("more", "bar"), wrap=("bar",))
    sheet.add_row("a-long-id", "even-more-of-it", "12345", Bar(1, 1, 30))
    assert [len(line.split()) for line in drawn(sheet, 60) if "long" in line] == [4]
    assert [len(line.split()) for line in drawn(sheet, 40) if "long" in line] == [3]
    assert [len(line.split()) for line in drawn(sheet, 22) if "long" in line] == [2]
    folded = "".join(re.sub(r"\s", "", line) for line in drawn(sheet, 14))
    assert "a-lo" in folded
    assert "5" in folded


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_sites_at_every_width(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for command in (["sites"], ["bench", "--count", "2"]):
        out = cli(*command).out
        assert max(map(len, out.splitlines())) <= int(columns)
        assert all(site in out for site in service.sim.site_urls)


def test_a_terminal_without_unicode(service: Service) -> None:
    for command in ("demo --fast", "sites", "--help", "simulate --help"):
        ran = shell(f"{COMMAND} {command}", **ASCII)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        assert ran.stdout.isascii()


def test_json_without_unicode_says_the_same(service: Service) -> None:
    name = "caf\u00e9-\U0001f600"
    ran = shell(
        f'{COMMAND} orders place --exchange "KRAKEN/$NAME" --symbol-exchange "$NAME" --side buy '
        "--amount 1 --price 1 --json",
        NAME=name,
        PYTHONIOENCODING="ascii",
    )
    assert ran.stdout.isascii()
    assert json.loads(ran.stdout)["request"]["body"]["symbol_id_exchange"] == name


@pytest.mark.parametrize("command", ["--help", "sites", "sites --json", "demo --fast", "demo --json"])
def test_a_reader_that_leaves(service: Service, command: str) -> None:
    ran = shell(f"{COMMAND} {command} | head -c 1", PYTHONUNBUFFERED="")
    assert ran.returncode == 0
    assert ran.stderr == ""


def test_pictures_have_plainer_twins() -> None:
    assert without_unicode("▶ ✓ ██▏ é", "ascii") == "> + ##. ?"
    assert without_unicode("▶ ✓ é", "utf-8") == "▶ ✓ é"


def test_marks_of_the_notes_stay_in_the_library() -> None:
    for mark in ("(protocol C-32)", "(protocol C-32, U-1)", "(protocol C-2 and C-31)"):
        assert (
            sentence(InvalidRequest(f"exactly one of both is needed {mark}")) == "exactly one of both is needed."
        )
        assert sentence(InvalidRequest(f"one {mark}, not both")) == "one, not both."
    twice = InvalidRequest("the connection was refused: the connection was refused (x)")
    assert sentence(twice) == "the connection was refused (x)."


PLACE = f"{COMMAND} orders place --exchange KRAKEN/JOHN --symbol KRAKEN_SPOT_BTC_USDT --side buy --execute"


LOST = {
    "full-disk": ">/dev/full",
    "closed": ">&-",
    "left": "| true",
    "full-disk-json": "--json >/dev/full",
    "closed-plain": "--loop plain >&-",
}


@pytest.mark.parametrize("name", LOST)
def test_the_outcome_of_an_order_survives_a_lost_output(service: Service, name: str) -> None:
    done = shell(f"{PLACE} --amount 1 --price 9000 --client-order-id {name} {LOST[name]}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "again" not in done.stderr
    assert service.do(lambda: service.sim.executions(name)) == 1
    if "full" in name:
        assert f"client_order_id {name}" in done.stderr


def test_a_rejection_survives_a_lost_output(service: Service) -> None:
    done = shell(f"{PLACE} --amount 100000000 --price 9000 >/dev/full")
    assert done.returncode == 3, done.stderr


@pytest.mark.parametrize("more", ["", "--json"])
def test_what_to_do_about_an_unknown_outcome_survives_a_lost_output(service: Service, more: str) -> None:
    service.do(lambda: service.sim.inject(Injection(operation="order_new", status=503)))
    done = shell(f"{PLACE} --amount 1 --price 9000 --client-order-id lost {more} >/dev/full")
    assert done.returncode == 5, done.stderr
    assert "do NOT send it again" in done.stderr


@pytest.mark.parametrize("way", [">/dev/full", ">&-"])
@pytest.mark.parametrize(
    "command",
    ["sites", "sites --watch --json", "simulate", "simulate --json", "orders list --json", "--help", "--version"],
)
def test_an_answer_that_could_not_be_written_is_told_in_one_line(service: Service, command: str, way: str) -> None:
    done = shell(f"{COMMAND} {command} {way}")
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the answer could not be written to standard output: ")


def test_a_failure_that_could_not_be_written_as_json_is_told_on_stderr(service: Service) -> None:
    done = shell(f"{COMMAND} orders status nobody --json >/dev/full")
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert "proves nothing" in line
    assert shell(f"{COMMAND} orders status nobody --json").stderr == ""


@pytest.mark.parametrize("way", ["2>/dev/full", "2>&-"])
def test_notes_that_could_not_be_written_change_nothing(service: Service, way: str) -> None:
    assert shell(f"{COMMAND} sites {way}").returncode == 0
    assert shell(f"{COMMAND} nonsense {way}").returncode == 2
    placed = shell(f"{PLACE} --amount 1 --price 9000 --client-order-id silent {way}")
    assert placed.returncode == 0
    assert service.do(lambda: service.sim.executions("silent")) == 1


def test_a_simulator_whose_address_nobody_reads_ends() -> None:
    done = shell(f"{COMMAND} simulate --site here=0 | true")
    assert (done.returncode, done.stderr) == (0, "")
