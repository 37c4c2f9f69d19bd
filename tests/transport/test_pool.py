"""The pool, over connections that do what a test tells them to."""

import asyncio
import random
from collections.abc import Callable
from math import inf
from time import monotonic

import pytest

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.operations import BALANCES, EMS, ORDER_CANCEL_ALL, Request, of_exchange
from coinapi_ems_async.transport.base import Attempt, Connection, NotCommitted, Owner, TransportFailure
from coinapi_ems_async.transport.pool import SitePool

pytestmark = pytest.mark.every_loop

READ = of_exchange(BALANCES)
ORDER = Request(operation=ORDER_CANCEL_ALL, target=ORDER_CANCEL_ALL.path, body=b"{}")


class Line(Connection):
    """A connection whose exchanges end when the test says so."""

    def __init__(self, owner: Owner, generation: int) -> None:
        super().__init__(owner, generation)
        self.attempt: Attempt | None = None
        self.closing = False
        self.over = False
        self.spoilt = False

    @property
    def running(self) -> int:
        return self.attempt is not None

    def room(self) -> int:
        return 0 if self.closing or self.attempt is not None else 1

    def is_usable(self) -> bool:
        return not (self.closing or self.spoilt or self.attempt)

    def exchange(self, attempt: Attempt) -> None:
        assert self.attempt is None
        assert not self.over
        self.attempt = attempt
        self.served += 1

    def finish(self) -> None:
        attempt, self.attempt = self.attempt, None
        assert attempt is not None
        self.idle_since = monotonic()
        self.owner.finished(self, attempt)
        if self.closing:
            self.end()

    def abort(self, attempt: Attempt) -> None:
        if self.attempt is attempt:
            self.closing = True
            self.finish()

    def close(self) -> None:
        self.closing = True
        if self.attempt is None:
            self.end()

    def kill(self, reason: str) -> None:
        self.closing = True
        if self.attempt is not None:
            self.finish()
        else:
            self.end()

    def end(self, *, by_peer: bool = False) -> None:
        self.closing = True
        if not self.over:
            self.over = True
            self.owner.ended(self, by_peer=by_peer)


class MarkingLine(Line):
    """A line that marks what it carries, so that an exchange may end as it begins."""

    def exchange(self, attempt: Attempt) -> None:
        super().exchange(attempt)
        try:
            attempt.mark()
        except TransportFailure as failure:
            attempt.fail(failure)
            self.finish()


class Site:
    """Opens lines; `gate` holds handshakes back, `failure` makes them fail."""

    def __init__(self, line: type[Line] = Line) -> None:
        self.line = line
        self.lines: list[Line] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: TransportFailure | None = None
        self.at_once = 0
        self.most_at_once = 0
        self.tries = 0

    async def __call__(self, owner: Owner, generation: int) -> Line:
        self.tries += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        line = self.line(owner, generation)
        self.lines.append(line)
        return line

    @property
    def open(self) -> list[Line]:
        return [line for line in self.lines if not line.over]


def a_pool(site: Site, size: int = 4, order_share: int = 1, **settings: float) -> SitePool:
    return SitePool(site, Settings(**settings), size=size, order_share=order_share)  # type: ignore[arg-type]  # numbers


async def lease(pool: SitePool, request: Request = ORDER, within: float = 5.0) -> Line:
    """Let an attempt begin, and return its line; raise what it failed with."""
    attempt = Attempt(request, "site", until=monotonic() + within)
    pool.carry(attempt)
    try:
        while attempt.done is None and not isinstance(attempt.carrier, Line) and monotonic() < attempt.until:
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        attempt.abort()
        raise
    if not isinstance(attempt.carrier, Line):
        attempt.abort()
    if attempt.failure is not None:
        raise attempt.failure
    assert isinstance(attempt.carrier, Line)
    return attempt.carrier


def at_once(pool: SitePool, request: Request = ORDER) -> Line | None:
    """Return the line on which an attempt begins at once, if it does."""
    attempt = Attempt(request, "site", until=monotonic() + 60)
    pool.carry(attempt)
    if isinstance(attempt.carrier, Line):
        return attempt.carrier
    attempt.abort()
    return None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_line_used_last_is_used_next() -> None:
    site = Site()
    pool = a_pool(site)
    lines = [await lease(pool) for _ in range(3)]
    for line in lines:
        line.finish()
    assert at_once(pool) is lines[-1]
    await pool.aclose()


