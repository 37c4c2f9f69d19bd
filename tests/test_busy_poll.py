"""Settings.busy_poll: the event loop does not sleep while an order is under way."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.errors import ConfigurationError
from coinapi_ems_async.simulator import Pace, Simulator
from coinapi_ems_async.transport.watch import Watch

from .conftest import ACCOUNT, EAST, an_order


class Selector(selectors.DefaultSelector):
    """Counts how often the loop looks at its sockets, and how often it would wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = self.waits = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.looks += 1
        self.waits += timeout is None or timeout > 0
        return super().select(timeout)

    def begin(self) -> None:
        self.looks = self.waits = 0


def run(main: Callable[[Selector], Awaitable[None]]) -> None:
    selector = Selector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:

        async def whole() -> None:
            await main(selector)

        runner.run(whole())


class Someone:
    def __init__(self) -> None:
        self.until = 1e9
        self.waiter: asyncio.Future[Any] | None = None

    def wake(self) -> None:
        raise AssertionError("its time is far")


@pytest.mark.parametrize(("busy_poll", "is_awake"), [(60.0, True), (1e-6, False)])
def test_the_loop_stays_awake_as_long_as_it_was_told(busy_poll: float, is_awake: bool) -> None:
    async def main(selector: Selector) -> None:
        watch: Watch[Someone] = Watch(busy_poll)
        watch.enter(one := Someone())
        watch.stay_awake()
        watch.stay_awake()  # for a second one: still one turn at a time
        selector.begin()
        await asyncio.sleep(0.02)
        assert (selector.waits == 0) == is_awake
        assert (selector.looks > 10) == is_awake
        watch.leave(one)
        await asyncio.sleep(0)
        selector.begin()
        await asyncio.sleep(0.02)
        assert selector.looks <= 3  # nobody waits any more
        watch.close()

    run(main)


@pytest.mark.parametrize("busy_poll", [0.0, 60.0])
def test_an_order_keeps_the_loop_awake_and_a_read_does_not(busy_poll: float) -> None:
    async def main(selector: Selector) -> None:
        slow = Pace(reply=0.2, book=0, cancel=0)
        async with (
            Simulator(sites={EAST: 0.0}, pace=slow, seed=7) as sim,
            EMSClient(
                sim.api_key, management_url=sim.management_url, settings=Settings(busy_poll=busy_poll)
            ) as ems,
        ):
            selector.begin()
            await ems.orders.place(an_order())
            looks = selector.looks
            assert (looks > 100) == bool(busy_poll)
            selector.begin()
            await ems.balances.get(ACCOUNT)
            await asyncio.sleep(0.02)
            assert selector.waits > 0

    run(main)


@pytest.mark.parametrize(("first", "is_awake"), [(0.0, True), (1.2, False)])
def test_it_stays_awake_only_where_the_last_order_was_answered_within_that_time(
    first: float, is_awake: bool
) -> None:
    async def main(selector: Selector) -> None:
        settings = Settings(busy_poll=1.0, probe_interval=60.0)
        async with (
            Simulator(sites={EAST: 0.0}, pace=Pace(reply=0.1, book=0, cancel=0), seed=7) as sim,
            EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems,
        ):
            sim.set_delay(EAST, first)
            await ems.orders.place(an_order())
            sim.set_delay(EAST, 0.0)
            selector.begin()
            await ems.orders.place(an_order())
            assert (selector.looks > 100) == is_awake

    run(main)


@pytest.mark.parametrize("value", [-1, True, "0", None, float("nan")])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="busy_poll"):
        Settings(busy_poll=value)
