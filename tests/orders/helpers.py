"""What the tests of order features share."""

import asyncio
from collections.abc import Callable, Sequence

from coinapi_ems_async import NewOrder
from coinapi_ems_async.simulator import Simulator

from ..conftest import an_order


async def until(condition: Callable[[], bool], what: str) -> None:
    """Let the loop run until something is so."""
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"never came about: {what}") from None


def asked(sim: Simulator, operation: str = "order_new") -> list[str | None]:
    """The client_order_ids that the servers were asked about, in their order."""
    return [record.client_order_id for record in sim.requests if record.operation == operation]


def some_orders(count: int) -> list[NewOrder]:
    return [an_order(client_order_id=f"order-{number}") for number in range(count)]


def ids(orders: Sequence[NewOrder]) -> list[str]:
    return [order.client_order_id for order in orders]
