"""One timer for everybody who waits."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from coinapi_ems_async.transport.watch import Watch

pytestmark = pytest.mark.every_loop


class Someone:
    def __init__(self, within: float) -> None:
        self.until = monotonic() + within
        self.waiter: asyncio.Future[Any] | None = None
        self.woken_at = 0.0

    def wake(self) -> None:
        self.woken_at = monotonic()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


async def wait(watch: Watch[Someone], one: Someone) -> None:
    try:
        await watch.enter(one)
    finally:
        watch.leave(one)


async def test_everybody_is_woken_at_their_own_time_whatever_the_order() -> None:
    watch: Watch[Someone] = Watch()
    people = [Someone(within) for within in (0.09, 0.03, 0.06, 0.03, 0.12)]
    async with asyncio.timeout(5):
        await asyncio.gather(*(wait(watch, one) for one in people))
    for one in people:
        assert one.woken_at >= one.until
    assert list(watch) == []
    watch.close()


async def test_who_is_told_in_time_is_not_woken() -> None:
    watch: Watch[Someone] = Watch()
    one, other = Someone(60.0), Someone(0.05)
    tasks = [asyncio.create_task(wait(watch, who)) for who in (one, other)]
    await asyncio.sleep(0)
    assert one.waiter is not None
    one.waiter.set_result(None)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
    assert one.woken_at == 0.0
    assert other.woken_at >= other.until
    watch.close()


async def test_a_time_that_is_over_already_wakes_at_once() -> None:
    watch: Watch[Someone] = Watch()
    one = Someone(-1.0)
    async with asyncio.timeout(5):
        await wait(watch, one)
    assert one.woken_at
    watch.close()


async def test_change_returns_when_somebody_leaves_or_when_nudged() -> None:
    watch: Watch[Someone] = Watch()
    one = Someone(60.0)
    task = asyncio.create_task(wait(watch, one))
    change = asyncio.create_task(watch.change())
    await asyncio.sleep(0)
    assert not change.done()
    task.cancel()
    async with asyncio.timeout(5):
        await change
    again = asyncio.create_task(watch.change())
    await asyncio.sleep(0)
    watch.nudge()
    async with asyncio.timeout(5):
        await again
    watch.close()
