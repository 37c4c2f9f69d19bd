"""When an order goes through the last answer while it waits: only if nobody else has anything to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coinapi_ems_async import ApiKeyHeader, Settings, operations
from coinapi_ems_async.calls import Call
from coinapi_ems_async.dispatch import Dispatcher
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.observer import Observer
from coinapi_ems_async.sites.roster import Roster
from coinapi_ems_async.transport.base import Attempt, Connection, Owner, WireAnswer

from .conftest import ACCOUNT, an_order
from .sites.fakes import FakePool, site, table

pytestmark = pytest.mark.every_loop


class Line(Connection):
    """A connection that takes any number of requests, and counts how often it is to rehearse."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner, 0)
        self.rehearsals = 0
        self.sent: list[Attempt] = []

    running, room = 0, 1

    def is_usable(self) -> bool:
        return True

    def exchange(self, attempt: Attempt) -> None:
        attempt.mark()
        self.sent.append(attempt)

    def rehearse(self) -> None:
        self.rehearsals += 1

    def answer(self, body: str) -> None:
        self.sent.pop(0).deliver(WireAnswer(200, (), body.encode()))

    def abort(self, attempt: Attempt) -> None:
        raise AssertionError("nobody gives up here")

    def close(self) -> None:
        raise AssertionError("nobody closes it")

    def kill(self, reason: str) -> None:
        raise AssertionError("nobody kills it")


class OpenPool(FakePool):
    """Has a connection at hand for everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(self)

    def carry(self, attempt: Attempt) -> None:
        attempt.carrier = self.line
        self.line.exchange(attempt)

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        raise AssertionError("the line does not tell")

    def roomier(self, connection: Connection) -> None:
        raise AssertionError("the line does not tell")

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        raise AssertionError("the line does not tell")


class Stage:
    """A dispatcher over one site whose answers a test gives."""

    def __init__(self, settings: Settings) -> None:
        pool = OpenPool()
        self.line = pool.line
        roster = Roster(lambda _site, for_probes: FakePool() if for_probes else pool, settings=settings)
        roster.apply(table(site("a")))
        self.dispatcher = Dispatcher(roster, OrderLedger(100), settings, ApiKeyHeader(), Observer(None))

    def order(self, name: str) -> "asyncio.Task[Call]":
        request = operations.new_order(an_order(client_order_id=name))
        return asyncio.create_task(self.dispatcher.new_order(request, timeout=5.0))

    def accept(self, name: str) -> None:
        self.line.answer(f'{{"exchange_id":"{ACCOUNT}","client_order_id":"{name}","status":"ROUTED"}}')

    def read(self) -> "asyncio.Task[Any]":
        request = operations.of_exchange(operations.BALANCES, ACCOUNT)
        return asyncio.create_task(self.dispatcher.read(request, timeout=5.0))


@asynccontextmanager
async def a_stage(**settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(Settings(**settings))
    yield stage
    await stage.dispatcher.aclose()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_order_alone_rehearses_once() -> None:
    async with a_stage() as stage:
        placing = stage.order("one")
        await turns()
        assert stage.line.rehearsals == 1
        stage.accept("one")
        assert (await placing).report is not None


async def test_orders_that_leave_together_do_not_keep_each_other_waiting() -> None:
    async with a_stage() as stage:
        placing = [stage.order("one"), stage.order("two")]
        await turns()
        assert len(stage.line.sent) == 2
        assert stage.line.rehearsals == 0
        stage.accept("one")
        stage.accept("two")
        assert all(call.report is not None for call in await asyncio.gather(*placing))


async def test_an_answer_that_is_there_already_is_not_kept_waiting() -> None:
    async with a_stage() as stage:
        placing = stage.order("one")
        asyncio.get_running_loop().call_soon(stage.accept, "one")  # right behind the order itself
        await turns()
        assert stage.line.rehearsals == 0
        assert (await placing).report is not None


@pytest.mark.parametrize("busy_poll", [0.0, 60.0])
async def test_a_read_does_not_rehearse_nor_a_loop_that_stays_awake(busy_poll: float) -> None:
    async with a_stage(busy_poll=busy_poll, hedge_reads=False) as stage:
        reading = stage.read()
        await turns()
        assert stage.line.rehearsals == 0
        stage.line.answer("[]")
        assert await reading == []
        placing = stage.order("one")
        await turns()
        assert stage.line.rehearsals == (not busy_poll)
        stage.accept("one")
        assert (await placing).report is not None