async def test_at_most_two_handshakes_at_once_and_never_more_lines_than_the_size() -> None:
    site = Site()
    pool = a_pool(site, size=4)
    site.gate.clear()
    waiting = [asyncio.create_task(lease(pool)) for _ in range(10)]
    await until(lambda: site.at_once == 2)
    site.gate.set()
    await until(lambda: sum(task.done() for task in waiting) == 4)
    assert site.most_at_once == 2
    assert len(site.lines) == 4
    for _ in range(6):
        next(line for line in site.open if line.attempt).finish()
        await settle()
    await asyncio.gather(*waiting)
    assert len(site.lines) == 4
    await pool.aclose()
    assert site.open == []


async def test_waiters_are_served_in_turn_and_orders_before_reads() -> None:
    site = Site()
    pool = a_pool(site, size=2, order_share=1)
    first, second = await lease(pool), await lease(pool)
    served: list[str] = []

    async def wait(name: str, request: Request) -> None:
        line = await lease(pool, request)
        served.append(name)
        line.finish()

    tasks = []
    for name, request in (("read 1", READ), ("order 1", ORDER), ("read 2", READ), ("order 2", ORDER)):
        tasks.append(asyncio.create_task(wait(name, request)))
        await settle()
    first.finish()
    await asyncio.gather(*tasks)
    assert served == ["order 1", "order 2", "read 1", "read 2"]
    second.finish()
    await pool.aclose()


async def test_reads_leave_their_share_to_orders() -> None:
    site = Site()
    pool = a_pool(site, size=3, order_share=1)
    reads = [await lease(pool, READ) for _ in range(2)]
    assert at_once(pool, READ) is None
    with pytest.raises(TransportFailure) as caught:
        await lease(pool, READ, within=0.01)
    assert caught.value.row is Row.POOL_WAIT
    (await lease(pool, ORDER)).finish()
    for line in reads:
        line.finish()
    await pool.aclose()


async def test_who_waits_for_a_handshake_is_told_so() -> None:
    site = Site()
    pool = a_pool(site)
    site.gate.clear()
    with pytest.raises(TransportFailure) as caught:
        await lease(pool, within=0.01)
    assert caught.value.row is Row.CONNECT_TIMEOUT
    await pool.aclose()


async def test_it_is_full_when_all_is_taken_not_while_it_connects() -> None:
    site = Site()
    pool = a_pool(site, size=2, order_share=1)
    site.gate.clear()
    first = asyncio.create_task(lease(pool, READ))
    await settle()
    assert not pool.is_full(READ)
    site.gate.set()
    line = await first
    assert pool.is_full(READ)
    assert not pool.is_full(ORDER)
    line.finish()
    assert not pool.is_full(READ)
    await pool.aclose()


async def test_only_one_of_rivals_is_marked() -> None:
    sites = [Site(), Site()]
    pools = [a_pool(site, size=1, order_share=0) for site in sites]
    busy = [await lease(pool) for pool in pools]
    rivals = [Attempt(ORDER, "site", until=monotonic() + 60) for _ in pools]
    for pool, attempt in zip(pools, rivals, strict=True):
        attempt.rivals = rivals
        pool.carry(attempt)
    for line in busy:
        line.finish()
    first, second = rivals
    first.mark()
    with pytest.raises(NotCommitted) as caught:
        second.mark()
    assert caught.value.row is Row.ABANDONED
    assert second.committed is None
    for pool in pools:
        await pool.aclose()


async def test_a_line_of_an_older_generation_is_outdated() -> None:
    pool = a_pool(Site())
    attempt = Attempt(ORDER, "site", until=monotonic() + 60)
    pool.carry(attempt)
    await until(lambda: isinstance(attempt.carrier, Line))
    assert not pool.is_outdated(attempt)
    pool.clear()
    assert pool.is_outdated(attempt)
    await pool.aclose()


async def test_a_failed_handshake_fails_everybody_who_has_nothing_else_to_wait_for() -> None:
    site = Site()
    site.failure = TransportFailure(Row.REFUSED)
    pool = a_pool(site)
    waiting = [asyncio.create_task(lease(pool)) for _ in range(8)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, TransportFailure) and one.row is Row.REFUSED for one in results)
    site.failure = None
    (await lease(pool)).finish()
    await pool.aclose()


