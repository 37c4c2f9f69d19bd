"""`coinapi-ems orders`: place, cancel, look."""

import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from .. import operations
from ..errors import DeadlineExceeded
from ..models.ids import base_exchange, new_client_order_id
from ..models.orders import CancelAll, CancelOrder, ExecutionReport, NewOrder
from ..models.support import lacking
from ..operations import Request
from ..outcomes import Unknown
from ..resources.expiry import check_expiry
from . import parsing
from .accounts import NOTHING_SENT, Execute
from .commands import command
from .context import Invocation
from .data import error_data, request_data
from .exits import Exit, Failure
from .order_ends import announce, ended, note_kept
from .order_options import Exchange, ExchangeHint, Journal, NotAfter, OrderForm, as_typed
from .order_view import order_words, pairs, report_view
from .tables import amount as amount_words
from .tables import history_table, orders_table

__all__ = ["group", "note_lacking"]

group: Final = typer.Typer(no_args_is_help=True)


@command(group, "place")
async def place(
    run: Invocation,
    form: OrderForm,
    not_after: NotAfter = None,
    journal: Journal = None,
    execute: Execute = False,
) -> Exit | None:
    """Place a limit order.

    Give exactly one of --symbol and --symbol-exchange. The order is sent at most once. If its outcome is unknown,
    it is looked for, some seconds long, and the exit status is that of what became of it. If that is 5, it may
    have been executed all the same: do not send it again, follow it with `orders status` or `orders wait`.
    """
    order = _order(run, form)
    latest = parsing.moment("--not-after", not_after)
    request = operations.new_order(order)
    if not execute:
        note_lacking(run, order)
        _dry(run, request, order_words(order))
        return None
    file = None if journal is None else journal.expanduser()
    async with run.client(journal=file) as ems:
        note_kept(run, ems, file)
        announce(run, order.client_order_id, order.exchange_id, order_words(order), file)
        outcome = await ems.orders.submit(order, timeout=run.timeout, not_after=latest)
        if not isinstance(outcome, Unknown):
            return ended(run, outcome, order.exchange_id)
        run.out.note("the outcome is unknown; looking for the order", "warn")
    # Closing has waited for what the sites tell.
    settled = ems.orders.settled.get(order.client_order_id)
    return ended(run, outcome, order.exchange_id, settled=settled, journal=file)


def _order(run: Invocation, form: OrderForm) -> NewOrder:
    """The order that was typed. Raises Failure, InvalidRequest: if it cannot be one."""
    fields: dict[str, Any] = {
        "exchange_id": form.exchange,
        "client_order_id": new_client_order_id() if form.client_order_id is None else form.client_order_id,
        "symbol_id_coinapi": form.symbol,
        "symbol_id_exchange": form.symbol_exchange,
        "amount_order": form.amount,
        "side": form.side.upper(),
    }
    if form.marketable or form.fill_or_kill:
        _alone(
            "--marketable and --fill-or-kill",
            tif=form.tif,
            expire_time=form.expire_time,
            exec_inst=form.exec_inst,
        )
        fields |= {"worst_price": form.price, "fill_or_kill": form.fill_or_kill, "force": form.force}
        return _new_order(run, NewOrder.marketable, fields)
    if form.force:
        raise Failure("--force goes only with --fill-or-kill.")
    fields |= {
        "price": form.price,
        "time_in_force": parsing.time_in_force(form.tif or "GTC"),
        "expire_time": parsing.moment("--expire-time", form.expire_time),
        "exec_inst": parsing.instructions(form.exec_inst),
    }
    return _new_order(run, NewOrder, fields)


