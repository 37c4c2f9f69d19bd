"""Calls over lines that break: one client, one line and one site for each lane, one simulator for all."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    EMSClient,
    EMSError,
    NewOrder,
    Outcome,
    Settings,
    Unknown,
)
from coinapi_ems_async.invariants import Told, told, violations
from coinapi_ems_async.simulator import Pace, Record, Simulator

from ..conftest import ACCOUNT, an_order
from .lines import Break, Direction, Line

Transport = Literal["http1", "http2", "aiohttp"]
CallName = Literal["order_new", "order_cancel", "order_cancel_all", "order_status"]
CALLS: Sequence[CallName] = ("order_new", "order_cancel", "order_cancel_all", "order_status")

INSTANT = Pace(reply=0.0, book=0.0, cancel=0.0)
# A line that breaks is told by the line: only one that freezes may cost a call its time.
QUIET = Settings(
    probe_interval=3_600.0,
    probe_interval_others=3_600.0,
    warm_connections=0,
    late_answer=0.05,
    close_wait=0.5,
    reconcile=False,
)
FROZEN_TIMEOUT = 0.3
TIMEOUT = 10.0
_TRIES = 5


@dataclass(frozen=True)
class Case:
    """One call over a line that breaks. kept: whether the connection has carried another call before."""

    call: CallName
    what: Break
    kept: bool

    @property
    def timeout(self) -> float:
        return FROZEN_TIMEOUT if self.what.action == "freeze" else TIMEOUT


@dataclass
class Ended:
    """What came of a case."""

    order: NewOrder
    outcome: Outcome | None = None
    error: EMSError | None = None
    seconds: float = 0.0
    reads: Sequence[Record] = ()
    broken: bool = False
    size: Mapping[Direction, int] = field(default_factory=dict)
    """Bytes of the request and of its answer: HTTP/2 writes shorter what it has said before, such as a date."""

    def count(self, operation: str) -> int:
        """How many requests of one operation the server has read meanwhile, of this order if it names one."""
        mine = (None, self.order.client_order_id)
        return sum(one.operation == operation and one.client_order_id in mine for one in self.reads)


class Lane:
    """Makes one call after the other."""

    def __init__(self, sim: Simulator, site: str, line: Line, ems: EMSClient) -> None:
        self.sim = sim
        self.site = site
        self.line = line
        self.ems = ems
        self.told: list[Told] = []

    async def call(
        self, name: CallName, order: NewOrder, timeout: float
    ) -> tuple[Outcome | None, EMSError | None]:
        """Make a call; a read ends with an error or without."""
        orders = self.ems.orders
        if name == "order_status":
            try:
                report = await orders.status(order.client_order_id, timeout=timeout)
            except EMSError as error:
                return None, error
            assert report.client_order_id == order.client_order_id
            return None, None
        if name == "order_new":
            outcome = await orders.submit(order, timeout=timeout)
        elif name == "order_cancel":
            outcome = await orders.submit_cancel(
                exchange_id=ACCOUNT, client_order_id=order.client_order_id, timeout=timeout
            )
        else:
            outcome = await orders.submit_cancel_all(exchange_id=ACCOUNT, timeout=timeout)
        self.told.append(told(name, outcome, client_order_id=order.client_order_id, exchange_id=ACCOUNT))
        return outcome, None

    async def run(self, call: CallName, what: Break | None, *, kept: bool, timeout: float) -> Ended:
        """Make a call over a connection that is new or kept, and break it."""
        order = an_order()
        if call != "order_new" or kept:
            first = an_order() if call == "order_new" else order
            outcome, _ = await self.call("order_new", first, TIMEOUT)
            assert isinstance(outcome, Accepted), f"before any break: {outcome}"
        if not kept:
            await self.line.drop()
        self.line.arm(what, _marker(call, order))
        ended = Ended(order)
        before, began = len(self.sim.requests), monotonic()
        ended.outcome, ended.error = await self.call(call, order, timeout)
        ended.seconds = monotonic() - began
        for name in list(self.ems.orders.unresolved):
            self.ems.orders.forget(name)  # at once: nothing is to be done about it under the next case
        ended.broken, ended.size = self.line.broken, self.line.sizes
        await self.line.drop()
        await self._read_to_the_end()
        ended.reads = [one for one in self.sim.requests[before:] if one.site == self.site]
        return ended

    async def run_undisturbed(self, case: Case) -> Ended:
        """Run a case; again, if its connection carried what the client does by itself as well (HTTP/2), or if this
        machine was too busy for its short time to reach the break: then with twice the time."""
        for turn in range(_TRIES):
            ended = await self.run(case.call, case.what, kept=case.kept, timeout=case.timeout * 2**turn)
            is_alone = self.line.requests == 1 + case.kept
            came = ended.size[case.what.direction]
            is_reached = ended.broken or case.what.action != "freeze" or 0 < came < case.what.after
            if is_alone and is_reached:
                break
        return ended

    async def _read_to_the_end(self) -> None:
        """Let the server take in what has reached it."""
        for _ in range(3):
            await asyncio.sleep(0)


def _marker(call: CallName, order: NewOrder) -> bytes:
    """What only the call's own request contains, in either version of HTTP."""
    name = order.client_order_id.encode()
    if call == "order_cancel_all":
        return b'{"exchange_id":"%b"}' % ACCOUNT.encode()
    return b"/v1/orders/status/" + name if call == "order_status" else name


