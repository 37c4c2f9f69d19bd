"""`simulate` as a process, and other commands against it."""

import json
import shlex
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import ACCOUNT, SENTINEL, Cli, start


@contextmanager
def simulating(*arguments: str) -> "Iterator[subprocess.Popen[str]]":
    process = start(["simulate", "--site", "here=0", *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
