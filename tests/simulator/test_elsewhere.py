"""What happens at the exchange without the client: orders placed elsewhere, and cancels that are refused."""

from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.simulator import Simulator

from .helpers import ACCOUNT, EAST, INSTANT, SYMBOL, WEST, Caller


def steps(report: Any) -> list[str]:
    return [status for status, _ in report["status_history"]]


async def test_an_order_placed_elsewhere_is_found_at_every_site() -> None:
    async with (
        Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, shared_orders=False) as sim,
        aiohttp.ClientSession() as session,
    ):
        call = Caller(sim, session)
        name = sim.discover(ACCOUNT, "XBT/USDT", Side.BUY, "0.5", 9000)
        for site in (EAST, WEST):
            (report,) = (await call("GET", f"/v1/orders?exchange_id={ACCOUNT}", site=site)).json
            assert (report["client_order_id"], report["exchange_order_id"]) == (name, name)
            assert (report["symbol_id_coinapi"], steps(report)) == (SYMBOL, ["NEW"])
        assert sim.executions(name) == 0
        assert sim.balance(ACCOUNT, "USDT").locked == Decimal(4500)
        body = {"exchange_id": ACCOUNT, "exchange_order_id": name}
        assert (await call("POST", "/v1/orders/cancel", body, site=WEST)).json["status"] == "PENDING_CANCEL"
        assert steps(await call.status(name)) == ["NEW", "PENDING_CANCEL", "CANCELED"]


async def test_what_is_found_rests(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="would trade at once, at 10801"):
        sim.discover(ACCOUNT, SYMBOL, Side.BUY, 1, 10805)
    with pytest.raises(ValueError, match="Insufficient funds"):
        sim.discover(ACCOUNT, SYMBOL, Side.BUY, 1_000_000, 9000)
    with pytest.raises(KeyError, match="NOWHERE"):
        sim.discover(ACCOUNT, "NOWHERE", Side.BUY, 1, 9000)
    with pytest.raises(KeyError, match="no such account"):
        sim.discover("GEMINI", SYMBOL, Side.BUY, 1, 9000)
    assert sim.orders == ()


async def test_a_cancel_may_be_refused(sim: Simulator, call: Caller) -> None:
    sim.exchange_stubborn(ACCOUNT)
    await call.place()
    body = {"exchange_id": ACCOUNT, "client_order_id": "order-1"}
    assert (await call("POST", "/v1/orders/cancel", body)).json["status"] == "PENDING_CANCEL"
    assert steps(await call.status("order-1"))[3:] == ["NEW", "PENDING_CANCEL", "NEW"]
    sim.trade(ACCOUNT, SYMBOL, Side.SELL, "0.01", 10000)
    await call("POST", "/v1/orders/cancel", body)
    report = await call.status("order-1")
    assert steps(report)[6:] == ["PARTIALLY_FILLED", "PENDING_CANCEL", "PARTIALLY_FILLED"]
    sim.exchange_stubborn(ACCOUNT, False)
    await call("POST", "/v1/orders/cancel", body)
    assert (await call.status("order-1"))["status"] == "CANCELED"
    with pytest.raises(KeyError):
        sim.exchange_stubborn("GEMINI")
