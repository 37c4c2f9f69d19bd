"""How to test a bot of your own: put it on the simulator, break the service, and ask the servers what happened.

`ems_simulator` and `ems_client` are fixtures that pytest finds where this package is installed. Run it with pytest
and pytest-asyncio, or as a program, which does just that.
"""

import subprocess
import sys

import pytest

from coinapi_ems_async import Accepted, EMSClient, NewOrder, OrderUnknown, Side
from coinapi_ems_async.simulator import Injection, SimulatorThread, WireFault


def an_order() -> NewOrder:
    return NewOrder(
        exchange_id="DERIBIT",
        symbol_id_coinapi="DERIBIT_PERP_BTC_USDC",
        side=Side.SELL,
        amount_order="0.5",
        price=10790,
    )


@pytest.mark.asyncio
async def test_the_bot_survives_the_loss_of_its_site(
    ems_simulator: SimulatorThread, ems_client: EMSClient
) -> None:
    async with ems_client as ems:
        ems_simulator.stop_site("near")
        outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Accepted)
    assert outcome.site == "far"


@pytest.mark.asyncio
async def test_an_order_of_unknown_outcome_is_executed_once(
    ems_simulator: SimulatorThread, ems_client: EMSClient
) -> None:
    ems_simulator.inject(Injection(operation="order_new", status=502, execute="before"))
    order = an_order()
    async with ems_client as ems:
        with pytest.raises(OrderUnknown):
            await ems.orders.place(order)
        report = await ems.orders.status(order.client_order_id)
    assert report.amount_filled == order.amount_order
    assert ems_simulator.executions(order.client_order_id) == 1


@pytest.mark.asyncio
@pytest.mark.ems_simulator(sites={"only": 0.0}, proxied=True)
async def test_an_answer_that_is_cut_hides_no_order(ems_simulator: SimulatorThread, ems_client: EMSClient) -> None:
    ems_simulator.inject_wire("only", WireFault(action="reset", after=100, match=b"POST /v1/orders "))
    order = an_order()
    async with ems_client as ems:
        with pytest.raises(OrderUnknown):
            await ems.orders.place(order)
    (position,) = ems_simulator.positions("DERIBIT")
    assert (position.side, position.quantity) == (Side.SELL, order.amount_order)


if __name__ == "__main__":
    options = [f"-W{option}" for option in sys.warnoptions]
    arguments = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function", __file__]
    sys.exit(subprocess.call([sys.executable, *options, "-m", "pytest", *arguments]))  # noqa: S603