@asynccontextmanager
async def lanes(transport: Transport, width: int) -> AsyncIterator[list[Lane]]:
    """Open so many lanes side by side."""
    sites = [f"lane-{number:02}" for number in range(width)]
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(
            Simulator(sites=dict.fromkeys(sites, 0.0), pace=INSTANT, seed=7, shared_orders=False)
        )
        found = []
        for site in sites:
            port = int(sim.site_urls[site].rpartition(":")[2])
            line = await stack.enter_async_context(Line(port, sim.api_key.encode()))
            client = EMSClient.self_hosted(
                f"http://127.0.0.1:{line.port}",
                transport=transport,
                auth=ApiKeyHeader(),
                api_key=sim.api_key,
                settings=QUIET,
            )
            found.append(Lane(sim, site, line, await stack.enter_async_context(client)))
        yield found


async def sizes(found: Sequence[Lane], call: CallName) -> dict[bool, dict[Direction, int]]:
    """Return how large a request and its answer are, on a kept connection (True) and on a new one."""
    measured: dict[bool, dict[Direction, int]] = {}
    for kept in (True, False):
        await found[0].run(call, None, kept=kept, timeout=TIMEOUT)
        measured[kept] = found[0].line.sizes
    return measured


async def run_all(found: Sequence[Lane], cases: Iterable[Case]) -> list[str]:
    """Run every case, each lane one after the other; return what is wrong."""
    waiting = iter(list(cases))
    problems: list[str] = []

    async def drive(lane: Lane) -> None:
        for case in waiting:
            ended = await lane.run_undisturbed(case)
            problems.extend(f"{case}: {line}" for line in judge(case, ended))

    await asyncio.gather(*(drive(lane) for lane in found))
    sim = found[0].sim
    calls = itertools.chain.from_iterable(lane.told for lane in found)
    return problems + violations(sim.requests, sim.executions, calls)


def judge(case: Case, ended: Ended) -> Iterator[str]:
    """Yield what of a case's end does not follow from where its line broke."""
    what, read = case.what, ended.count(case.call)
    is_sent = what.direction == "response" or what.after >= ended.size["request"]
    is_answered = what.direction == "response" and what.after >= ended.size["response"]
    may_be_answered = is_answered or (what.direction == "request" and is_sent and what.action == "fin")
    if not ended.broken and what.after <= ended.size[what.direction]:
        yield "the line did not break"
    if what.action != "freeze" and ended.seconds > TIMEOUT / 2:
        yield f"noticed only after {ended.seconds:.1f} s"
    if case.call == "order_status":
        if is_answered and ended.error is not None:
            yield f"a whole answer, and yet {ended.error}"
        if read > QUIET.read_attempts:
            yield f"read {read} times"
        return
    if case.call == "order_cancel" and what.action != "freeze":
        # Its status is read, and if need be it is sent once more, over a line that is whole.
        is_sent = is_answered = True
    if read != is_sent:
        yield f"read {read} times, {'' if is_sent else 'not '}all of it was sent: {ended.outcome}"
    if isinstance(ended.outcome, Accepted):
        if not (is_answered or may_be_answered):
            yield f"accepted without a whole answer: {ended.outcome}"
    elif is_answered or not isinstance(ended.outcome, Unknown):
        yield f"ended as {ended.outcome}"
    if ended.outcome is not None and not _is_in_order(ended):
        yield f"read before it was committed: {ended.outcome}"


def _is_in_order(ended: Ended) -> bool:
    """Whether the mark came before the server had read the request."""
    timing = ended.outcome.timing if ended.outcome is not None else None
    if timing is None or timing.committed is None:
        return False
    return all(timing.started <= timing.committed <= one.time for one in ended.reads[-1:])
