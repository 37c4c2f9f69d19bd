"""The pool under fire: random deadlines and cancellations, and a server that ends connections as they are used."""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from time import monotonic

import pytest

from coinapi_ems_async import TransportError

from ...conftest import an_order
from ...wire import Reply, Seen, Transport, client_of
from .apart import Apart, apart
from .stage import OURS, Stage, accepted, order_id, stage, told

SECONDS = float(os.environ.get("EMS_CHURN_SECONDS", "0.8"))
"""How long each churn lasts; a slot lost once in a million calls shows itself only in longer ones."""

WORKERS, SIZE, SHARE = 20, 10, 3
FEWEST, PATIENCE = 5, 20.0
"""Orders that are to be accepted in spite of it all, and seconds more that a slow machine has for them."""
TIME, TURN = 0.015, 0.4
"""Seconds that a call is given at most, and for how long a slow machine churns before it gives twice as much."""


class Churn:
    """Workers that place orders and read, with little time and less patience."""

    def __init__(self, play: Stage) -> None:
        self._play = play.says(self._script)
        self._random = random.Random(8)
        self._time = TIME
        self.outcomes: dict[str, str] = {}

    def _script(self, seen: Seen) -> Reply:
        return accepted(seen).but(after=self._random.uniform(0, 0.01))

    async def run(self) -> None:
        """Churn; then, as long as this machine answers none so soon, go on with more time for each call.

        Where a turn of the loop takes longer than the time that calls have, none would be accepted however long it
        went on: so many workers keep it as busy as they find it.
        """
        last = monotonic() + SECONDS + PATIENCE
        await self._all_work(SECONDS)
        while self.accepted < FEWEST and monotonic() < last:
            self._time *= 2
            await self._all_work(TURN)

    async def _all_work(self, seconds: float) -> None:
        until = monotonic() + seconds
        await asyncio.gather(*(self._work(until) for _ in range(WORKERS)))

    async def _work(self, until: float) -> None:
        while monotonic() < until:
            task = asyncio.create_task(self._call(self._random.uniform(0, self._time)))
            if self._random.random() < 0.3:
                await asyncio.sleep(self._random.uniform(0, 0.01))
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def accepted(self) -> int:
        return sum(said == "accepted" for said in self.outcomes.values())

    async def _call(self, timeout: float) -> None:
        if self._random.random() < 0.5:
            with contextlib.suppress(TransportError):
                await self._play.ems.balances.get(timeout=timeout)
            return
        order = an_order()
        self.outcomes[order.client_order_id] = "cancelled"
        self.outcomes[order.client_order_id] = await self._play.order(order, timeout=timeout)


@OURS
@pytest.mark.every_loop
async def test_churn_loses_no_slot_and_sends_nothing_twice(transport: Transport) -> None:
    async with stage(transport, pool_size=SIZE, order_share=SHARE, late_answer=0.02) as play:
        churn = Churn(play)
        await churn.run()
        assert await running_at_once(play, orders=SIZE, reads=0) == SIZE
        assert await running_at_once(play, orders=0, reads=SIZE) == SIZE - SHARE
        assert play.ems.sites[0].connections <= SIZE
    executions = Counter(order_id(seen) for seen in play.server.operations("POST /v1/orders"))
    assert set(executions.values()) == {1}
    counted = Counter((said, executions[name]) for name, said in churn.outcomes.items())
    assert counted["accepted", 1] >= FEWEST
    assert {pair for pair in counted if pair[1]} <= {("accepted", 1), ("unknown", 1), ("cancelled", 1)}
    assert counted["accepted", 0] == 0


async def running_at_once(play: Stage, *, orders: int, reads: int) -> int:
    """Return how many of the calls run at the same time; there is one more of each than there may be."""
    play.says(lambda seen: Reply(end="hang") if seen.target != "/" else accepted(seen))
    before = len(play.server.seen)
    calls = [asyncio.create_task(play.order(timeout=20)) for _ in range(orders and orders + 1)]
    calls += [asyncio.create_task(play.read(timeout=20)) for _ in range(reads and reads + 1)]
    seen, last = 0, -1
    async with asyncio.timeout(5):
        while seen != last or not seen:  # until no more arrive
            last = seen
            for _ in range(10):  # turns of the loop, however long each takes
                await asyncio.sleep(0.01)
            seen = len(play.server.seen) - before
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await play.server.close_idle()
    return seen


IDLE, TRADERS, TURNS = 0.2, 24, 6


@pytest.fixture(scope="module", params=["http1", "http2"])
def impatient(request: pytest.FixtureRequest) -> Iterator[tuple[Transport, Apart]]:
    """A server that ends idle connections soon; in its own process, since the moment matters."""
    with apart(request.param, idle=IDLE) as server:
        yield request.param, server


@pytest.mark.every_loop
async def test_a_server_that_ends_idle_connections_as_orders_come(impatient: tuple[Transport, Apart]) -> None:
    """Orders are sent when the server's limit is up, give or take 4 ms: few meet the end, none is sent twice."""
    transport, server = impatient
    draw = random.Random(4)
    ended: dict[str, str] = {}

    async def trader() -> None:
        async with client_of(server.url, transport) as ems:
            for _ in range(TURNS):
                order = an_order()
                ended[order.client_order_id] = await told(ems.orders.submit(order))
                await asyncio.sleep(IDLE + draw.uniform(-0.004, 0.004))

    await asyncio.gather(*(trader() for _ in range(TRADERS)))
    executions = await asyncio.to_thread(server.executions)
    counted = Counter((said, executions[name]) for name, said in ended.items())
    assert set(counted) <= {("accepted", 1), ("unknown", 0), ("unknown", 1)}
    assert sum(counted.values()) == TRADERS * TURNS
    assert counted["accepted", 1] > 0.8 * TRADERS * TURNS


@OURS
async def test_a_warm_connection_that_ends_is_replaced(transport: Transport) -> None:
    async with stage(transport) as play:
        assert await play.order() == "accepted"
        await play.server.close_idle()
        async with asyncio.timeout(10):
            while not play.server.open_connections:
                await asyncio.sleep(0.01)
        before = play.server.connections
        assert await play.order() == "accepted"
        assert play.server.connections <= before + 1  # the second warm one may still be on its way