async def test_clearing_fails_who_waits_at_once_and_ends_idle_lines_but_not_those_in_use() -> None:
    site = Site()
    pool = a_pool(site, size=2, order_share=1)
    busy, idle = await lease(pool), await lease(pool)
    waiting = asyncio.create_task(lease(pool))
    await settle()
    idle.finish()
    await waiting
    second = asyncio.create_task(lease(pool))
    await settle()
    pool.clear()
    with pytest.raises(TransportFailure) as caught:
        await second
    assert caught.value.row is Row.GIVEN_UP
    assert not busy.over
    busy.finish()
    assert busy not in site.open  # it was of the generation before
    idle.finish()
    fresh = await lease(pool)
    assert fresh not in (busy, idle)
    fresh.finish()
    await pool.aclose()


async def test_a_spoilt_line_is_passed_over() -> None:
    site = Site()
    pool = a_pool(site)
    first, second = await lease(pool), await lease(pool)
    first.finish()
    second.finish()
    second.spoilt = True
    assert at_once(pool) is first
    assert second.closing
    await pool.aclose()


async def test_a_line_idle_for_too_long_is_not_used() -> None:
    site = Site()
    pool = a_pool(site, idle_timeout=0.08)
    line = await lease(pool)
    line.finish()
    await until(lambda: line.over)
    assert pool.connections == 0
    await pool.aclose()


async def test_it_counts_how_much_was_under_way_at_a_time() -> None:
    pool = a_pool(Site())
    lines = [await lease(pool) for _ in range(3)]
    for line in lines:
        line.finish()
    assert pool.most_in_flight() == 3
    assert pool.most_in_flight() == 0
    await pool.aclose()


async def test_as_many_lines_are_kept_warm_as_exchanges_take() -> None:
    site = Site()
    pool = SitePool(site, Settings(), size=8, order_share=1, per_connection=2)
    pool.keep_warm(1, exchanges=3)
    await pool.until_warm(5)
    assert len(site.open) == 2
    pool.keep_warm(1)
    assert len(site.open) == 2  # they go when they are too old
    await pool.aclose()


async def test_warm_lines_are_renewed_before_they_are_too_old() -> None:
    site = Site()
    pool = a_pool(site, idle_timeout=40.0)
    pool.keep_warm(2)
    await pool.until_warm(5)
    assert len(site.open) == 2
    old = list(site.open)
    for line in old:
        line.idle_since -= 31.0  # nearly too old
    await until_later(lambda: len(site.open) >= 4)
    assert all(line in site.open for line in old)  # the successors are there before they go
    for line in old:
        line.idle_since -= 10.0
    await until_later(lambda: all(line.over for line in old))
    assert len(site.open) == 2
    await pool.aclose()
    assert site.open == []


