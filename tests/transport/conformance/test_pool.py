"""The pool where it is touchiest: a call that is cancelled, or a connection that ends, at the moment they meet."""

import asyncio

import pytest

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.transport.base import Owner, TransportFailure
from coinapi_ems_async.transport.pool import SitePool

from ..test_pool import ORDER, READ, Line, Site, a_pool, lease, settle

pytestmark = pytest.mark.every_loop

SIZE = 3


async def has_every_slot(pool: SitePool) -> bool:
    """Whether as many exchanges as the pool allows run at once, and not one more."""
    busy = [await lease(pool) for _ in range(SIZE)]
    with pytest.raises(TransportFailure) as caught:
        await lease(pool, within=0.001)
    for line in busy:
        line.finish()
    async with asyncio.timeout(2):
        await pool.drain()
    return caught.value.row is Row.POOL_WAIT and len({line.number for line in busy}) == SIZE


@pytest.mark.parametrize("slots", ["free", "taken"])
async def test_cancellation_at_any_await_loses_no_slot(slots: str) -> None:
    """The connection, or the slot, comes so many steps after the call, and the cancellation after so many."""
    for comes_after in range(8):
        for cancelled_after in range(8):
            site = Site()
            pool = a_pool(site, size=SIZE)
            busy = [await lease(pool) for _ in range(SIZE)] if slots == "taken" else []
            site.gate.clear()
            task = asyncio.create_task(lease(pool))
            for step in range(8):
                if step == comes_after:
                    site.gate.set()
                    for line in busy:
                        line.finish()
                if step == cancelled_after:
                    task.cancel()
                await asyncio.sleep(0)
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, Line):  # it had come before the cancellation
                result.finish()
            assert await has_every_slot(pool), (comes_after, cancelled_after)
            await pool.aclose()


@pytest.mark.parametrize("request_kind", ["order", "read"])
async def test_a_time_out_at_any_await_loses_no_slot(request_kind: str) -> None:
    request = ORDER if request_kind == "order" else READ
    for delay in (0.0, 0.0005, 0.001, 0.0015, 0.002):
        site = Site()
        pool = a_pool(site, size=SIZE)
        site.gate.clear()
        asyncio.get_running_loop().call_later(delay, site.gate.set)
        calls = (lease(pool, request, within=within / 1000) for within in range(-1, 4))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, Line):
                result.finish()
            else:
                assert isinstance(result, TransportFailure)
                assert result.row in (Row.CONNECT_TIMEOUT, Row.POOL_WAIT)
        site.gate.set()
        assert await has_every_slot(pool)
        await pool.aclose()


async def test_a_connection_that_ends_as_it_becomes_free_is_not_used() -> None:
    site = Site()
    pool = a_pool(site, size=SIZE)
    busy = [await lease(pool) for _ in range(SIZE)]
    waiting = asyncio.create_task(lease(pool))
    await settle()
    busy[0].spoilt = True
    busy[0].finish()
    line = await waiting
    assert line not in busy
    for one in (line, *busy[1:]):
        one.finish()
    assert await has_every_slot(pool)
    await pool.aclose()


async def test_a_connection_that_ends_where_it_begins_is_not_opened_for_ever() -> None:
    """Some proxies take every connection, and close those for which they have no server."""
    opened = 0

    async def connect(owner: Owner, generation: int) -> Line:
        nonlocal opened
        opened += 1
        line = Line(owner, generation)
        line.spoilt = True
        return line

    pool = a_pool(Site(), size=SIZE)
    pool._connect = connect
    with pytest.raises(TransportFailure):
        await lease(pool, within=0.2)
    assert opened <= 10
    await pool.aclose()
