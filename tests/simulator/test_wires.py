"""Proxies before the gateways of a simulator, and faults drawn from a seed."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.simulator import FaultPlan, Simulator, WireFault

from .helpers import EAST, INSTANT, WEST, Caller, new_order, until
from .streams import speaking

GONE = (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
BROKEN = (*GONE, aiohttp.ClientPayloadError, aiohttp.ClientResponseError)
ORDER = b"POST /v1/orders "


@pytest.fixture
async def proxied() -> AsyncIterator[Simulator]:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, proxied=True) as simulator:
        yield simulator


async def test_clients_are_told_the_proxies(proxied: Simulator) -> None:
    assert set(proxied.site_urls.values()).isdisjoint(proxied.gateway_urls.values())
    async with aiohttp.ClientSession() as session:
        call = Caller(proxied, session)
        rows = (await call.management("GET", "/v1/endpoints")).json
        assert {row["location_id"]: row["endpoint_url"].rstrip("/") for row in rows} == proxied.site_urls
        assert (await call.place())["status"] == "ROUTED"
    assert (proxied.wire(EAST).connections, proxied.wire(WEST).connections) == (1, 0)
    assert EAST in repr(proxied.wire(EAST))


async def test_only_a_proxied_simulator_has_wires(sim: Simulator, proxied: Simulator) -> None:
    assert sim.gateway_urls == sim.site_urls
    with pytest.raises(RuntimeError, match="proxied=True"):
        sim.wire(EAST)
    with pytest.raises(KeyError):
        proxied.wire("nowhere")
    with pytest.raises(RuntimeError):
        proxied.wire("management")


@pytest.mark.every_loop
@pytest.mark.parametrize(("direction", "after", "executed"), [("request", 100, 0), ("response", 0, 1)])
async def test_an_order_is_cut(proxied: Simulator, direction: Any, after: int, executed: int) -> None:
    wire = proxied.wire(EAST)
    wire.inject(WireFault(direction=direction, after=after, action="reset", match=ORDER))
    async with aiohttp.ClientSession() as session:
        call = Caller(proxied, session)
        assert (await call("GET", "/v1/orders")).status == 200
        with pytest.raises(GONE):
            await call("POST", "/v1/orders", new_order())
    assert proxied.executions("order-1") == executed
    (cut,) = wire.cuts
    assert (cut.turn, cut.action, cut.direction) == (2, "reset", direction)


async def test_a_site_goes_and_comes_back_with_its_proxy(proxied: Simulator) -> None:
    urls = proxied.site_urls
    async with aiohttp.ClientSession() as session:
        call = Caller(proxied, session)
        await proxied.stop_site(WEST)
        with pytest.raises(aiohttp.ClientConnectorError):
            await call("GET", "/", site=WEST)
        await proxied.start_site(WEST)
        assert proxied.site_urls == urls
        assert (await call("GET", "/v1/orders", site=WEST)).status == 200


async def test_fixed_ports_are_those_of_the_proxies() -> None:
    async with Simulator(sites={EAST: 0.0}) as sim:
        port = int(sim.site_urls[EAST].rpartition(":")[2])
    async with Simulator(sites={EAST: 0.0}, ports=[port], proxied=True) as sim:
        assert sim.site_urls[EAST].endswith(f":{port}")
        assert sim.wire(EAST).port == port


@pytest.mark.every_loop
async def test_tls_goes_through_and_can_be_cut_while_hands_are_shaken() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, proxied=True, tls=True) as sim:
        connector = aiohttp.TCPConnector(ssl=sim.ssl_context())
        async with aiohttp.ClientSession(connector=connector) as session:
            call = Caller(sim, session)
            sim.wire(EAST).inject(WireFault(after=100, action="reset"))
            with pytest.raises(GONE):
                await call.place(client_order_id="cut")
            assert (await call.place())["status"] == "ROUTED"
        assert [cut.response_bytes for cut in sim.wire(EAST).cuts] == [100]
        assert (sim.executions("cut"), sim.executions("order-1")) == (0, 1)


async def test_http_2_goes_through(proxied: Simulator) -> None:
    proxied.wire(EAST).inject(WireFault(action="freeze", match=b'"client_order_id": "cold"'))
    async with speaking(proxied) as peer:
        assert (await peer.answer(peer.place(proxied, new_order())))[0] == 200
        number = peer.place(proxied, new_order(client_order_id="cold"))
        await until(lambda: proxied.executions("cold") == 1)
        await until(lambda: len(proxied.wire(EAST).cuts) == 1)
        proxied.wire(EAST).thaw()
        status, body = await peer.answer(number)
        assert (status, json.loads(body)["client_order_id"]) == (200, "cold")


def test_a_seed_repeats_the_schedule() -> None:
    def drawn(plan: FaultPlan, wire: str = "") -> list[Any]:
        return [one and (one.action, one.direction, one.after, one.seconds) for one in plan.schedule(500, wire)]

    plan = FaultPlan(seed=7, rate=0.2)
    assert drawn(plan) == drawn(FaultPlan(seed=7, rate=0.2))
    assert drawn(plan) != drawn(FaultPlan(seed=8, rate=0.2))
    assert drawn(plan) != drawn(plan, EAST) != drawn(plan, WEST)
    assert 60 < sum(one is not None for one in drawn(plan)) < 140
    kinds = Counter((one[0], one[1]) for one in drawn(plan) if one)
    assert len(kinds) == 6
    assert max(one[2] for one in drawn(plan) if one) > 1_000
    assert "seed=7" in repr(plan)
    assert not any(FaultPlan(seed=1, rate=0.0).schedule(100))
    assert all(FaultPlan(seed=1, rate=1.0).schedule(100))
    drips = FaultPlan(seed=1, rate=1, actions=("drip",), seconds=1.0).schedule(1)
    assert [(one.size, one.seconds) for one in drips if one] == [(16, 0.01)]


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 2.0}, {"actions": ()}, {"directions": ("connect",)}, {"within": -1}, {"actions": ("burn",)}],
)
def test_plans_that_make_no_sense(wrong: Any) -> None:
    with pytest.raises(ValueError):
        FaultPlan(**({"seed": 1, "rate": 0.1} | wrong))


@pytest.mark.every_loop
async def test_a_plan_cuts_what_it_drew_and_no_order_is_executed_twice() -> None:
    plan = FaultPlan(seed=3, rate=0.3, within=600, seconds=0.02, match=ORDER)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, plan=plan) as sim:
        wire, outcomes = sim.wire(EAST), []
        async with aiohttp.ClientSession() as session:
            call = Caller(sim, session)
            for number in range(60):
                await call("GET", "/v1/orders")
                try:
                    order = new_order(client_order_id=str(number))
                    outcomes.append((await call("POST", "/v1/orders", order)).status == 200)
                except BROKEN:
                    outcomes.append(False)
        assert wire.draws == 60
        struck = [one.fault for one in wire.cuts]
        expected = [one for one in plan.schedule(60, EAST) if one is not None]
        assert {(one.action, one.direction, one.after) for one in struck} <= {
            (one.action, one.direction, one.after) for one in expected
        }
        assert 5 < len(struck) <= len(expected)
        assert False in outcomes
        for number, ok in enumerate(outcomes):
            assert sim.executions(str(number)) == 1 or (not ok and sim.executions(str(number)) == 0)
        await until(lambda: wire.open == 0)


async def test_nothing_is_left_behind(proxied: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        call = Caller(proxied, session)
        proxied.wire(EAST).inject(WireFault(action="freeze"))
        waiting = asyncio.create_task(call("GET", "/v1/orders"))
        await until(lambda: len(proxied.wire(EAST).cuts) == 1)
        await proxied.stop()
        with pytest.raises(GONE):
            await waiting
    assert len(asyncio.all_tasks()) == 1