async def until_later(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_warm_line_that_the_server_ends_is_replaced() -> None:
    site = Site()
    pool = a_pool(site)
    pool.keep_warm(1)
    await pool.until_warm(5)
    site.lines[0].end(by_peer=True)
    await until_later(lambda: len(site.open) == 1)
    assert site.open == [site.lines[1]]
    await pool.aclose()


async def test_lines_that_we_end_ourselves_are_replaced_at_once() -> None:
    site = Site()
    pool = a_pool(site, size=8)
    pool.keep_warm(3)
    await pool.until_warm(5)
    for _ in range(10):  # reads whose answers nobody wants any more: another site was first
        attempt = Attempt(READ, "site", until=monotonic() + 60)
        pool.carry(attempt)
        attempt.mark()
        attempt.abort()
        await until(lambda: len(site.open) == 3)
        assert pool.is_at_hand()
    assert site.most_at_once <= 2
    await pool.aclose()


async def test_lines_that_we_end_ourselves_are_no_reason_to_hammer_a_site_that_is_gone() -> None:
    site = Site()
    pool = a_pool(site, size=8)
    pool.keep_warm(2)
    await pool.until_warm(5)
    site.failure = TransportFailure(Row.REFUSED)
    attempts = [Attempt(READ, "site", until=monotonic() + 60) for _ in range(2)]
    for attempt in attempts:
        pool.carry(attempt)
        attempt.mark()
    for attempt in attempts:
        attempt.abort()
        await settle()
    assert site.open == []
    assert site.tries <= 2 + 2
    await pool.aclose()


async def test_warming_a_dead_site_does_not_hammer_it() -> None:
    site = Site()
    site.failure = TransportFailure(Row.REFUSED)
    pool = a_pool(site)
    pool.keep_warm(2)
    await settle()
    tries = site.tries
    await asyncio.sleep(0.3)
    assert site.tries == tries <= 2
    assert site.lines == []
    await pool.aclose()


async def test_a_pool_smaller_than_its_warm_connections_is_no_reason_to_hurry() -> None:
    site = Site()
    site.failure = TransportFailure(Row.REFUSED)
    pool = a_pool(site, size=2, order_share=1)
    for _ in range(20):
        pool.keep_warm(5)
        await settle()
    assert site.tries <= 2
    await pool.aclose()


async def test_cancelling_at_any_moment_leaks_no_slot() -> None:
    """Workers with random deadlines and cancellations; afterwards every slot can be had again."""
    site = Site()
    pool = a_pool(site, size=10, order_share=3)
    draw = random.Random(7)
    end = monotonic() + 1.0

    async def use(request: Request) -> None:
        line = await lease(pool, request, within=draw.choice([0.0, 0.0005, 0.002]))
        try:
            await asyncio.sleep(draw.choice([0, 0, 0.0005]))
        finally:
            if line.attempt is not None:
                line.finish() if draw.random() < 0.7 else line.abort(line.attempt)

    async def work() -> None:
        while monotonic() < end:
            task = asyncio.create_task(use(draw.choice([READ, ORDER])))
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            if draw.random() < 0.5:
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                assert isinstance(error, TransportFailure), error

    await asyncio.gather(*(work() for _ in range(20)))
    await pool.drain()
    lines = [await lease(pool) for _ in range(10)]
    assert len(set(lines)) == 10
    assert at_once(pool) is None
    for line in lines:
        line.finish()
    reads = [await lease(pool, READ) for _ in range(7)]
    assert at_once(pool, READ) is None
    for line in reads:
        line.finish()
    await pool.aclose()
    assert site.open == []


async def test_closing_refuses_who_waits_and_who_comes() -> None:
    site = Site()
    pool = a_pool(site, size=1, order_share=0)
    await lease(pool)
    waiting = asyncio.create_task(lease(pool))
    await settle()
    await pool.aclose()
    for one in (waiting, asyncio.create_task(lease(pool))):
        with pytest.raises(TransportFailure) as caught:
            await one
        assert caught.value.row is Row.ABANDONED
    assert site.open == []


def test_every_operation_of_a_site_counts_as_a_read_or_an_order() -> None:
    from coinapi_ems_async.transport.base import is_change

    kinds = {operation.name: is_change(Request(operation=operation, target="/")) for operation in EMS}
    assert {name for name, change in kinds.items() if change} == {"order_new", "order_cancel", "order_cancel_all"}


async def test_for_how_long_a_line_had_rested() -> None:
    site = Site()
    pool = a_pool(site, size=1)
    first = Attempt(READ, "site", until=monotonic() + 60)
    assert pool.rested(first) == inf
    pool.carry(first)
    await until(lambda: site.open and site.open[0].attempt)
    (line,) = site.open
    line.idle_since -= 7
    first.mark()
    assert 7 <= pool.rested(first) < 12
    assert pool.rested(Attempt(READ, "site", until=monotonic() + 60)) == inf
    line.finish()
    await pool.aclose()


async def test_a_line_that_becomes_free_goes_to_whoever_waits_unless_it_is_spoilt() -> None:
    site = Site()
    pool = a_pool(site, size=1)
    line = await lease(pool)
    waiting = [Attempt(ORDER, "site", until=monotonic() + 60) for _ in range(2)]
    for attempt in waiting:
        pool.carry(attempt)
    line.finish()
    assert waiting[0].carrier is line
    line.spoilt = True
    line.finish()
    await until(lambda: len(site.lines) == 2 and waiting[1].carrier is site.lines[1])
    assert line.over
    await pool.aclose()


async def test_a_line_for_which_only_reads_wait_that_may_not_have_it_is_kept() -> None:
    site = Site()
    pool = a_pool(site, size=2, order_share=1)
    await lease(pool, READ)
    line = await lease(pool)
    read = Attempt(READ, "site", until=monotonic() + 60)
    pool.carry(read)
    line.finish()
    assert read.carrier is pool
    assert at_once(pool) is line
    await pool.aclose()


async def test_thousands_that_are_not_wanted_any_more_pass_in_one_turn() -> None:
    site = Site(MarkingLine)
    pool = a_pool(site, size=1)
    line = await lease(pool)
    waiting = [Attempt(ORDER, "site", until=monotonic() + 60) for _ in range(5_000)]
    for attempt in waiting:
        pool.carry(attempt)
    for attempt in waiting[:-1]:
        attempt.withdraw()
    line.finish()
    assert {attempt.failure and attempt.failure.row for attempt in waiting[:-1]} == {Row.ABANDONED}
    assert waiting[-1].committed is not None
    assert waiting[-1].carrier is line
    assert pool.in_flight == 1
    line.finish()
    assert pool.in_flight == 0
    await pool.aclose()
