"""When things happened: on outcomes, and for every call through the hook."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from coinapi_ems_async import (
    Accepted,
    CallRecord,
    EMSClient,
    NotSent,
    OrderNotFound,
    Rejected,
    Settings,
    Timing,
    Unknown,
)
from coinapi_ems_async.simulator import Injection, Simulator

from .conftest import an_order
from .wire import a_listener_that_never_accepts


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def in_order(timing: Timing) -> bool:
    points = [timing.started, timing.connected, timing.committed, timing.first_byte, timing.done, timing.decoded]
    known = [point for point in points if point is not None]
    return len(known) == 6 and known == sorted(known)


@pytest.mark.parametrize("transport", ["http1", "http2", "aiohttp"])
async def test_an_outcome_knows_every_point_it_passed(sim: Simulator, transport: str) -> None:
    async with EMSClient(sim.api_key, management_url=sim.management_url, transport=transport) as ems:  # type: ignore[arg-type]  # one of the three
        for _ in range(2):
            outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Accepted)
        assert outcome.timing is not None
        assert in_order(outcome.timing)
        assert outcome.timing.reused
        assert outcome.timing.site == outcome.site
        assert outcome.timing.total is not None
        assert outcome.timing.round_trip is not None
        assert outcome.timing.queued is not None
        assert outcome.timing.total >= outcome.timing.round_trip > 0
        assert outcome.timing.queued >= 0


async def test_the_hook_is_told_of_every_call(sim: Simulator) -> None:
    seen: list[CallRecord] = []
    async with EMSClient(sim.api_key, management_url=sim.management_url, on_call=seen.append) as ems:
        opening = {record.operation for record in seen}
        seen.clear()
        order = an_order()
        await ems.orders.place(order)
        await ems.orders.submit(order)
        await ems.orders.submit(an_order(amount_order="999999999"))
        sim.inject(Injection(operation="order_new", status=500))
        await ems.orders.submit(an_order())
        await ems.orders.cancel(exchange_id=order.exchange_id, client_order_id=order.client_order_id)
        await ems.orders.cancel_all(exchange_id=order.exchange_id)
        await ems.balances.get()
        with pytest.raises(OrderNotFound):
            await ems.orders.status("nobody-knows")
        await ems.locations.list()
        await asyncio.sleep(0)
    assert {"endpoints", "locations", "exchanges"} <= opening
    assert [(record.operation, record.ended) for record in seen] == [
        ("order_new", "accepted"),
        ("order_new", "not sent"),
        ("order_new", "rejected"),
        ("order_new", "unknown"),
        ("order_cancel", "accepted"),
        ("order_cancel_all", "accepted"),
        ("balances", "value"),
        ("order_status", "OrderNotFound"),
        ("locations", "value"),
    ]
    first = seen[0]
    assert first.client_order_id == order.client_order_id
    assert first.timing is not None
    assert in_order(first.timing)
    assert first.attempts[0].status == 200
    assert seen[1].timing is None


async def test_the_hook_is_told_of_a_call_whose_caller_went_away() -> None:
    seen: list[CallRecord] = []
    with a_listener_that_never_accepts() as url:
        settings = Settings(open_within=0.1, close_wait=0.1)
        async with EMSClient.self_hosted(url, settings=settings, on_call=seen.append) as ems:
            task = asyncio.create_task(ems.orders.submit(an_order()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: seen)
    assert [(record.operation, record.ended) for record in seen] == [("order_new", "cancelled")]


async def test_a_hook_that_fails_harms_no_call(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    def hook(record: CallRecord) -> None:
        raise ZeroDivisionError(record.operation)

    with caplog.at_level(logging.ERROR):
        async with EMSClient(sim.api_key, management_url=sim.management_url, on_call=hook) as ems:
            outcome = await ems.orders.submit(an_order())
            await asyncio.sleep(0)
    assert isinstance(outcome, Accepted)
    assert "the on_call hook failed on order_new" in caplog.text


async def test_a_hook_that_turns_out_to_be_async_is_told_once(
    sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def awaited(record: CallRecord) -> None:
        raise AssertionError(record)

    with caplog.at_level(logging.ERROR):
        async with EMSClient(
            sim.api_key, management_url=sim.management_url, on_call=lambda one: awaited(one)
        ) as ems:
            for _ in range(3):
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
            await asyncio.sleep(0)
    said = "on_call must not be async: it returns a coroutine, which nobody awaits"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_every_class_of_outcome_has_a_word() -> None:
    from coinapi_ems_async.dispatch import _ENDED

    assert set(_ENDED) == {Accepted, Rejected, NotSent, Unknown}
