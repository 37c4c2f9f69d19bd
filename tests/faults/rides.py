"""A client in a storm, and what is left of it."""

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Final

from coinapi_ems_async import (
    Accepted,
    EMSClient,
    NewOrder,
    NotSent,
    OrderNotFound,
    Outcome,
    Phase,
    Rejected,
    Settings,
    Side,
    TransportError,
)
from coinapi_ems_async.invariants import Told, told, violations
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from .lanes import Transport
from .storm import ACCOUNTS, SERVED, SITES, Outage, Schedule, Step

IN_FLIGHT: Final = 50


def _own_host() -> str:
    """Return an address of this process's own: nobody else takes the port of a site that is away for a while."""
    number = os.getpid()
    return f"127.{64 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}"


HOST: Final = _own_host() if sys.platform == "linux" else "127.0.0.1"
"""Not where outgoing connections come from: one of them could take the port of a site that is closed."""
SETTINGS: Final = Settings(
    connect_timeout=1.0,
    read_try_timeout=0.3,
    stall_timeout=0.5,
    late_answer=0.3,
    http2_ping=1.0,
    http2_ping_timeout=0.5,
    close_wait=1.0,
)
SYMBOLS: Final = {
    "KRAKEN/JOHN": "KRAKEN_SPOT_BTC_USDT",
    "BITMEX/JOHN": "BITMEX_PERP_BTC_USDT",
    "DERIBIT": "DERIBIT_PERP_BTC_USDC",
}
_PATIENCE: Final = 15.0


