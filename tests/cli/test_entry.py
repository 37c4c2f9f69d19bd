"""The way in: help, version, the missing extra, what is imported when."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from coinapi_ems_async import __version__
from coinapi_ems_async.cli.app import app
from coinapi_ems_async.cli.exits import HELP, Exit

from .conftest import Cli, environment

COMMANDS = (
    *("demo", "simulate", "sites", "locations", "exchanges", "endpoints", "certificate", "balances", "positions"),
    *("accounts", "orders", "bench"),
)


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment(), check=False
    )


def test_help_names_every_command_and_exit_status(cli: Cli) -> None:
    ran = cli("--help")
    assert ran.code == 0
    assert all(f" {name} " in ran.out for name in COMMANDS)
    assert all(f"{status:d}  {meaning}" in ran.out for status, meaning in HELP)
    assert {status for status, _ in HELP} == set(Exit)


@pytest.mark.parametrize("command", [*((one,) for one in COMMANDS), ("orders", "place"), ("accounts", "save")])
def test_every_command_has_help(cli: Cli, command: tuple[str, ...]) -> None:
    ran = cli(*command, "--help")
    assert ran.code == 0
    assert f"coinapi-ems {' '.join(command)}" in ran.out
    if command[0] not in ("orders", "accounts") or len(command) > 1:
        assert "--json" in ran.out


def leaves(command: Any) -> Iterator[Any]:
    inner = getattr(command, "commands", None)
    for one in [command] if inner is None else inner.values():
        yield from leaves(one) if inner is not None else [one]


def test_every_command_and_every_option_says_what_it_does() -> None:
    found = list(leaves(typer.main.get_command(app)))
    assert len(found) > len(COMMANDS)
    for command in found:
        assert command.help
        assert command.help.endswith("."), command.name
        for option in command.params:
            assert option.help or option.hidden or option.name == "help", (command.name, option.name)


def test_the_key_is_no_option(cli: Cli) -> None:
    for command in ((), *((one,) for one in COMMANDS)):
        out = cli(*command, "--help").out
        assert "--api-key " not in out
        assert "--key" not in out


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"coinapi-ems {__version__}\n"


def test_no_command_shows_the_help(cli: Cli) -> None:
    assert cli().code == 2
    assert cli("orders").code == 2


def test_the_package_does_not_import_the_command_line() -> None:
    ran = python(
        "import sys, coinapi_ems_async, coinapi_ems_async.cli as c;"
        "assert not {'typer', 'rich'} & set(sys.modules), sys.modules.keys()"
    )
    assert ran.returncode == 0, ran.stderr


def test_without_the_extra() -> None:
    hide = (
        "import importlib.util as u; real = u.find_spec;"
        "u.find_spec = lambda name, *more: None if name == 'typer' else real(name, *more);"
        "from coinapi_ems_async.cli import main; main(['sites'])"
    )
    ran = python(hide)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert 'pip install "coinapi-ems-async[cli]"' in ran.stderr


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "coinapi_ems_async.cli", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (ran.returncode, ran.stdout) == (0, f"coinapi-ems {__version__}\n")


def test_an_internal_error_is_1_without_a_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from coinapi_ems_async.cli.context import Invocation

    monkeypatch.setattr(Invocation, "cloud", lambda self: 1 / 0)
    ran = cli("locations")
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.sentence
    told = cli("locations", "--json")
    assert told.json["error"]["exit_code"] == 1
    assert "Traceback" in cli("locations", "--debug").err
