"""When the site table is read again, on a virtual clock."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from coinapi_ems_async import AuthenticationFailed, ConnectFailed, RateLimited, Settings
from coinapi_ems_async.errors import EMSError
from coinapi_ems_async.sites.directory import Directory, single
from coinapi_ems_async.sites.discovery import Discovery
from coinapi_ems_async.sites.refresh import Refresher

from .outage import FakeService, Over, VirtualTime, row

DIRECTORY = single("one", "https://one.example")


class Readings:
    """A load that fails while there is an error, and notes when it was asked."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.times: list[float] = []
        self.applied: list[Directory] = []
        self.error: EMSError | None = None

    async def load(self) -> Directory:
        self.times.append(self.time.now)
        if self.error is not None:
            raise self.error
        return DIRECTORY

    async def apply(self, directory: Directory) -> None:
        self.applied.append(directory)

    def fail(self, error: EMSError | None = None) -> Callable[[], None]:
        def change() -> None:
            self.error = error

        return change

    @property
    def waits(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
def readings(time: VirtualTime) -> Readings:
    return Readings(time)


def refresher(readings: Readings, settings: Settings | None = None) -> Refresher:
    time = readings.time
    return Refresher(readings.load, readings.apply, settings or Settings(), clock=time.clock, pause=time.pause)


async def run_out(running: Awaitable[None]) -> None:
    with pytest.raises(Over):
        await running


async def test_the_table_is_read_every_five_minutes_give_or_take_a_tenth(
    time: VirtualTime, readings: Readings
) -> None:
    time.over(36_000)
    await run_out(refresher(readings).run())
    waits = [readings.times[0], *readings.waits]
    assert all(270 <= wait <= 330 for wait in waits)
    assert len(set(waits)) > 50
    assert len(readings.applied) == len(readings.times)


async def test_a_kept_table_is_read_again_at_once(time: VirtualTime, readings: Readings) -> None:
    time.over(100)
    await run_out(refresher(readings).run(at_once=True))
    assert readings.times == [0.0]


async def test_after_failures_it_is_read_ever_less_often_and_for_ever(
    time: VirtualTime, readings: Readings
) -> None:
    readings.error = ConnectFailed("down")
    time.over(10 * 86_400)
    await run_out(refresher(readings).run(at_once=True))
    assert readings.applied == []
    for wait, wanted in zip(readings.waits, (10, 20, 40, 80, 160), strict=False):
        assert 0.9 * wanted <= wait <= wanted
    assert all(269.9 <= wait <= 300.1 for wait in readings.waits[5:])
    assert len(readings.waits) > 2_000


async def test_after_a_success_the_next_failure_begins_anew(time: VirtualTime, readings: Readings) -> None:
    readings.error = ConnectFailed("down")
    time.at(100, readings.fail(None))
    time.at(1_000, readings.fail(ConnectFailed("down again")))
    time.over(1_500)
    await run_out(refresher(readings).run(at_once=True))
    second = next(index for index, when in enumerate(readings.times) if when > 1_000)
    assert 9 <= readings.waits[second] <= 10


@pytest.mark.parametrize(("told", "least"), [(120.0, 120.0), (None, 9.0), (3_600.0, 300.0)])
async def test_as_long_as_the_service_says_it_is_not_asked(
    told: float | None, least: float, time: VirtualTime, readings: Readings
) -> None:
    readings.error = RateLimited("slow down", retry_after=told)
    refreshing = refresher(readings)
    for when in range(1, 300):
        time.at(when, lambda: refreshing.ask("no site serves KRAKEN"))
    time.over(302)
    await run_out(refreshing.run(at_once=True))
    assert all(wait >= least for wait in readings.waits)
    assert readings.waits or told == 3_600.0 or readings.times == [0.0]


async def test_whoever_asks_has_the_table_read_at_once(time: VirtualTime, readings: Readings) -> None:
    refreshing = refresher(readings)
    time.at(42, lambda: refreshing.ask("no site serves KRAKEN"))
    time.over(300)
    await run_out(refreshing.run())
    assert readings.times[0] == 42


async def test_readings_asked_for_are_ten_seconds_apart(time: VirtualTime, readings: Readings) -> None:
    refreshing = refresher(readings)
    for tenth in range(1, 1_000):
        time.at(tenth / 10, lambda: refreshing.ask("every site is ejected"))
    time.over(100)
    await run_out(refreshing.run())
    assert all(wait >= 10 for wait in readings.waits)
    assert 8 <= len(readings.times) <= 10
    assert readings.times[0] == 10


async def test_whoever_asks_during_a_long_outage_does_not_wait_for_the_backoff(
    time: VirtualTime, readings: Readings
) -> None:
    readings.error = ConnectFailed("down")
    refreshing = refresher(readings)
    time.at(1_000, lambda: refreshing.ask("every site is ejected"))
    time.over(1_001)
    await run_out(refreshing.run(at_once=True))
    assert readings.times[-1] == 1_000


async def test_an_interval_shorter_than_the_gap_is_kept(time: VirtualTime, readings: Readings) -> None:
    refreshing = refresher(readings, Settings(refresh_interval=2))
    time.at(0.5, lambda: refreshing.ask("why not"))
    time.over(20)
    await run_out(refreshing.run())
    assert len(readings.times) >= 9


async def test_asking_again_is_one_line_of_log(
    time: VirtualTime, readings: Readings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coinapi_ems_async.sites")
    refreshing = refresher(readings)
    for _ in range(3):
        refreshing.ask("HTTP 421 from a site")
    assert [record.getMessage() for record in caplog.records] == [
        "reading the site table again: HTTP 421 from a site"
    ]


async def test_a_reading_asked_for_by_the_user_raises_and_changes_nothing(readings: Readings) -> None:
    readings.error = AuthenticationFailed("no", status=401)
    refreshing = refresher(readings)
    with pytest.raises(AuthenticationFailed):
        await refreshing.now()
    assert readings.applied == []
    readings.error = None
    await refreshing.now()
    assert readings.applied == [DIRECTORY]


async def test_the_wait_is_a_real_one_by_default() -> None:
    asked = asyncio.Event()

    async def load() -> Directory:
        asked.set()
        return DIRECTORY

    async def apply(directory: Directory) -> None:
        pass

    refreshing = Refresher(load, apply, Settings(refresh_gap=0.01))
    running = asyncio.create_task(refreshing.run())
    try:
        refreshing.ask("the test wants it")
        async with asyncio.timeout(10):
            await asked.wait()
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_an_hour_without_the_management_api_leaves_the_table_as_it_is(time: VirtualTime) -> None:
    down = (1_000.0, 4_600.0)
    service = FakeService({"endpoints": [row("https://one.example", "one")]})
    discovery = Discovery(service.call, "https://mgmt.example", Settings(), clock=time.clock, wall=time.clock)
    applied: list[tuple[float, Directory]] = []

    async def apply(directory: Directory) -> None:
        applied.append((time.now, directory))

    def in_between() -> None:
        seen.append((discovery.age, discovery.last_error))

    seen: list[tuple[float | None, str | None]] = []
    before = await discovery.load()
    time.at(down[0], lambda: service.errors.update(endpoints=ConnectFailed("nobody is there")))
    time.at(4_599, in_between)
    time.at(down[1], service.errors.clear)
    time.over(4_600 + 331)
    refreshing = Refresher(discovery.load, apply, Settings(), clock=time.clock, pause=time.pause)
    await run_out(refreshing.run())
    assert not [when for when, _ in applied if down[0] < when < down[1]]
    assert all(directory == before for _, directory in applied)
    ((age, error),) = seen
    assert age is not None
    assert 3_599 < age < 3_930
    assert error == "nobody is there"
    assert [when for when, _ in applied if when >= down[1]]
    assert discovery.last_error is None
    assert discovery.age is not None
    assert discovery.age < 331
