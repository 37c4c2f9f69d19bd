"""`sites`: where orders go, once and again and again."""

import json
import re
import signal
from datetime import UTC, datetime

import pytest

from coinapi_ems_async.cli.site_views import Snapshot, snapshot_lines, snapshot_view
from coinapi_ems_async.client import ClientHealth
from coinapi_ems_async.sites.flags import Flag
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.view import SiteView

from .conftest import ACCOUNT, EAST, SENTINEL, WEST, Cli, Service, start
from .test_terminals import COMMAND, drawn, shell


def test_the_choice_of_each_account(cli: Cli, service: Service) -> None:
    rows = cli("sites", "--json").json
    assert sorted(name for row in rows for name in row["chosen_by"]) == sorted(rows[0]["exchanges"])
    out = cli("sites").out
    assert re.search(rf"{ACCOUNT} +({EAST}|{WEST})", out)
    one = cli("sites", "--exchange", "DERIBIT", "--exchange", "NOBODY")
    assert re.search(rf"DERIBIT +({EAST}|{WEST})", one.out)
    assert re.search("NOBODY +no site serves it", one.out)
    assert ACCOUNT not in one.out
    assert "no site serves NOBODY" in one.err


def test_watching_as_json(cli: Cli, service: Service) -> None:
    options = ["--watch", "--count", "3", "--interval", "0.05", "--exchange", ACCOUNT, "--exchange", "NOBODY"]
    ran = cli("sites", *options, "--json")
    assert ran.code == 0
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert len(told) == 3
    for one in told:
        assert set(one["choices"]) == {ACCOUNT, "NOBODY"}
        assert one["choices"]["NOBODY"] is None
        assert (one["unresolved"], one["crashes"], one["table_kept"]) == (0, {}, False)
        (chosen,) = [site for site in one["sites"] if ACCOUNT in site["chosen_by"]]
        assert chosen["id"] == one["choices"][ACCOUNT]
        assert chosen["samples"]


def test_watching_without_a_terminal(cli: Cli, service: Service) -> None:
    ran = cli("sites", "--watch", "--count", "2", "--interval", "0.05")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert len(lines) == 2 * (1 + len(service.sim.site_urls))
    assert sum("site table read" in line for line in lines) == 2
    assert all(line.startswith("20") for line in lines)


def test_a_self_hosted_site(cli: Cli, service: Service) -> None:
    way = ["--self-hosted", service.sim.site_urls[EAST], "--auth", "header"]
    assert "▶" in cli("sites", *way).out
    told = cli("sites", "--watch", "--count", "1", "--exchange", "ANY", "--json", *way).json
    assert told["choices"] == {"ANY": "self-hosted"}
    assert told["table_age"] is None


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_interrupting_is_its_way_to_end(service: Service, more: list[str]) -> None:
    process = start(
        ["sites", "--watch", "--interval", "0.1", *more],
        COINAPI_API_KEY=SENTINEL,
        COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url,
        PYTHONUNBUFFERED="1",
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("more", ["", "--json"])
def test_it_ends_when_its_reader_leaves(service: Service, more: str) -> None:
    ran = shell(f"timeout 30 {COMMAND} sites --watch --interval 0.1 {more} | head -n 1")
    assert (ran.returncode, ran.stderr) == (0, "")
    full = shell(f"timeout 30 {COMMAND} sites --watch --interval 0.1 {more} > /dev/full")
    assert full.returncode == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--interval", "1"], "go only with --watch"),
        (["--count", "1"], "go only with --watch"),
        (["--watch", "--interval", "0"], "--interval 0.0 must be from"),
        (["--watch", "--interval", "nan"], "--interval nan must be from"),
        (["--watch", "--count", "0"], "--count"),
    ],
)
def test_wrong_options(cli: Cli, options: list[str], told: str) -> None:
    ran = cli("sites", *options)
    assert ran.code == 2
    assert told in ran.sentence


def a_snapshot() -> Snapshot:
    def view(name: str, health: Health, **more: object) -> SiteView:
        fields = {
            "region": "us-east-1",
            "provider": "AWS",
            "url": "https://x",
            "latency": 0.0051,
            "connections": 4,
        }
        return SiteView(id=name, health=health, **(fields | {"exchanges": ("A", "B", "C")} | more))  # type: ignore[arg-type]  # fields of every type

    sites = [
        view(EAST, Health.HEALTHY, samples=tuple((float(at), 0.005 + at / 1000) for at in range(60))),
        view(WEST, Health.HEALTHY, flags=(Flag.THROTTLED, Flag.EXCHANGE_DOWN), unreachable=("A", "B", "C")),
        view("dead", Health.EJECTED, latency=None, last_error="the connection was refused", connections=0),
    ]
    health = ClientHealth(
        is_open=True,
        sites=sites,
        table_age=7_300.0,
        table_kept=True,
        table_error="HTTP 500",
        crashes={"probing": 2},
        unresolved=1,
    )
    return Snapshot(datetime.now(UTC), health, {"A": EAST, "B": EAST, "C": EAST, "D": None})


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_picture_fits_every_terminal(width: int) -> None:
    lines = drawn(snapshot_view(a_snapshot()), width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for said in (
        "site table kept from an earlier run, read 2 h ago, 1 unresolved order, 2 crashes",
        "reading the site table failed: HTTP 500",
        "crashed: probing (2)",
        "no site serves D",
        "dead: the connection was refused",
    ):
        assert said in text
    if width >= 80:
        for name in (EAST, WEST, "dead"):
            assert any(name in line for line in lines)
        (east,) = [line for line in lines if EAST in line]
        assert "█" in east
        assert "A, B +1" in text


def test_the_lines_say_the_same() -> None:
    head, *troubles, east, west, dead = snapshot_lines(a_snapshot())
    assert "unresolved=1 crashes=2" in head
    assert len(troubles) == 3
    assert "chosen_by=A,B,C" in east
    assert "healthy, throttled, cannot reach A, B +1" in west
    assert dead.endswith("last_error=the connection was refused")
