"""Races before the mark and hedges after it, over pools that do what a test tells them to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from coinapi_ems_async import (
    ApiKeyHeader,
    CancelOrder,
    NotSent,
    NotSentReason,
    Rejected,
    Settings,
    Unknown,
    operations,
)
from coinapi_ems_async.calls import Call
from coinapi_ems_async.dispatch import Dispatcher
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.observer import Observer
from coinapi_ems_async.redaction import Redaction
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.sites.roster import Roster, SiteEntry
from coinapi_ems_async.transport.base import Attempt, TransportFailure, WireAnswer

from .conftest import an_order
from .sites.fakes import ACCOUNT, FakePool, site, table, url

pytestmark = pytest.mark.every_loop

READ = operations.of_exchange(operations.BALANCES, ACCOUNT)
NAMES = ("a", "b", "c")


class Field:
    """A dispatcher over three healthy sites, the nearest first."""

    def __init__(self, settings: Settings) -> None:
        self.roster = Roster(lambda _site, _for_probes: FakePool(), settings=settings)
        self.roster.apply(table(*(site(name) for name in NAMES)))
        for place, name in enumerate(NAMES):
            self.roster.good(self.entry(name))
            self.roster.sampled(self.entry(name), 0.005 + 0.02 * place)
        self.ledger = OrderLedger(100)
        self.dispatcher = Dispatcher(
            self.roster, self.ledger, settings, ApiKeyHeader(), Observer(None), Redaction()
        )

    def entry(self, name: str) -> SiteEntry:
        return self.roster.entries[url(name)]

    def pool(self, name: str) -> FakePool:
        pool = self.entry(name).pool
        assert isinstance(pool, FakePool)
        return pool

    def order(self, **options: Any) -> "asyncio.Task[Call]":
        request = operations.new_order(an_order())
        return asyncio.create_task(self.dispatcher.new_order(request, **({"timeout": 5.0} | options)))

    def read(self, timeout: float = 5.0) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.dispatcher.read(READ, timeout=timeout))

    def lose(self, name: str) -> None:
        """Eject a site, and let its pool give up what waits there."""
        for _ in range(2):
            self.roster.bad(self.entry(name), "no answer", Row.REFUSED)
        assert self.entry(name).is_lost
        while self.pool(name).queue:
            self.pool(name).refuse(Row.GIVEN_UP)

    def marks(self) -> int:
        return sum(attempt.committed is not None for name in NAMES for attempt in self.pool(name).begun)


@asynccontextmanager
async def a_field(**settings: Any) -> AsyncIterator[Field]:
    field = Field(Settings(**({"reconcile": False, "late_answer": 0.05, "close_wait": 0.05} | settings)))
    yield field
    await field.dispatcher.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def accept(attempt: Attempt) -> None:
    name = attempt.request.client_order_id
    body = f'{{"exchange_id":"{ACCOUNT}","client_order_id":"{name}","status":"ROUTED"}}'
    attempt.deliver(WireAnswer(200, (), body.encode()))


def value(attempt: Attempt) -> None:
    attempt.deliver(WireAnswer(200, (), b"[]"))


def error(attempt: Attempt, status: int = 500) -> None:
    attempt.deliver(WireAnswer(status, (), b""))


# Races of changes


async def test_the_first_connection_gets_the_order_once() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)  # a had no connection in time
        winner = field.pool("b").begin()
        assert winner.committed is not None
        loser = field.pool("a").begin()  # its connection came, a moment too late
        assert loser.committed is None
        accept(winner)
        call = await placing
        assert call.report is not None
        assert call.tries[-1].entry.site.id == "b"
        assert [(one.entry.site.id, one.row) for one in call.tries[:-1]] == [("a", Row.ABANDONED)]
        assert field.marks() == 1
        assert field.ledger.taker(call.request.client_order_id) == url("b")


async def test_the_late_connection_does_not_end_the_wait_for_the_first() -> None:
    async with a_field() as field:
        placing = field.order(timeout=0.4)
        await until(lambda: field.pool("b").queue)
        field.pool("b").begin()
        field.pool("a").begin()
        call = await placing  # b never answers
        assert isinstance(call.outcome, Unknown)
        assert call.outcome.site == "b"
        assert field.marks() == 1


async def test_every_site_may_take_part() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("c").queue)
        accept(field.pool("c").begin())
        call = await placing
        assert call.report is not None
        assert not field.pool("a").queue
        assert not field.pool("b").queue


async def test_a_refusal_asks_the_next_site_at_once() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.pool("a").refuse()
        await until(lambda: field.pool("b").queue)
        field.pool("b").refuse(Row.TLS_HANDSHAKE)
        await until(lambda: field.pool("c").queue)
        field.pool("c").refuse()
        call = await placing
        assert isinstance(call.outcome, NotSent)
        assert call.outcome.reason is NotSentReason.NO_CONNECTION
        assert len(call.outcome.attempts) == 3
        assert field.marks() == 0


async def test_a_refusal_amid_a_race_leaves_the_others_racing() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        field.pool("a").refuse()
        await until(lambda: field.pool("c").queue)
        accept(field.pool("b").begin())
        call = await placing
        assert call.report is not None
        assert field.marks() == 1


async def test_at_the_deadline_nothing_was_sent() -> None:
    async with a_field() as field:
        call = await field.order(timeout=0.15)
        assert isinstance(call.outcome, NotSent)
        assert call.outcome.reason is NotSentReason.DEADLINE
        assert not any(field.pool(name).queue for name in NAMES)


async def test_an_order_that_may_have_been_executed_goes_nowhere_else() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        winner = field.pool("b").begin()
        winner.fail(TransportFailure(Row.LOST))
        call = await placing
        assert isinstance(call.outcome, Unknown)
        assert field.marks() == 1


async def test_a_proof_that_nothing_was_done_lets_it_go_on_once() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        field.pool("b").begin().fail(TransportFailure(Row.REFUSED_STREAM))
        await until(lambda: any(not attempt.rivals for attempt in field.pool("a").queue))
        accept(field.pool("a").begin())
        call = await placing
        assert call.report is not None
        assert field.marks() == 2


async def test_a_full_pool_is_waited_for_before_another_site_is_asked() -> None:
    async with a_field(pool_timeout=0.3) as field:
        field.pool("a").is_taken = True
        placing = field.order()
        await asyncio.sleep(0.15)  # a race for a connection would have begun
        assert not field.pool("b").queue
        await until(lambda: field.pool("b").queue)
        accept(field.pool("b").begin())
        assert (await placing).report is not None


async def test_for_a_full_pool_only_a_healthy_site_is_an_alternative() -> None:
    async with a_field(pool_timeout=0.05) as field:
        field.pool("a").is_taken = True
        for name in ("b", "c"):
            field.roster.bad(field.entry(name), "a probe failed")
        placing = field.order(timeout=0.3)
        call = await placing
        assert isinstance(call.outcome, NotSent)
        assert not field.pool("b").begun


async def test_what_waits_at_a_site_in_trouble_is_moved() -> None:
    async with a_field() as field:
        field.pool("a").is_taken = True  # so that it is not in a race
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.roster.bad(field.entry("a"), "a probe failed")
        assert field.entry("a").health.state is Health.SUSPECT
        await until(lambda: field.pool("b").queue)
        assert not field.pool("a").queue  # nothing is sent to a site that is suspect while another is healthy
        accept(field.pool("b").begin())
        assert (await placing).report is not None


async def test_being_moved_does_not_end_the_call() -> None:
    """HTTP/2 connections and aiohttp tell of what is taken from them that it was given up."""
    async with a_field() as field:
        field.pool("a").given_up = Row.ABANDONED
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.roster.bad(field.entry("a"), "a probe failed")
        await until(lambda: field.pool("b").queue and not field.pool("a").queue)
        await asyncio.sleep(0.01)
        assert not placing.done()
        accept(field.pool("b").begin())
        call = await placing
        assert call.report is not None
        assert [one.row for one in call.tries] == [Row.GIVEN_UP, Row.SUCCESS]


async def lost_at_each(field: Field) -> None:
    """Eject each site as soon as something waits there."""
    for _ in NAMES:
        await until(lambda: any(field.pool(name).queue for name in NAMES))
        field.lose(next(name for name in NAMES if field.pool(name).queue))


async def test_sites_that_were_given_up_while_it_waited_are_asked_once_more() -> None:
    """If every site is ejected that counts for nothing: none of them has refused this order a connection."""
    async with a_field() as field:
        placing = field.order()
        await lost_at_each(field)
        await until(lambda: any(field.pool(name).queue for name in NAMES))
        accept(next(field.pool(name) for name in NAMES if field.pool(name).queue).begin())
        call = await placing
        assert call.report is not None
        assert [one.row for one in call.tries] == [*[Row.GIVEN_UP] * 3, Row.SUCCESS]
        assert field.marks() == 1


async def test_a_site_that_refuses_then_is_not_asked_again() -> None:
    async with a_field() as field:
        placing = field.order()
        await lost_at_each(field)
        for _ in NAMES:
            await until(lambda: any(field.pool(name).queue for name in NAMES))
            next(field.pool(name) for name in NAMES if field.pool(name).queue).refuse()
        call = await placing
        assert isinstance(call.outcome, NotSent)
        assert call.outcome.reason is NotSentReason.NO_CONNECTION
        assert [one.row for one in call.tries] == [*[Row.GIVEN_UP] * 3, *[Row.REFUSED] * 3]
        assert field.marks() == 0


async def test_nor_is_one_that_is_given_up_twice() -> None:
    async with a_field() as field:
        placing = field.order()
        for _ in range(2):
            await lost_at_each(field)
        call = await placing
        assert isinstance(call.outcome, NotSent)
        assert len(call.tries) == 2 * len(NAMES)
        assert sorted(one.entry.site.id for one in call.tries) == sorted(2 * NAMES)
        assert field.marks() == 0


async def test_beside_others_a_site_that_was_given_up_is_not_asked_until_it_is_well() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.roster.bad(field.entry("a"), "a probe failed")
        await until(lambda: field.pool("b").queue and field.pool("c").queue)
        await asyncio.sleep(0.3)  # longer than a race waits for the next to take part
        assert not field.pool("a").queue
        accept(field.pool("b").begin())
        assert (await placing).report is not None


async def test_one_that_has_recovered_may_take_part_again() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.roster.bad(field.entry("a"), "a probe failed")
        field.roster.good(field.entry("a"))
        await until(lambda: field.pool("a").queue and field.pool("b").queue)
        accept(field.pool("a").begin())
        call = await placing
        assert call.report is not None
        assert field.marks() == 1


async def test_what_is_committed_at_a_site_in_trouble_stays_there() -> None:
    async with a_field() as field:
        placing = field.order(timeout=0.3)
        await until(lambda: field.pool("a").queue)
        field.pool("a").begin()
        field.roster.bad(field.entry("a"), "a probe failed")
        call = await placing
        assert isinstance(call.outcome, Unknown)
        assert field.marks() == 1


@pytest.mark.parametrize("committed", [False, True])
async def test_a_cancelled_race_leaves_nothing_behind_but_what_is_committed(committed: bool) -> None:
    async with a_field(late_answer=5.0) as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        winner = field.pool("b").begin() if committed else None
        placing.cancel()
        await asyncio.wait([placing])
        assert placing.cancelled()
        assert not any(field.pool(name).queue for name in NAMES)
        assert len(field.ledger.unresolved) == committed
        if winner is not None:
            accept(winner)
            assert len(field.ledger.settled) == 1
        assert field.marks() == committed


def break_down(_entry: SiteEntry) -> None:
    raise RuntimeError("a bug")


async def test_an_order_is_not_lost_with_what_broke_after_it_was_sent() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("a").queue)
        field.roster.on_trouble = break_down
        attempt = field.pool("a").begin()
        attempt.fail(TransportFailure(Row.LOST))
        with pytest.raises(RuntimeError):
            await placing
        name = attempt.request.client_order_id or ""
        assert list(field.ledger.unresolved) == [name]
        assert field.ledger.is_spent(name)


async def test_what_breaks_in_a_race_leaves_nothing_behind() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        field.roster.on_trouble = break_down
        field.pool("a").refuse()
        with pytest.raises(RuntimeError):
            await placing
        assert not any(field.pool(name).queue for name in NAMES)
        assert not field.ledger.unresolved


async def test_a_late_answer_to_a_forgotten_order_says_nothing_of_its_copy() -> None:
    async with a_field(late_answer=5.0) as field:
        request = operations.new_order(an_order())
        name = request.client_order_id or ""
        sent: list[Attempt] = []
        for _ in range(2):
            placing = asyncio.create_task(
                field.dispatcher.new_order(request, timeout=0.2, allow_duplicate_id=True)
            )
            await until(lambda: any(field.pool(one).queue for one in NAMES))
            sent.append(next(field.pool(one) for one in NAMES if field.pool(one).queue).begin())
            assert isinstance((await placing).outcome, Unknown)
            if len(sent) == 1:
                field.ledger.forget(name)
        error(sent[0], 400)
        assert name in field.ledger.unresolved
        error(sent[1], 400)
        assert not field.ledger.unresolved


# Reads


async def test_a_slow_read_is_asked_elsewhere_and_the_first_answer_counts() -> None:
    async with a_field() as field:
        reading = field.read()
        await until(lambda: field.pool("a").queue)
        slow = field.pool("a").begin()
        await until(lambda: field.pool("b").queue)
        value(field.pool("b").begin())
        assert await reading == []
        assert slow.settled  # it was given up
        assert field.entry("a").hurried  # a probe is to tell whether the site is only slow
        assert not field.entry("b").hurried
        assert not field.pool("c").queue  # one hedge is enough


async def test_a_slow_answer_may_still_be_the_first() -> None:
    async with a_field() as field:
        reading = field.read()
        await until(lambda: field.pool("a").queue)
        slow = field.pool("a").begin()
        await until(lambda: field.pool("b").queue)
        hedge = field.pool("b").begin()
        value(slow)
        assert await reading == []
        assert hedge.settled


async def test_a_failed_hedge_leaves_the_first_to_answer() -> None:
    async with a_field() as field:
        reading = field.read()
        await until(lambda: field.pool("a").queue)
        slow = field.pool("a").begin()
        await until(lambda: field.pool("b").queue)
        error(field.pool("b").begin())
        await asyncio.sleep(0.01)
        assert not reading.done()
        value(slow)
        assert await reading == []


async def test_hedging_can_be_switched_off() -> None:
    async with a_field(hedge_reads=False) as field:
        reading = field.read()
        await until(lambda: field.pool("a").queue)
        slow = field.pool("a").begin()
        await asyncio.sleep(0.2)
        assert not field.pool("b").queue
        value(slow)
        assert await reading == []


async def test_hedges_are_of_a_budget() -> None:
    """Of many slow reads one in ten, and ten to begin with."""
    async with a_field() as field:
        readings = [field.read() for _ in range(40)]
        await until(lambda: len(field.pool("a").queue) == 40)
        slow = [field.pool("a").begin() for _ in range(40)]
        await until(lambda: field.pool("b").queue)
        await asyncio.sleep(0.2)
        assert len(field.pool("b").queue) <= 14
        for attempt in slow:
            value(attempt)
        await asyncio.gather(*readings)


async def test_reads_at_a_site_in_trouble_are_asked_elsewhere_at_once_and_at_no_cost() -> None:
    async with a_field(hedge_reads=False) as field:
        readings = [field.read() for _ in range(40)]
        await until(lambda: len(field.pool("a").queue) == 40)
        for _ in range(40):
            field.pool("a").begin()
        field.roster.bad(field.entry("a"), "a probe failed")
        await until(lambda: len(field.pool("b").queue) == 40)
        for _ in range(40):
            value(field.pool("b").begin())
        assert await asyncio.gather(*readings) == [[]] * 40


async def test_that_one_site_does_not_know_an_order_is_not_the_last_word() -> None:
    async with a_field() as field:
        request = operations.order_status("id", exchange_id=ACCOUNT)
        field.ledger.taken_by("id", url("a"))
        reading = asyncio.create_task(field.dispatcher.read(request, timeout=5.0))
        await until(lambda: field.pool("a").queue)
        slow = field.pool("a").begin()
        await until(lambda: field.pool("b").queue)
        body = b'{"type":"MESSAGE_REJECT","reject_reason":"ORDER_ID_NOT_FOUND"}'
        field.pool("b").begin().deliver(WireAnswer(404, (), body))
        await asyncio.sleep(0.01)
        assert not reading.done()
        accept(slow)
        assert (await reading).client_order_id == "id"


async def test_a_cancel_goes_back_to_the_orders_own_site_once() -> None:
    """Also if that cannot be reached, and others are asked in its place: none of them knows the order."""
    async with a_field() as field:
        field.ledger.taken_by("id", url("a"))
        request = operations.cancel_order(CancelOrder(exchange_id=ACCOUNT, client_order_id="id"))
        canceling = asyncio.create_task(field.dispatcher.cancel(request, timeout=5.0))
        body = b'{"type":"MESSAGE_REJECT","reject_reason":"ORDER_ID_NOT_FOUND"}'
        for pool in (field.pool("b"), field.pool("c")):
            await until(partial(len, pool.queue))
            pool.begin().deliver(WireAnswer(404, (), body))
        outcome = await canceling
        assert isinstance(outcome, Rejected)
        assert field.marks() == 2
        assert not field.pool("a").queue


async def test_closing_refuses_what_races() -> None:
    async with a_field() as field:
        placing = field.order()
        await until(lambda: field.pool("b").queue)
        await field.dispatcher.aclose()
        assert field.pool("b").begin().committed is None
        placing.cancel()
        await asyncio.wait([placing])
        assert field.marks() == 0
