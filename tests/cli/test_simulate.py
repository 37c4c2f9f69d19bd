"""`simulate` as a process, and other commands against it."""

import http.client
import json
import shlex
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coinapi_ems_async.cli.exits import Failure
from coinapi_ems_async.cli.simulate_options import ACCOUNTS, read_variants
from coinapi_ems_async.simulator import Simulator, Variants

from .conftest import ACCOUNT, SENTINEL, Cli, order, start


@contextmanager
def simulating(*arguments: str) -> "Iterator[subprocess.Popen[str]]":
    process = start(["simulate", "--site", "here=0", *arguments])
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def variables(line: str) -> dict[str, str]:
    command, *pairs = shlex.split(line)
    assert command == "export"
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_ends_with_0(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    with simulating("--json", "--log", "--exchange", ACCOUNT) as process:
        told = json.loads(first_line(process))
        assert set(told["sites"]) == {"here"}
        for name, value in variables(told["export"]).items():
            monkeypatch.setenv(name, value)
        assert cli("balances", ACCOUNT).code == 0
        assert [one["exchange_id"] for one in cli("accounts", "list", "--json").json] == [ACCOUNT]
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0
        assert out == ""
        assert "here balances - 200" in err


@pytest.mark.parametrize("loop", ["plain", "uvloop"])
def test_tls_and_a_client_certificate(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loop: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with simulating("--tls", "--json") as process:
        found = variables(json.loads(first_line(process))["export"])
        assert set(found) == {"COINAPI_API_KEY", "COINAPI_EMS_MANAGEMENT_URL", "SSL_CERT_FILE"}
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        assert cli("locations", "--loop", loop).code == 0
        assert cli("balances", ACCOUNT, "--loop", loop).code == 0
        file = tmp_path / "client.pem"
        way = ["--loop", loop, "--auth", "certificate", "--certificate-file", str(file)]
        assert cli("balances", ACCOUNT, *way).code == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert cli("balances", ACCOUNT, *way).code == 0
        assert cli("bench", "--count", "2", *way).code == 0
        assert len(list(tmp_path.glob("simulated-ems-*"))) == 1
    assert not list(tmp_path.glob("simulated-ems-*"))


def test_for_people_and_with_a_key_of_ones_own(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SENTINEL)
    with simulating("--api-key-file", str(key), "--management-port", str(free_port())) as process:
        assert process.stdout is not None
        lines = [first_line(process) for _ in range(9)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    told = "".join(lines) + out + err
    assert "Managed Cloud API" in told
    assert f'COINAPI_API_KEY="$(cat {key})"' in told
    assert SENTINEL not in told


def test_a_port_that_is_taken(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("simulate", "--management-port", str(taken.getsockname()[1]))
    assert ran.code == 2
    assert "cannot be used" in ran.sentence


def use(process: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Point the environment at the simulator; return where its sites are."""
    told = json.loads(first_line(process))
    for name, value in variables(told["export"]).items():
        monkeypatch.setenv(name, value)
    return list(told["sites"].values())


def test_faults_of_the_exchanges_and_of_the_wire(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    switches = ["--down", "KRAKEN", "--slow", ACCOUNT, "--variant", "cancel_all=empty", "--per-site-orders"]
    with simulating("--json", "--site", "there=0", "--pace", "captured", *switches) as process:
        sites = use(process, monkeypatch)
        assert cli("balances", "KRAKEN").code == 6
        slow = cli(*order("--execute", "--json", "--client-order-id", "late"))
        assert (slow.code, slow.json["status"]) == (0, 504)
        assert slow.json["settled"]["outcome"] == "accepted"
        assert slow.json["timing"]["round_trip_milliseconds"] >= 1_000
        held = [
            cli("orders", "list", ACCOUNT, "--self-hosted", site, "--auth", "header", "--json").json
            for site in sites
        ]
        assert sorted(map(len, held)) == [0, 1]
        gone = cli("orders", "cancel-all", "--exchange", ACCOUNT, "--execute", "--json").json
        assert (gone["outcome"], gone["message"]) == ("accepted", None)


@pytest.mark.parametrize("status", ["401", "403"])
def test_every_caller_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    with simulating("--json", "--auth-fail", status) as process:
        use(process, monkeypatch)
        assert cli("locations", "--json").json["error"]["status"] == int(status)


def test_a_bearer_token_from_a_file(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SENTINEL}\n")
    with simulating("--json", "--require-bearer-file", str(file)) as process:
        use(process, monkeypatch)
        assert cli("locations", "--json").json["error"]["status"] == 401
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert SENTINEL not in out + err


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        (["--variant", "nonsense=1"], "cancel_all=message|message_reject|empty|report, good_till_time="),
        (["--variant", "cancel_all=maybe"], "is one of: message, message_reject, empty, report."),
        (["--variant", "sparse"], "sparse is one of: false, true."),
        (["--down", "GEMINI"], "KRAKEN, KRAKEN/JOHN, BITMEX/JOHN, DERIBIT."),
        (["--slow", "GEMINI"], "--slow 'GEMINI'"),
        (["--auth-fail", "500"], "'401', '403'"),
        (["--pace", "slow"], "'fast', 'captured'"),
        (["--require-bearer-file", "/nowhere"], "the token file /nowhere cannot be read"),
    ],
)
def test_wrong_switches_are_told_with_the_right_ones(cli: Cli, switches: list[str], told: str) -> None:
    ran = cli("simulate", *switches)
    assert ran.code == 2
    assert told in ran.sentence


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        (["--faults", "burn:response"], "there are reset, fin, freeze, drip, delay."),
        (["--faults", "nonsense"], "such as reset:response@120;"),
        (["--faults", "503:order_new,when=now"], "there are site, client_order_id, body"),
        (["--faults", "seed=1,rate=0.1", "--faults", "seed=2,rate=0.1"], "there is a seed already."),
        (["--faults", "reset:response,site=nowhere"], "names 'nowhere', which is none of the sites:"),
        (["--faults", "refuse:connect,site=nowhere"], "names 'nowhere', which is none of the sites:"),
        (["--faults", "expired:certificate"], "'expired' is for servers with a certificate: add --tls."),
        (["--faults", "503:order_new,site=nowhere"], "names 'nowhere', which is none of the sites:"),
    ],
)
def test_wrong_faults_are_told_with_the_right_ones(cli: Cli, switches: list[str], told: str) -> None:
    ran = cli("simulate", *switches)
    assert ran.code == 2
    assert told in ran.sentence


def fetch(url: str, key: str) -> int | str:
    """The status of a read, or the name of what went wrong."""
    request = urllib.request.Request(url, headers={"X-CoinAPI-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def test_faults_on_the_wire_and_in_answers() -> None:
    faults = [
        "reset:response@100,match=GET /v1/orders",
        "503:balances,times=2",
        "real:positions,truncate=0,end=fin",
    ]
    switches = [part for fault in faults for part in ("--faults", fault)]
    with simulating("--json", "--log", "--site", "there=0", *switches) as process:
        told = json.loads(first_line(process))
        key = variables(told["export"])["COINAPI_API_KEY"]
        assert told["faults"] == faults
        url = told["sites"]["there"]
        assert [fetch(f"{url}/v1/orders", key) for _ in range(2)] == ["ConnectionResetError", 200]
        assert [fetch(f"{told['sites']['here']}/v1/balances", key) for _ in range(3)] == [503, 503, 200]
        assert fetch(f"{url}/v1/positions", key) == "IncompleteRead"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert "there: reset on connection 1, response after" in err
    assert " and 100 down" in err


def test_sites_that_nobody_reaches(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ["refuse:connect,site=here", "blackhole:connect,site=there"]
    switches = [part for fault in faults for part in ("--faults", fault)]
    with simulating("--json", "--site", "there=0", "--site", "last=0", *switches) as process:
        told = json.loads(first_line(process))
        for name, value in variables(told["export"]).items():
            monkeypatch.setenv(name, value)
        found = {one["id"]: one["health"] for one in cli("sites", "--json").json}
        assert found["last"] == "healthy"
        assert "healthy" not in (found["here"], found["there"])
        placed = cli(*order("--execute", "--json")).json
        assert (placed["outcome"], placed["site"]) == ("accepted", "last")


def test_a_certificate_that_has_expired(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulating("--tls", "--json", "--faults", "expired:certificate") as process:
        use(process, monkeypatch)
        assert cli(*order("--execute", "--json")).json["outcome"] == "not_sent"


def test_faults_from_a_seed_are_shown() -> None:
    drawn = "seed=7,rate=1,actions=reset,directions=request,within=0"
    with simulating("--faults", drawn) as process:
        lines = [first_line(process) for _ in range(10)]
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert drawn in "".join(lines) + out
    with simulating("--json", "--faults", drawn) as process:
        told = json.loads(first_line(process))
        key = variables(told["export"])["COINAPI_API_KEY"]
        assert fetch(f"{told['sites']['here']}/v1/orders", key) in ("ConnectionResetError", "RemoteDisconnected")
        assert fetch(f"{told['management_url']}/v1/locations", key) == 200


def test_variants_are_read_by_their_own_types() -> None:
    given = ["cancel_all=report", "status_miss=400", "sparse=true", "history_configured=false"]
    assert read_variants(given) == Variants(
        cancel_all="report", status_miss=400, sparse=True, history_configured=False
    )
    assert read_variants(None) == Variants()
    with pytest.raises(Failure):
        read_variants(["=x"])


def test_the_accounts_of_the_help_are_those_of_the_simulator() -> None:
    assert tuple(Simulator().accounts) == ACCOUNTS


def test_the_switches_are_documented(cli: Cli) -> None:
    out = cli("simulate", "--help").out
    for name in (
        "faults",
        "variant",
        "per-site-orders",
        "down",
        "slow",
        "auth-fail",
        "require-bearer-file",
        "pace",
    ):
        assert f"--{name} " in out


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
