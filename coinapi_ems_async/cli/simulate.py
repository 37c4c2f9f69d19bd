"""`coinapi-ems simulate`: the whole service on this machine, until it is interrupted."""

import asyncio
import logging
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from .commands import LOCAL, command
from .context import Invocation, read_key
from .exits import Failure
from .tables import table

if TYPE_CHECKING:
    from ..simulator import Simulator

__all__ = ["register"]

_DEFAULT_SITES: Final = ("aws-us-east-1-prd=40", "aws-eu-west-1-prd=15", "aws-us-west-2-prd=5")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "simulate", LOCAL)(simulate)


async def simulate(
    run: Invocation,
    site: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=MILLISECONDS",
            help=f"A site and its delay there and back; may be repeated. By default {', '.join(_DEFAULT_SITES)}.",
        ),
    ] = None,
    exchange: Annotated[
        list[str] | None,
        typer.Option(metavar="EXCHANGE", help="An exchange account every site serves; may be repeated."),
    ] = None,
    management_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Managed Cloud API; 0: any.")
    ] = 0,
    tls: Annotated[
        bool, typer.Option("--tls", help="https everywhere, with a certificate authority of its own.")
    ] = False,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key callers must show; by default one is made up and shown."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the ids the exchanges give out repeatable.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Write a line on stderr for each request.")] = False,
) -> None:
    """Run a simulator of the whole service, until Ctrl-C.

    It serves both APIs on this machine: exchanges with order books, balances and positions, on which orders
    really fill. Paste the line it prints into another terminal, and every command, or your own program, talks
    to the simulator.
    """
    key = None if api_key_file is None else read_key(api_key_file)
    if key is not None:
        run.out.hide(key)
    simulator = await _started(
        site or _DEFAULT_SITES, exchange, api_key=key, tls=tls, management_port=management_port, seed=seed
    )
    try:
        line = _environment(simulator.environment(), api_key_file)
        _tell(run, simulator.management_url, simulator.site_urls, line)
        await _until_stopped(log)
    finally:
        await simulator.stop()


async def _started(sites: Sequence[str], accounts: Sequence[str] | None, **options: Any) -> "Simulator":
    from ..simulator import Simulator

    if accounts:
        options["exchanges"] = accounts
    try:
        simulator = Simulator(sites=dict(map(_site, sites)), **options)
        await simulator.start()
    except ValueError as error:
        raise Failure(f"{error}.") from None
    except OSError as error:
        port = options["management_port"]
        raise Failure(f"the port {port} cannot be used: {error.strerror}.") from None
    except ImportError:
        raise Failure('--tls needs trustme; install it with: pip install "coinapi-ems-async[simulator]"') from None
    return simulator


def _site(text: str) -> tuple[str, float]:
    name, _, delay = text.rpartition("=")
    try:
        seconds = float(delay) / 1000
    except ValueError:
        seconds = -1.0
    if not name or not 0 <= seconds < 60:
        raise Failure(f"--site {text!r} is not of the form ID=MILLISECONDS, such as aws-eu-west-1-prd=15.")
    return name, seconds


def _environment(values: dict[str, str], key_file: Path | None) -> str:
    """The line to paste; a key that was given is the user's own and is not shown."""
    quoted = {name: shlex.quote(value) for name, value in values.items()}
    if key_file is not None:
        quoted["COINAPI_API_KEY"] = f'"$(cat {shlex.quote(str(key_file.absolute()))})"'
    return "export " + " ".join(f"{name}={value}" for name, value in quoted.items())


def _tell(run: Invocation, management: str, sites: dict[str, str], line: str) -> None:
    data: dict[str, Any] = {"management_url": management, "sites": sites, "export": line}
    addresses: Table = table("server", "address")
    addresses.add_row(Text("Managed Cloud API", style="bold"), management)
    for name, url in sites.items():
        addresses.add_row(Text(name, style="name"), url)
    run.out.show(data, addresses, "Paste this into another terminal:\n")
    if not run.out.json:
        run.out.line(line)
        run.out.show(None, Text("\nCtrl-C ends it.", style="faint"))


async def _until_stopped(log: bool) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if log:
        logging.getLogger("coinapi_ems_async.simulator").setLevel(logging.INFO)
    try:
        await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
