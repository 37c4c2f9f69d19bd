"""Accounts and the certificate: their secrets reach the service and nothing else."""

import json
import os
import signal
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

from .conftest import SENTINEL, Cli, Service, environment

PRIVATE = "private-9c1d-parameter"
LOGIN = json.dumps({"PublicApiKey": "public-3f2a-parameter", "PrivateApiKey": PRIVATE})


def test_parameters_from_a_file(cli: Cli, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    file.write_text(LOGIN)
    shown = cli("accounts", "save", "KRAKEN/JANE", "--parameters", str(file))
    assert shown.code == 0
    assert "PrivateApiKey" in shown.out
    assert service.operations() == []
    saved = cli("accounts", "save", "KRAKEN/JANE", "--parameters", str(file), "--execute", "--json")
    assert saved.json["executed"] is True
    listed = cli("accounts", "list", "--exchange", "KRAKEN/JANE", "--json").json
    parameters = sorted(one["key"] for one in listed[0]["parameters"])
    assert parameters == ["PrivateApiKey", "PublicApiKey"]
    assert {key for one in listed[0]["parameters"] for key in one} == {"key"}
    assert all(PRIVATE not in ran for ran in (shown.out, shown.err, saved.out, saved.err))


def test_bad_parameters_are_never_quoted(cli: Cli, service: Service) -> None:
    for text in (PRIVATE, f'["{PRIVATE}"]', f'{{"PublicApiKey": ["{PRIVATE}"]}}', f'{{"{PRIVATE}'):
        ran = cli("accounts", "save", "KRAKEN", "--parameters", "-", "--execute", stdin=text)
        assert ran.code == 2
        assert PRIVATE not in ran.out + ran.err
    assert cli("accounts", "save", "KRAKEN", "--parameters", "-", stdin="{}").code == 2


def test_incomplete_parameters_are_refused(cli: Cli, service: Service) -> None:
    told = cli("accounts", "save", "KRAKEN", "--parameters", "-", "--execute", stdin='{"Wrong": "one-two-three"}')
    assert told.code == 6
    assert "one-two-three" not in told.out + told.err


def test_prompts_need_a_terminal(cli: Cli, service: Service) -> None:
    ran = cli("accounts", "save", "KRAKEN/JANE", "--execute", stdin="")
    assert ran.code == 2
    assert "--parameters" in ran.sentence
    assert cli("accounts", "save", "KRAKEN/JANE").code == 0


def test_ctrl_c_at_a_prompt_ends_it_and_lets_the_terminal_echo_again(service: Service) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "coinapi_ems_async.cli", "accounts", "save", "KRAKEN/JANE", "--execute"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(COINAPI_API_KEY=SENTINEL, COINAPI_EMS_MANAGEMENT_URL=service.sim.management_url),
        start_new_session=True,  # its own terminal is none: what it is asked with is its standard input
    )
    said = b""
    while b"(hidden)" not in said:
        said += os.read(ours, 1000)
    end = time.monotonic() + 20
    while termios.tcgetattr(ours)[3] & termios.ECHO:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    said += os.read(ours, 1000)
    echoes = termios.tcgetattr(ours)[3] & termios.ECHO
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 130, said
    assert said.count(b"interrupted.") == 1
    assert b"Traceback" not in said
    assert echoes


def test_options_stand_before_the_command_within_it_or_after_it(cli: Cli, service: Service) -> None:
    names = {one["exchange_id"] for one in cli("accounts", "list", "--json").json}
    assert "KRAKEN/JOHN" in names
    for line in (("accounts", "--json", "list"), ("--json", "accounts", "list")):
        assert {one["exchange_id"] for one in cli(*line).json} == names
    assert cli("orders", "--timeout", "0", "list").code == 2
    assert cli("orders", "--timeout", "0", "list", "--timeout", "5").code == 0
    assert cli("--timeout", "0", "orders", "--timeout", "5", "list", "--json").json == []


def test_a_group_without_a_command_is_wrong_usage(cli: Cli) -> None:
    told = cli("accounts", "--json").json
    assert told["error"]["exit_code"] == 2
    assert "Missing command" in told["error"]["message"]


def test_accounts_come_and_go(cli: Cli, service: Service) -> None:
    assert cli("accounts", "delete", "KRAKEN/JOHN").code == 0
    assert "KRAKEN/JOHN" in cli("accounts", "list").out
    assert cli("accounts", "delete", "KRAKEN/JOHN", "--execute").code == 0
    assert "KRAKEN/JOHN" not in cli("accounts", "list").out
    assert cli("accounts", "delete-all", "--execute").code == 0
    assert cli("accounts", "list", "--json").json == []


def test_the_certificate(cli: Cli, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    assert cli("certificate", "--json").code == 2
    ran = cli("certificate", "--output", str(file))
    assert ran.code == 0
    assert "PRIVATE KEY" in file.read_text()
    assert "PRIVATE KEY" not in ran.out + ran.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    asked = len(service.operations())
    assert "--force" in cli("certificate", "--output", str(file)).sentence
    assert "directory" in cli("certificate", "--output", str(tmp_path / "no" / "x.pem")).sentence
    assert len(service.operations()) == asked, "nothing is fetched that could not be kept"
    told = cli("certificate", "--output", str(file), "--force", "--json")
    assert told.json["mode"] == "0600"
    assert "pem" not in told.json
    assert "PRIVATE KEY" in cli("certificate", "--show").out
