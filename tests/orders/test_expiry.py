"""An order whose own time has come is never sent: it is told before, or it is not sent."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from coinapi_ems_async import Accepted, EMSClient, InvalidRequest, NewOrder, NotSent, NotSentReason, TimeInForce
from coinapi_ems_async.resources.expiry import latest_for
from coinapi_ems_async.simulator import Injection, Simulator

from ..conftest import an_order
from .helpers import asked, until

TIMES = [TimeInForce.GOOD_TILL_TIME_EXCHANGE, TimeInForce.GOOD_TILL_TIME_OMS]


def ending_in(seconds: float, name: str = "it", tif: TimeInForce = TIMES[1]) -> NewOrder:
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return an_order(client_order_id=name, time_in_force=tif, expire_time=expires)


@pytest.mark.parametrize("tif", TIMES)
@pytest.mark.parametrize("seconds", [-0.001, -1, -1e9])
async def test_a_time_that_has_passed_is_told_before_anything_is_sent(
    sim: Simulator, ems: EMSClient, tif: TimeInForce, seconds: float
) -> None:
    order = ending_in(seconds, tif=tif)  # a value like any other, until it is to be sent
    for send in (ems.orders.submit, ems.orders.place):
        with pytest.raises(
            InvalidRequest, match=r"^expire_time has passed: it is .*Z, and now it is .*Z"
        ) as caught:
            await send(order)
        assert caught.value.client_order_id == "it"
    assert asked(sim) == []
    assert isinstance(await ems.orders.submit(ending_in(3600, tif=tif)), Accepted), "its id is free"


async def test_a_batch_with_one_such_order_is_not_begun(sim: Simulator, ems: EMSClient) -> None:
    batch = [ending_in(3600, "a"), ending_in(-1, "b"), an_order()]
    for send in (ems.orders.submit_many, ems.orders.place_many):
        with pytest.raises(InvalidRequest, match=r"orders\[1\]: expire_time has passed"):
            await send(batch)
    assert asked(sim) == []


async def test_what_ends_before_its_turn_in_a_batch_is_not_sent(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="first", hang=True, execute="before"))
    late = ending_in(1.0, "late")
    orders = [an_order(client_order_id="first"), late, ending_in(3600, "last")]
    batch = asyncio.create_task(ems.orders.submit_many(orders, limit=1))
    await until(lambda: asked(sim) == ["first"], "the first order")
    await until(lambda: late.expire_time is not None and late.expire_time <= datetime.now(UTC), "its time")
    sim.release()
    _, outcome, last = await batch
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NOT_AFTER
    assert "expire_time" in outcome.message
    assert isinstance(last, Accepted)
    assert asked(sim) == ["first", "last"]


def test_whichever_time_is_first_is_the_latest_to_leave() -> None:
    order = ending_in(10)
    assert order.expire_time is not None
    expires = order.expire_time.timestamp()
    assert latest_for(order, None) == expires
    assert latest_for(order, expires - 1) == expires - 1
    assert latest_for(order, expires + 1) == expires
    assert latest_for(an_order(), None) is None
    assert latest_for(an_order(), 5.0) == 5.0


async def test_a_time_to_come_does_not_make_a_late_order_malformed(sim: Simulator, ems: EMSClient) -> None:
    outcome = await ems.orders.submit(ending_in(3600), not_after=datetime.now(UTC) - timedelta(seconds=1))
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NOT_AFTER
    assert asked(sim) == []
