"""No secret reaches the terminal, whatever goes wrong."""

import json
from pathlib import Path

import pytest

from coinapi_ems_async.simulator import Injection

from .conftest import ACCOUNT, SENTINEL, Cli, Service, order, start
from .test_operations import COMMANDS, LOGIN

MORE = (
    ["sites"],
    ["bench", "--count", "1"],
    order("--execute", amount="90000000"),
    ["orders", "status", "nobody"],
    ["balances", "--auth", "query"],
    ["balances", "--management-url", "http://127.0.0.1:1"],
    ["balances", "--management-url", "http://127.0.0.1:1", "--auth", "query"],
    ["balances", "--self-hosted", "http://127.0.0.1:1", "--auth", "query"],
)
MODES: tuple[list[str], ...] = ([], ["--json"], ["--debug"], ["--json", "--debug"])


@pytest.mark.parametrize("mode", MODES, ids=["plain", "json", "debug", "json-debug"])
def test_no_command_shows_a_secret(cli: Cli, service: Service, tmp_path: Path, mode: list[str]) -> None:
    for command in (*MORE, *COMMANDS.values()):
        file = tmp_path / "client.pem"
        file.unlink(missing_ok=True)
        ran = cli(*(part.replace("{file}", str(file)) for part in command), *mode, stdin=LOGIN)
        told = ran.out + ran.err
        assert SENTINEL not in told, command
        assert "private-value" not in told, command
        assert "simulated-" not in told, command
        assert "PRIVATE KEY" not in told, command
        assert '"apikey"' not in told, command


@pytest.mark.parametrize("mode", MODES, ids=["plain", "json", "debug", "json-debug"])
def test_a_service_that_echoes_the_key(cli: Cli, service: Service, mode: list[str]) -> None:
    body = json.dumps({"message": f"the key {SENTINEL} is not allowed"})
    for status in (400, 401, 403, 404, 429, 490):
        service.do(service.sim.clear_injections)
        service.do(lambda: service.sim.inject(Injection(status=status, body=body, times=None)))  # noqa: B023
        for command in (["accounts", "list"], ["sites"]):
            ran = cli(*command, *mode)
            assert ran.code == 6
            assert SENTINEL not in ran.out + ran.err


@pytest.mark.parametrize("mode", MODES, ids=["plain", "json", "debug", "json-debug"])
def test_an_order_refused_with_the_key_in_its_text(cli: Cli, service: Service, mode: list[str]) -> None:
    body = json.dumps({"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": f"key {SENTINEL}"})
    service.do(lambda: service.sim.inject(Injection(operation="order_new", status=400, body=body)))
    ran = cli(*order("--execute"), *mode)
    assert ran.code == 3
    assert SENTINEL not in ran.out + ran.err


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_wrong_key_is_not_shown(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    wrong = "wrong-but-secret/key+1"
    monkeypatch.setenv("COINAPI_API_KEY", wrong)
    for mode in MODES:
        for command in (["balances", ACCOUNT], ["accounts", "list"], order("--execute")):
            ran = cli(*command, "--auth", way, *mode)
            assert ran.code == 6
            assert wrong not in ran.out + ran.err
            assert "wrong-but-secret%2Fkey%2B1" not in ran.out + ran.err


def test_as_a_process() -> None:
    command = ["balances", "--management-url", "http://127.0.0.1:1", "--auth", "query"]
    running = [start([*command, *mode], COINAPI_API_KEY=SENTINEL) for mode in MODES]
    for process in running:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 6
        assert SENTINEL not in out + err
