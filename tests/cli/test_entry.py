"""The way in: help, version, the missing extra, what is imported when."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

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


PRESSED: Final = """
import os, signal, sys

class Importing:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.argv = ["coinapi-ems", "sites", *{more!r}]
from coinapi_ems_async.cli import main
sys.meta_path.insert(0, Importing())
main()
"""


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(
    "name",
    ["coinapi_ems_async.cli.app", "typer", "rich.console", "coinapi_ems_async.cli.output"],
)
def test_ctrl_c_while_it_is_still_importing(name: str, more: list[str]) -> None:
    ran = python(PRESSED.format(name=name, more=more))
    assert ran.returncode == 130, ran.stderr
    if more:
        assert json.loads(ran.stdout)["error"]["exit_code"] == 130
        assert ran.stderr == ""
    else:
        assert (ran.stdout, ran.stderr) == ("", "error: interrupted.\n")


def test_ctrl_c_at_the_very_end_changes_nothing() -> None:
    """What a `__del__` does as the interpreter goes down is as late as code of ours can be."""
    late = (
        "import os, signal, sys\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT): kill(me, number)\n"
        "sys.late = Late()\n"
        "sys.argv = ['coinapi-ems', '--version']\n"
        "from coinapi_ems_async.cli import main\n"
        "main()"
    )
    ran = python(late)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"coinapi-ems {__version__}\n"


def test_ctrl_c_is_left_ignored_where_it_was() -> None:
    ran = python(
        f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN){PRESSED.format(name='rich', more=[])}"
    )
    assert ran.returncode == 2, ran.stderr
    assert "no API key" in ran.stderr


def test_an_internal_error_is_1_without_a_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from coinapi_ems_async.cli.context import Invocation

    monkeypatch.setattr(Invocation, "cloud", lambda self: 1 / 0)
    ran = cli("locations")
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.sentence
    told = cli("locations", "--json")
    assert told.json["error"]["exit_code"] == 1
    assert "Traceback" in cli("locations", "--debug").err