@dataclass
class Ride:
    """What a storm left behind."""

    faults: int = 0
    calls: list[Told] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Errors(logging.Handler):
    """Keeps what is logged at ERROR or above, asyncio's complaints included."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@asynccontextmanager
async def no_errors(problems: list[str]) -> AsyncIterator[None]:
    """Note errors in the log, and tasks that nobody ended."""
    errors, before = Errors(), asyncio.all_tasks()
    logging.getLogger().addHandler(errors)
    try:
        yield
        left = [one for one in asyncio.all_tasks() - before if not one.done()]
        problems += [f"logged: {line}" for line in errors.lines] + [f"left behind: {one!r}" for one in left]
    finally:
        logging.getLogger().removeHandler(errors)


class Decoy:
    """A host that nobody listed: whoever follows a redirect comes here."""

    def __init__(self, key: str) -> None:
        self.url = ""
        self.seen: list[str] = []
        self._key = key.encode()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Decoy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._key in await reader.read(65_536):
            self.seen.append(self.url)
        writer.close()


async def ride(storm: Schedule, transport: Transport, *, tls: bool = False) -> Ride:
    """Go through a storm; return how many faults struck, and everything that is wrong."""
    found = Ride()
    async with no_errors(found.problems):
        delays = dict(zip(SITES, storm.delays, strict=True))
        pace = Pace(reply=0.001, book=0.01, cancel=0.01)
        simulator = Simulator(
            sites=delays,
            exchanges=SERVED,
            pace=pace,
            host=HOST,
            seed=storm.seed,
            shared_orders=False,
            proxied=True,
            tls=tls,
        )
        async with simulator as sim, Decoy(sim.api_key) as decoy:
            client = EMSClient(
                sim.api_key,
                management_url=sim.management_url,
                transport=transport,
                settings=SETTINGS,
                ssl_context=sim.ssl_context() if tls else None,
            )
            async with client as ems:
                weather = _Weather(sim, storm, decoy.url)
                await _Crew(ems, weather, found).sail(storm)
                found.faults = await weather.clear_up()
                found.problems += await settle(ems, sim)
                found.problems += await empty_pools(ems)
                found.problems += _late_truths(ems, sim)
            capable = {
                account: [site for site, accounts in SERVED.items() if account in accounts] for account in SYMBOLS
            }
            found.problems += violations(
                sim.requests, sim.executions, found.calls, capable=capable, key_seen_at=decoy.seen
            )
    return found


class _Weather:
    """What befalls the calls."""

    def __init__(self, sim: Simulator, storm: Schedule, elsewhere: str) -> None:
        self._sim = sim
        self._elsewhere = elsewhere
        self._injected: list[tuple[Injection, int]] = []
        self._outages = {one.number: one for one in storm.outages}
        self._struck = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._doors = {site: asyncio.Lock() for site in SITES}
        for site in SITES:
            sim.wire(site).plan = storm.plan

    def before(self, step: Step) -> None:
        """Do what is to be done when a call begins."""
        injection = step.injection(self._elsewhere)
        if injection is not None:
            self._injected.append((injection, injection.times or 0))
            self._sim.inject(injection)
        if (outage := self._outages.get(step.number)) is not None:
            self._tasks.append(asyncio.get_running_loop().create_task(self._close(outage)))

    async def _close(self, outage: Outage) -> None:
        self._struck += 1
        async with self._doors[outage.site]:
            await self._sim.stop_site(outage.site)
            await asyncio.sleep(outage.seconds)
            await self._sim.start_site(outage.site)

    async def clear_up(self) -> int:
        """End every fault; return how many struck."""
        await asyncio.gather(*self._tasks)
        for site in SITES:
            wire = self._sim.wire(site)
            self._struck += len(wire.cuts)
            wire.clear()
            wire.thaw()
        self._sim.clear_injections()
        self._sim.release()
        return self._struck + sum(times - (one.times or 0) for one, times in self._injected)


class _Crew:
    """Makes the calls, so many at a time."""

    def __init__(self, ems: EMSClient, weather: _Weather, found: Ride) -> None:
        self._ems = ems
        self._weather = weather
        self._calls = found.calls
        self._problems = found.problems

    async def sail(self, storm: Schedule) -> None:
        """Make every call of the schedule."""
        steps = iter(storm.steps)
        await asyncio.gather(*(self._work(steps) for _ in range(IN_FLIGHT)))

    async def _work(self, steps: Iterator[Step]) -> None:
        loop = asyncio.get_running_loop()
        for step in steps:
            self._weather.before(step)
            call = loop.create_task(self._call(step))
            timer = None if step.cancel_after is None else loop.call_later(step.cancel_after, call.cancel)
            outcome: Outcome | None = None
            try:
                outcome = await call
            except asyncio.CancelledError:
                if step.cancel_after is None:
                    raise
            finally:
                if timer is not None:
                    timer.cancel()
            self._note(step, outcome)

    def _note(self, step: Step, outcome: Outcome | None) -> None:
        if step.call in ("order_new", "order_cancel", "order_cancel_all"):
            name = step.client_order_id if step.call == "order_new" else step.about_id
            self._calls.append(told(step.call, outcome, client_order_id=name, exchange_id=step.account))

    async def _call(self, step: Step) -> Outcome | None:
        orders, timeout = self._ems.orders, step.timeout
        if step.call == "order_new":
            late = None if step.not_after is None else datetime.now(UTC) + timedelta(seconds=step.not_after)
            return await orders.submit(order_of(step), timeout=timeout, not_after=late)
        if step.call == "order_cancel":
            return await orders.submit_cancel(
                exchange_id=step.account, client_order_id=step.about_id, timeout=timeout
            )
        if step.call == "order_cancel_all":
            return await orders.submit_cancel_all(exchange_id=step.account, timeout=timeout)
        try:
            if step.call == "order_status":
                report = await orders.status(step.about_id, exchange_id=step.account, timeout=timeout)
                if report.client_order_id != step.about_id:
                    self._problems.append(f"asked for {step.about_id}, told of {report.client_order_id}")
            else:
                await orders.open(step.account, timeout=timeout)
        except (TransportError, OrderNotFound) as error:
            self._problems += unexplained(step.call, error)
        return None


def unexplained(call: str, error: TransportError | OrderNotFound) -> list[str]:
    """Return what of a read's failure does not follow from broken lines and closed sites; nothing if all does.

    Either no whole answer came, or all that came say of an order that it is not known there: servers that are
    asked refuse nothing else.
    """
    answers = {one.status for one in error.attempts if one.phase is Phase.ANSWERED}
    if answers == ({404} if isinstance(error, OrderNotFound) and call == "order_status" else set()):
        return []
    return [f"{call} failed as {error!r} after answers of {answers or 'nobody'}"]


def order_of(step: Step) -> NewOrder:
    """Return the order of a step: it rests in the book, far below the market."""
    return NewOrder(
        exchange_id=step.account,
        client_order_id=step.client_order_id,
        symbol_id_coinapi=SYMBOLS[step.account],
        side=Side.BUY,
        amount_order="0.01",
        price="9000",
    )


def account_of(client_order_id: str) -> str:
    """Return the account that an order of a storm was sent for."""
    return ACCOUNTS[int(client_order_id.split("-")[1]) % len(ACCOUNTS)]


async def settle(ems: EMSClient, sim: Simulator) -> list[str]:
    """Read the status of unresolved orders until none is left but those that the log says never were executed.

    There may be hundreds, which takes a busy machine its time: what counts is that they become fewer.
    """
    never: set[str] = set()
    fewest, end = inf, 0.0
    while left := ems.orders.unresolved.keys() - never:
        if len(left) < fewest:
            fewest, end = len(left), monotonic() + _PATIENCE
        elif monotonic() > end:
            return [f"unresolved, executed {sim.executions(name)} times: {name}" for name in sorted(left)]
        for name in left:
            try:
                await ems.orders.status(name, exchange_id=account_of(name), timeout=2.0)
            except OrderNotFound:
                if not sim.executions(name):
                    never.add(name)
            except TransportError as error:  # of a line that broke before it was over
                if problems := unexplained("order_status", error):
                    return problems
                await asyncio.sleep(0.01)
            else:
                if name in ems.orders.unresolved:
                    return [f"its report was read, and yet it is unresolved: {name}"]
    return []


async def empty_pools(ems: EMSClient) -> list[str]:
    """Wait until no slot of any pool is taken, and nobody waits for one."""
    pools = [entry.pool for entry in ems._ready().roster.entries.values()]
    end = monotonic() + _PATIENCE
    while busy := [
        repr(pool) for pool in pools if not re.search(r"\b(taken=0 waiting=0|running=0)\b", repr(pool))
    ]:
        if monotonic() > end:
            return [f"slots that nobody gave back: {pool}" for pool in busy]
        await asyncio.sleep(0.01)
    return []


def _late_truths(ems: EMSClient, sim: Simulator) -> Iterator[str]:
    """What the client found out later must be true as well."""
    for name, outcome in ems.orders.settled.items():
        executed = sim.executions(name)
        was_executed = isinstance(outcome, Accepted) or (
            isinstance(outcome, Rejected) and outcome.report is not None
        )
        if isinstance(outcome, Accepted | Rejected | NotSent) and executed != was_executed:
            yield f"I3: {name} was settled as {type(outcome).__name__}, and executed {executed} times"
