"""`coinapi-ems bench`: how long calls to the configured service take, site by site."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any

import typer
from rich.text import Text

from ..client import EMSClient
from ..models.orders import NewOrder
from ..outcomes import Accepted, Outcome
from .accounts import NOTHING_SENT, Execute
from .commands import command
from .context import AuthWay, Invocation
from .data import outcome_data
from .exits import Exit, Failure, exit_of_outcome
from .order_options import OrderOptions, as_typed
from .order_view import order_words, unknown_advice
from .sheet import Bar, Sheet
from .stats import Summary, summarise
from .tables import table

__all__ = ["figures_table", "register"]

Call = Callable[[EMSClient], Awaitable[object]]
_WARM_UP = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "bench")(bench)


@dataclass(kw_only=True)
class BenchOptions:
    """What is to be measured, as it was typed."""

    count: Annotated[int, typer.Option(min=1, max=100_000, help="Calls to each site, or orders.")] = 100
    exchange: Annotated[
        str | None, typer.Option(metavar="EXCHANGE", help="Exchange account; all by default, one for orders.")
    ] = None
    client_order_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Read the status of this order instead of the open orders.")
    ] = None
    orders: Annotated[
        bool,
        typer.Option("--orders", help="Place and cancel orders instead of reading; needs --execute."),
    ] = False
    symbol: OrderOptions.Symbol = None
    symbol_exchange: OrderOptions.SymbolExchange = None
    side: OrderOptions.Side = "buy"
    amount: OrderOptions.Amount = ""
    price: OrderOptions.Price = ""

    def order(self) -> NewOrder:
        """Return such an order, with an id of its own.

        Raises Failure: if something of it was not given. InvalidRequest: if it cannot be one.
        """
        needed = {"exchange": self.exchange, "amount": self.amount, "price": self.price}
        if lacking := [f"--{name}" for name, given in needed.items() if not given]:
            raise Failure(f"--orders needs {', '.join(lacking)}.")
        with as_typed():
            return NewOrder(
                exchange_id=self.exchange or "",
                symbol_id_coinapi=self.symbol,
                symbol_id_exchange=self.symbol_exchange,
                side=self.side.upper(),
                amount_order=self.amount,
                price=self.price,
            )


async def bench(run: Invocation, given: BenchOptions, execute: Execute = False) -> Exit | None:
    """Measure round trips to the configured service, one call at a time.

    Reads the open orders (or the status of one order) from every site in turn. With --orders it places orders
    of your choice through the best site and cancels each at once: choose a price far from the market. Orders
    are real: --execute is needed, and the first that is not accepted ends the run.
    """
    if not given.orders:
        await _bench_reads(run, given.count, _read(run, given.exchange, given.client_order_id))
        return None
    orders = [given.order() for _ in range(given.count)]
    if not execute:
        told = f"place and cancel {given.count} orders: {order_words(orders[0])}"
        run.out.show({"executed": False, "message": NOTHING_SENT, "would": told}, f"would {told}", NOTHING_SENT)
        return None
    return await _bench_orders(run, orders)


def _read(run: Invocation, exchange: str | None, client_order_id: str | None) -> Call:
    async def status(ems: EMSClient) -> object:
        """Read the status of the one order."""
        return await ems.orders.status(client_order_id or "", exchange_id=exchange, timeout=run.timeout)

    async def opened(ems: EMSClient) -> object:
        """Read the open orders."""
        return await ems.orders.open(exchange, timeout=run.timeout)

    return opened if client_order_id is None else status


async def _bench_reads(run: Invocation, count: int, call: Call) -> None:
    figures: dict[str, Summary] = {}
    async with run.client() as ems:
        for name, url in await _targets(run, ems):
            async with _pinned(run, ems, url) as one:
                figures[name] = summarise(await _timed(one, call, count))
    _tell(run, figures, "reads")


async def _targets(run: Invocation, ems: EMSClient) -> Sequence[tuple[str, str]]:
    sites = ems.sites
    if run.options.auth is AuthWay.CERTIFICATE:  # the certificate belongs to the client that fetched it
        return [(sites[0].id, sites[0].url)]
    return [(site.id, site.url) for site in sites if site.latency is not None] or [(sites[0].id, sites[0].url)]


@asynccontextmanager
async def _pinned(run: Invocation, ems: EMSClient, url: str) -> AsyncIterator[EMSClient]:
    """A client of one site only, with the same credentials."""
    if run.options.auth is AuthWay.CERTIFICATE or run.options.self_hosted:
        yield ems
        return
    async with EMSClient.self_hosted(url, auth=run.auth, api_key=run.api_key(), settings=run.settings) as one:
        yield one


async def _timed(ems: EMSClient, call: Call, count: int) -> list[float]:
    samples = []
    for turn in range(min(_WARM_UP, count) + count):
        began = perf_counter()
        await call(ems)
        if turn >= min(_WARM_UP, count):
            samples.append(perf_counter() - began)
    return samples


async def _bench_orders(run: Invocation, orders: Sequence[NewOrder]) -> Exit | None:
    samples: dict[str, list[float]] = {}
    async with run.client() as ems:
        for order in orders:
            run.pending = unknown_advice(order.client_order_id, order.exchange_id)
            outcome = await ems.orders.submit(order, timeout=run.timeout)
            if not isinstance(outcome, Accepted):
                return _stopped(run, outcome, order.exchange_id)
            if outcome.timing is not None and outcome.timing.total is not None:
                samples.setdefault(outcome.site or "", []).append(outcome.timing.total)
            canceled = await ems.orders.submit_cancel(
                exchange_id=order.exchange_id, client_order_id=order.client_order_id, timeout=run.timeout
            )
            if not isinstance(canceled, Accepted):
                return _stopped(run, canceled, order.exchange_id)
    run.pending = None
    _tell(run, {site: summarise(found) for site, found in samples.items()}, "orders")
    return None


def _stopped(run: Invocation, outcome: Outcome, exchange: str) -> Exit:
    run.pending = None
    data = outcome_data(outcome)
    status = exit_of_outcome(outcome)
    said = str(data["error"]["message"])
    if status is Exit.UNKNOWN:
        said = f"The outcome is UNKNOWN: {unknown_advice(outcome.client_order_id, exchange)}"
    raise Failure(f"the run ended early: {said}", status)


def _tell(run: Invocation, figures: Mapping[str, Summary], kind: str) -> None:
    data: dict[str, Any] = {"kind": kind, "sites": {name: one.data() for name, one in figures.items()}}
    run.out.show(data, figures_table(figures, kind))


def figures_table(figures: Mapping[str, Summary], kind: str) -> Sheet:
    """Return the figures of each site with a bar of its median."""
    numbers = (kind, "p50", "p99", "max")
    made = table("site", *numbers, "", right=numbers, spare=("", "max"), wrap=("",))
    most = max((one.p50 for one in figures.values()), default=0.0)
    for name, one in figures.items():
        times = (f"{value * 1000:.2f} ms" for value in (one.p50, one.p99, one.maximum))
        made.add_row(Text(name, style="name"), str(one.calls), *times, Bar(one.p50, most, 28))
    return made
