"""Commands that only read: what the Managed Cloud API tells, balances, positions."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..transport.tls import write_private
from . import tables
from .commands import command
from .context import Invocation
from .exits import Failure

__all__ = ["register"]

ExchangeArgument = Annotated[
    str | None,
    typer.Argument(metavar="[EXCHANGE]", help="Exchange account such as KRAKEN/JOHN; all by default."),
]
ExchangeFilter = Annotated[
    list[str] | None,
    typer.Option("--exchange", metavar="EXCHANGE", help="Only this exchange account; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, body in _COMMANDS.items():
        command(app, name)(body)


async def locations(run: Invocation) -> None:
    """Show the places where the service runs."""
    async with run.cloud() as cloud:
        rows = await cloud.locations.list(timeout=run.timeout)
        run.out.show(rows, tables.locations_table(rows))


async def exchanges(run: Invocation) -> None:
    """Show the exchanges, with the login parameters an account there needs."""
    async with run.cloud() as cloud:
        rows = await cloud.exchanges.list(timeout=run.timeout)
        run.out.show(rows, tables.exchanges_table(rows))


async def endpoints(run: Invocation, exchange: ExchangeFilter = None) -> None:
    """Show at which sites each exchange account is served."""
    async with run.cloud() as cloud:
        rows = await cloud.endpoints.list(*exchange or (), timeout=run.timeout)
        run.out.show(rows, tables.endpoints_table(rows))


async def balances(run: Invocation, exchange: ExchangeArgument = None) -> None:
    """Show the balances of one exchange account, or of all.

    An account that is missing, or shown without data, is not known to be empty: its exchange may be down.
    """
    async with run.client() as ems:
        rows = await ems.balances.get(exchange, timeout=run.timeout)
        run.out.show(rows, tables.balances_table(rows))


async def positions(run: Invocation, exchange: ExchangeArgument = None) -> None:
    """Show the positions of one exchange account, or of all.

    An account that is missing, or shown without data, is not known to be flat: its exchange may be down.
    """
    async with run.client() as ems:
        rows = await ems.positions.get(exchange, timeout=run.timeout)
        run.out.show(rows, tables.positions_table(rows))


async def certificate(
    run: Invocation,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there, readable by its owner only."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the secret to the terminal.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Fetch the TLS client certificate with its private key, a secret, into a file.

    Each call may make a new one: fetch it once, keep the file, and use it with
    --auth certificate --certificate-file FILE.
    """
    if output is None and not show:
        raise Failure("the certificate holds a private key: give --output FILE, or --show to print it anyway.")
    file = None if output is None else output.expanduser()
    if file is not None:
        await asyncio.to_thread(_check_target, file, force)
    async with run.cloud() as cloud:
        pem = await cloud.certificate.pem(timeout=run.timeout)
    data: dict[str, Any] = {}
    if file is not None:
        await asyncio.to_thread(_write, file, pem)
        data |= {"file": str(file), "mode": "0600", "bytes": len(pem.encode())}
    if show:
        data["pem"] = pem
    told = "" if file is None else f"The certificate is in {file}, readable by its owner only."
    run.out.show(data, *filter(None, (pem if show else "", told)))


def _check_target(file: Path, force: bool) -> None:
    """Before anything is fetched: the service may make a new certificate each time."""
    if file.is_dir() or (file.exists() and not force):
        raise Failure(f"{file} exists already; give another --output, or --force to replace it.")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise Failure(f"{file.parent} is no directory that can be written to; give another --output.")


def _write(file: Path, pem: str) -> None:
    try:
        write_private(file, pem)
    except OSError as error:
        raise Failure(f"the certificate cannot be written to {file}: {error.strerror}.") from None


_COMMANDS = {
    "locations": locations,
    "exchanges": exchanges,
    "endpoints": endpoints,
    "certificate": certificate,
    "balances": balances,
    "positions": positions,
}
