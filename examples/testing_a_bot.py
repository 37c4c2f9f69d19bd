"""How to test a bot of your own: put it on the simulator, break the service, and ask the servers what happened.

With pytest-asyncio, `simulated` and `connected` are fixtures; here a main function plays pytest.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coinapi_ems_async import Accepted, EMSClient, NewOrder, OrderUnknown, Side
from coinapi_ems_async.simulator import Injection, Pace, Simulator


@asynccontextmanager
async def simulated() -> AsyncIterator[Simulator]:
    async with Simulator(sites={"near": 0.0, "far": 0.01}, pace=Pace(reply=0, book=0, cancel=0)) as sim:
        yield sim


@asynccontextmanager
async def connected(sim: Simulator) -> AsyncIterator[EMSClient]:
    async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
        yield ems


def an_order() -> NewOrder:
    return NewOrder(
        exchange_id="DERIBIT",
        symbol_id_coinapi="DERIBIT_PERP_BTC_USDC",
        side=Side.SELL,
        amount_order="0.5",
        price=10900,
    )


async def test_the_bot_survives_the_loss_of_its_site(sim: Simulator, ems: EMSClient) -> None:
    await sim.stop_site("near")
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Accepted)
    assert outcome.site == "far"


async def test_an_order_of_unknown_outcome_is_executed_once(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", status=502, execute="before"))
    order = an_order()
    try:
        await ems.orders.place(order)
    except OrderUnknown as error:
        print("as it should be:", error)
    assert sim.executions(order.client_order_id) == 1


async def main() -> None:
    for test in (test_the_bot_survives_the_loss_of_its_site, test_an_order_of_unknown_outcome_is_executed_once):
        async with simulated() as sim, connected(sim) as ems:
            await test(sim, ems)
            print("passed:", test.__name__)


if __name__ == "__main__":
    asyncio.run(main())
