"""The command as a whole: options before the subcommand, help, and what happens to wrong usage."""

import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Annotated, Any, Final

import typer

from .._version import __version__
from . import accounts, batch, bench, demo, orders, reads, recover, simulate, sites
from .commands import COMMON, with_options
from .context import Options
from .exits import HELP, Exit
from .output import Output, forsake_stdout, unwritten

__all__ = ["app", "run"]

_ABOUT: Final = """Orders, balances and accounts of the CoinAPI EMS, from the command line.

The API key comes from $COINAPI_API_KEY or from --api-key-file, never from an argument.
Commands that change anything only show what they would do, until --execute is added.
The options below may stand before the command or after it.

To try it without an account: [bold]coinapi-ems demo[/], or [bold]coinapi-ems simulate[/] and a second terminal.
"""
_STATUSES: Final = "\n".join(f"{status:>4d}  {meaning}" for status, meaning in HELP)
_HELP: Final = f"{_ABOUT}\n[bold]Exit status[/]\n{_STATUSES}"

app: Final = typer.Typer(
    name="coinapi-ems",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coinapi-ems {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave."),
    ] = False,
    **given: Any,
) -> None:
    context.obj = Options(**given)


def _group(context: typer.Context, **given: Any) -> None:
    """The options between the name of a group and that of its command."""
    context.obj = Options(**given).over(context.obj or Options())


def _take_options(body: Callable[..., None]) -> None:
    signature = with_options(body, COMMON)
    own = [one for name, one in signature.parameters.items() if name != "given"]
    signature = signature.replace(parameters=own)
    body.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, typeshed has it not
    body.__annotations__ = {}


def _build() -> None:
    for body in (_root, _group):
        _take_options(body)
    app.callback(help=_HELP)(_root)
    for group in (orders.group, accounts.group):
        group.callback()(_group)
    for module in (demo, simulate, sites, reads, bench):
        module.register(app)
    for module in (batch, recover):
        module.register(orders.group)
    app.add_typer(orders.group, name="orders", help="Place, cancel and look at orders.")
    app.add_typer(accounts.group, name="accounts", help="Exchange accounts and their login parameters.")


_build()


def run(arguments: Sequence[str] | None = None) -> Exit:
    """Run the command line; returns the exit status and never raises for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper):  # help has characters that not every terminal has
        sys.stdout.reconfigure(errors="replace")
    try:
        status = app(given, prog_name="coinapi-ems", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the latter is what rich makes of the former
        forsake_stdout()
        return Exit.OK
    except OSError as error:  # help or version; a command's own answer is its own care
        forsake_stdout()
        Output(json=False).fail(unwritten(error.strerror or type(error).__name__), Exit.INTERNAL)
        return Exit.INTERNAL
    except typer.Exit as leaving:
        return Exit(leaving.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        Output(json="--json" in given).fail("interrupted.", Exit.INTERRUPTED)
        return Exit.INTERRUPTED
    except Exception as error:
        told = getattr(error, "format_message", None)  # what typer raises for wrong usage, whoever defines it
        if told is None:
            raise
        return _usage(told(), getattr(error, "ctx", None), given)
    return Exit(status or 0)


def _usage(said: str, context: Any, given: list[str]) -> Exit:
    said = " ".join(said.split())
    if not said:  # no command at all: the help has been shown
        return Exit.USAGE
    path = context.command_path if context is not None else "coinapi-ems"
    end = "" if said.endswith((".", "?", "!")) else "."
    Output(json="--json" in given).fail(f"{said}{end} See `{path} --help`.", Exit.USAGE)
    return Exit.USAGE