def _new_order(run: Invocation, make: Callable[..., NewOrder], fields: Mapping[str, Any]) -> NewOrder:
    """Make the order; its warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with as_typed():
            order = make(**fields)
            check_expiry(order)
    for one in caught:
        run.out.note(f"note: {one.message}", "warn")
    return order


def _alone(options: str, **others: str | None) -> None:
    for name, value in others.items():
        if value is not None:
            raise Failure(f"{options} do not go with --{name.replace('_', '-')}.")


def note_lacking(run: Invocation, *orders: NewOrder) -> None:
    """Note, once each, what exchanges do not offer of what orders ask for; a client that sends them logs it."""
    found = {
        (base_exchange(order.exchange_id), feature): None
        for order in orders
        for feature in lacking(order.exchange_id, order.time_in_force, order.exec_inst)
    }
    for exchange, feature in found:
        said = f"{exchange} does not offer {feature}, says the service's table; it may refuse that"
        run.out.note(f"note: {said}", "warn")


@command(group, "cancel")
async def cancel(
    run: Invocation,
    exchange: Exchange,
    client_order_id: Annotated[str | None, typer.Option(metavar="ID", help="The id you gave the order.")] = None,
    exchange_order_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The id the exchange gave it.")
    ] = None,
    execute: Execute = False,
) -> Exit | None:
    """Cancel one order, named by exactly one of its two ids.

    The report is the last one known, often PENDING_CANCEL: follow it with `coinapi-ems orders status`.
    """
    with as_typed():
        order = CancelOrder(
            exchange_id=exchange, client_order_id=client_order_id, exchange_order_id=exchange_order_id
        )
    words = f"cancel the order {client_order_id or exchange_order_id} on {exchange}"
    if not execute:
        _dry(run, operations.cancel_order(order), words)
        return None
    async with run.client() as ems:
        announce(run, client_order_id, exchange, words)
        outcome = await ems.orders.submit_cancel(
            exchange_id=exchange,
            client_order_id=client_order_id,
            exchange_order_id=exchange_order_id,
            timeout=run.timeout,
        )
        return ended(run, outcome, exchange)


@command(group, "cancel-all")
async def cancel_all(run: Invocation, exchange: Exchange, execute: Execute = False) -> Exit | None:
    """Cancel every open order of an exchange account.

    The answer only acknowledges the request: read the open orders with `coinapi-ems orders list`.
    """
    words = f"cancel EVERY open order on {exchange}"
    if not execute:
        _dry(run, operations.cancel_all(CancelAll(exchange_id=exchange)), words)
        return None
    async with run.client() as ems:
        announce(run, None, exchange, words)
        return ended(run, await ems.orders.submit_cancel_all(exchange_id=exchange, timeout=run.timeout), exchange)


@command(group, "list")
async def list_(
    run: Invocation,
    exchange: Annotated[
        str | None, typer.Argument(metavar="[EXCHANGE]", help="Exchange account; all by default.")
    ] = None,
) -> None:
    """List the open orders of one exchange account, or of all.

    Without EXCHANGE, an exchange that is down may be missing without a word.
    """
    async with run.client() as ems:
        reports = await ems.orders.open(exchange, timeout=run.timeout)
        run.out.show(reports, orders_table(reports))


@command(group, "status")
async def status(
    run: Invocation,
    client_order_id: Annotated[str, typer.Argument(metavar="CLIENT_ORDER_ID", help="The id you gave the order.")],
    exchange: ExchangeHint = None,
) -> None:
    """Show the last report of an order: its walk, its fills.

    Sites are asked in turn until one knows it. That none does proves nothing: it may still be on its way.
    """
    async with run.client() as ems:
        report = await ems.orders.status(client_order_id, exchange_id=exchange, timeout=run.timeout)
        run.out.show(report, report_view(report))


@command(group, "wait")
async def wait(
    run: Invocation,
    client_order_id: Annotated[str, typer.Argument(metavar="CLIENT_ORDER_ID", help="The id you gave the order.")],
    exchange: ExchangeHint = None,
) -> Exit | None:
    """Wait until an order is final, at most --timeout seconds, 30 by default; show its last report.

    The exit status is 3 if it was rejected, and 6 if it was not final in time: it goes on all the same.
    """

    def note(report: ExecutionReport) -> None:
        """Tell people of each step."""
        if not run.out.json:
            run.out.note(f"{report.status}, {amount_words(report.amount_filled)} filled")

    async with run.client() as ems:
        try:
            report = await ems.orders.wait_final(
                client_order_id, exchange_id=exchange, timeout=run.timeout, on_report=note
            )
        except DeadlineExceeded as error:
            return _not_final(run, error)
        run.out.show(report, report_view(report))
        return Exit.REJECTED if report.is_rejected else None


def _not_final(run: Invocation, error: DeadlineExceeded) -> Exit:
    said = error.message.rstrip(".")
    if error.report is not None:
        said += "; it goes on all the same"
    elif "proves nothing" not in said:
        said += "; which proves nothing"
    said += ": wait longer with --timeout SECONDS."
    run.out.fail(said, Exit.FAILED, error_data(error) | {"message": said, "report": error.report})
    return Exit.FAILED


@command(group, "history")
async def history(
    run: Invocation,
    start: Annotated[str, typer.Option(metavar="ISO-TIME", help="From this time, with its zone.")],
    end: Annotated[
        str | None, typer.Option(metavar="ISO-TIME", help="Until this time, with its zone; now by default.")
    ] = None,
) -> None:
    """Show the change events of orders in a window of time.

    An order may appear many times. There is no paging: keep the window short.
    """
    first, last = parsing.window(start, end)
    async with run.client() as ems:
        rows = await ems.orders.history(first, last, timeout=run.timeout)
        run.out.show(rows, history_table(rows))


def _dry(run: Invocation, request: Request, words: str) -> None:
    shown = request_data(request)
    body = (request.body or b"").decode()
    rows = [("would", Text(words)), ("request", Text(f"{shown['method']} {shown['path']}")), ("body", Text(body))]
    data = {"executed": False, "client_order_id": request.client_order_id, "request": shown}
    run.out.show(data | {"message": NOTHING_SENT}, pairs(rows), NOTHING_SENT)
