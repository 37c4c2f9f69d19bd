"""`coinapi-ems accounts`: exchange accounts; the values of their login parameters never reach any output."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from .. import operations
from ..client import EMSClient
from ..models.cloud import Account
from ..operations import Request
from .commands import command
from .context import Invocation
from .data import request_data
from .exits import Failure
from .interrupts import as_usual
from .order_view import pairs
from .tables import accounts_table

__all__ = ["NOTHING_SENT", "Execute", "group"]

NOTHING_SENT: Final = "Nothing was sent; add --execute to do it."

group: Final = typer.Typer(no_args_is_help=True)

Execute = Annotated[bool, typer.Option("--execute", help="Really do it; without it nothing is sent.")]
Exchange = Annotated[str, typer.Argument(metavar="EXCHANGE", help="Exchange account such as KRAKEN/JOHN.")]


@command(group, "list")
async def list_(
    run: Invocation,
    exchange: Annotated[
        list[str] | None,
        typer.Option("--exchange", metavar="EXCHANGE", help="Only this exchange account; may be repeated."),
    ] = None,
) -> None:
    """List the exchange accounts and the names of their login parameters, never the values."""
    async with run.cloud() as cloud:
        rows = await cloud.accounts.list(*exchange or (), timeout=run.timeout)
        run.out.show(rows, accounts_table(rows))


@command(group, "save")
async def save(
    run: Invocation,
    exchange: Exchange,
    parameters: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON object of parameter names and values; - reads it from standard input.",
        ),
    ] = None,
    execute: Execute = False,
) -> None:
    """Add an exchange account, or update its login parameters.

    Give the full set of parameters each time. Their values are secrets: they come from a JSON file such as
    {"PublicApiKey": "...", "PrivateApiKey": "..."}, from standard input, or are asked for one by one without
    being shown; `coinapi-ems exchanges` tells which are wanted.
    """
    account = None
    if parameters is not None:
        account = _account(run, exchange, await asyncio.to_thread(_from_file, parameters))
        operations.account_save(account)  # checks it, before anything is opened
    if not execute:
        names = [{"key": one.key} for one in account.parameters] if account else "to be asked for"
        request = operations.plain_read(operations.ACCOUNT_SAVE)
        _dry(run, request, {"exchange_id": exchange, "parameters": names}, _would_save(exchange, account))
        return
    async with run.cloud() as cloud:
        if account is None:
            account = _account(run, exchange, await _asked(run, cloud, exchange))
        await cloud.accounts.save(account, timeout=run.timeout)
    _done(run, f"The account {exchange} is saved.", exchange)


def _account(run: Invocation, exchange: str, parameters: dict[str, str]) -> Account:
    for value in parameters.values():
        run.out.hide(value)
    return Account(exchange_id=exchange, parameters=parameters)


def _would_save(exchange: str, account: Account | None) -> str:
    names = ", ".join(one.key for one in account.parameters) if account else "parameters to be asked for"
    return f"save the account {exchange} ({names})"


@command(group, "delete")
async def delete(run: Invocation, exchange: Exchange, execute: Execute = False) -> None:
    """Delete an exchange account.

    Its open orders stay on the exchange, unmanaged: cancel them first.
    """
    request = operations.account_delete(exchange)
    if not execute:
        _dry(run, request, None, f"delete the account {exchange}; its open orders would stay, unmanaged")
        return
    async with run.cloud() as cloud:
        await cloud.accounts.delete(exchange, timeout=run.timeout)
    _done(run, f"The account {exchange} is deleted.", exchange)


@command(group, "delete-all")
async def delete_all(run: Invocation, execute: Execute = False) -> None:
    """Delete every exchange account.

    Their open orders stay on the exchanges, unmanaged: cancel them first.
    """
    request = operations.plain_read(operations.ACCOUNTS_DELETE_ALL)
    if not execute:
        _dry(run, request, None, "delete EVERY exchange account; their open orders would stay, unmanaged")
        return
    async with run.cloud() as cloud:
        await cloud.accounts.delete_all(timeout=run.timeout)
    _done(run, "Every account is deleted.", None)


def _dry(run: Invocation, request: Request, body: Any, would: str) -> None:
    shown = request_data(request, body=body)
    view = pairs([("would", Text(would)), ("request", Text(f"{shown['method']} {shown['path']}"))])
    run.out.show({"executed": False, "request": shown, "message": NOTHING_SENT}, view, NOTHING_SENT)


def _done(run: Invocation, told: str, exchange: str | None) -> None:
    run.out.show({"executed": True, "exchange_id": exchange, "message": told}, Text(told, style="good"))


def _from_file(file: str) -> dict[str, str]:
    """Read a JSON object; nothing of its text is ever quoted in an error."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Failure(f"the parameters cannot be read from {file}: {why}.") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Failure('the parameters must be one JSON object of names and texts, {"PublicApiKey": "..."}.')
    return found


async def _asked(run: Invocation, cloud: EMSClient, exchange: str) -> dict[str, str]:
    """Ask for what the exchange wants, without showing what is typed."""
    if run.out.json or not sys.stdin.isatty():
        raise Failure("there is no terminal to ask at; give --parameters FILE, or - for standard input.")
    logins = await cloud.exchanges.list(timeout=run.timeout)
    # An account is the exchange's name, or the name, a separator and a tag: the longest name that fits.
    fitting = [one for one in logins if exchange.startswith(one.exchange_id)]
    login = max(fitting, key=lambda one: len(one.exchange_id), default=None)
    if login is None or not login.required_parameters:
        raise Failure(f"the service names no exchange for {exchange}; see `coinapi-ems exchanges`.")
    names = login.required_parameters
    with as_usual():
        return {name: typer.prompt(f"{name} (hidden)", hide_input=True, err=True) for name in names}
