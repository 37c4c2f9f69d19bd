"""Forced answers, sites that go away, delays."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.simulator import OPERATIONS, Injection, Simulator

from .helpers import EAST, INSTANT, NEVER, WEST, Caller, new_order, until

GONE = (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 421, 429, 490, 500, 502, 503, 504])
async def test_any_status(sim: Simulator, call: Caller, status: int) -> None:
    sim.inject(Injection(operation="order_new", status=status, body={"message": "no"}))
    reply = await call("POST", "/v1/orders", new_order())
    assert (reply.status, reply.json) == (status, {"message": "no"})
    assert reply.media == "application/json; charset=utf-8"
    assert sim.executions("order-1") == 0
    assert sim.requests[-1].status == status
    await call.place()


async def test_headers_and_bodies(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(status=429, headers={"Retry-After": "7"}))
    sim.inject(Injection(status=307, headers={"Location": "https://elsewhere.invalid/"}, body="<html>"))
    sim.inject(Injection(body=b"\xff\x00garbage", content_type="text/html", headers={"X-Extra": "1"}))
    sim.inject(Injection(body=""))
    limited, moved, garbage, empty = [await call("GET", "/v1/orders") for _ in range(4)]
    assert (limited.status, limited.headers["Retry-After"], limited.body) == (429, "7", b"")
    assert (moved.status, moved.headers["Location"]) == (307, "https://elsewhere.invalid/")
    assert (garbage.status, garbage.body, garbage.media) == (200, b"\xff\x00garbage", "text/html")
    assert garbage.headers["X-Extra"] == "1"
    assert (empty.status, empty.body) == (200, b"")
    assert (await call("GET", "/v1/orders")).json == []


async def test_the_order_may_be_executed_all_the_same(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", status=503, execute="before"))
    assert (await call("POST", "/v1/orders", new_order())).status == 503
    assert sim.executions("order-1") == 1
    assert (await call.status("order-1"))["status"] == "NEW"


async def test_matching_and_counting(sim: Simulator, call: Caller) -> None:
    forever = sim.inject(Injection(operation="orders_open", site=WEST, status=500, times=None))
    twice = sim.inject(Injection(client_order_id="a", status=502, times=2))
    assert (await call("GET", "/v1/orders")).status == 200
    assert [(await call("GET", "/v1/orders", site=WEST)).status for _ in range(3)] == [500] * 3
    await call.place(client_order_id="b")
    statuses = [
        (await call("POST", "/v1/orders", new_order(client_order_id="a"))).status,
        (await call("GET", "/v1/orders/status/a")).status,
        (await call("GET", "/v1/orders/status/a")).status,
    ]
    assert statuses == [502, 502, 404]
    assert (forever.times, twice.times) == (None, 0)
    sim.clear_injections()
    assert (await call("GET", "/v1/orders", site=WEST)).status == 200


def test_operations_are_checked() -> None:
    assert {"order_new", "probe", "unknown"} <= set(OPERATIONS)
    wrong: Any = "order_amend"
    with pytest.raises(ValueError, match="order_amend"):
        Injection(operation=wrong)


@pytest.mark.parametrize("execute", ["never", "before"])
async def test_a_cut_connection(sim: Simulator, call: Caller, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", reset=True, execute=execute))
    with pytest.raises(GONE):
        await call("POST", "/v1/orders", new_order())
    assert sim.executions("order-1") == (execute == "before")
    assert sim.requests[-1].status is None


@pytest.mark.parametrize("execute", ["never", "before"])
async def test_silence_until_released(sim: Simulator, call: Caller, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", hang=True, execute=execute))
    waiting = asyncio.create_task(call("POST", "/v1/orders", new_order()))
    await until(lambda: len(sim.requests) == 1)
    assert (await call("GET", "/v1/orders")).status == 200
    assert not waiting.done()
    assert sim.executions("order-1") == (execute == "before")
    sim.release()
    if execute == "before":
        assert (await waiting).json["status"] == "ROUTED"
    else:
        with pytest.raises(GONE):
            await waiting


async def test_stopping_ends_silence(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(hang=True, status=500))
    sim.inject(Injection(delay=30.0))
    waiting = [asyncio.create_task(call("GET", "/v1/orders")) for _ in range(2)]
    await until(lambda: len(sim.requests) == 2)
    start = time.monotonic()
    await sim.stop()
    assert time.monotonic() - start < 1
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, GONE)


async def test_a_site_goes_and_comes_back(sim: Simulator, call: Caller) -> None:
    await call.place(site=WEST)
    url = sim.site_urls[WEST]
    sim.inject(Injection(site=WEST, hang=True, status=500))
    waiting = asyncio.create_task(call("GET", "/v1/orders", site=WEST))
    await until(lambda: len(sim.requests) == 2)
    await sim.stop_site(WEST)
    with pytest.raises(GONE):
        await waiting
    with pytest.raises(aiohttp.ClientConnectorError):
        await call("GET", "/", site=WEST)
    assert (await call.status("order-1"))["status"] == "NEW"
    await sim.stop_site(WEST)
    await sim.start_site(WEST)
    await sim.start_site(WEST)
    assert sim.site_urls[WEST] == url
    assert (await call.status("order-1", WEST))["status"] == "NEW"
    with pytest.raises(KeyError):
        await sim.stop_site("nowhere")


async def test_delays(sim: Simulator, call: Caller) -> None:
    async def took(path: str, site: str) -> float:
        start = time.monotonic()
        await call("GET", path, site=site)
        return time.monotonic() - start

    fine = 0.002  # uvloop's timers are a millisecond fine
    sim.set_delay(WEST, 0.03)
    assert await took("/", WEST) >= 0.03 - fine
    assert await took("/v1/nothing", WEST) >= 0.03 - fine
    sim.inject(Injection(delay=0.03))
    assert await took("/v1/orders", WEST) >= 0.06 - fine
    assert min([await took("/", EAST) for _ in range(5)]) < 0.03


async def test_sites_may_keep_their_orders_to_themselves() -> None:
    simulator = Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, shared_orders=False)
    async with simulator, aiohttp.ClientSession() as session:
        call = Caller(simulator, session)
        await call.place()
        await call.place(WEST)
        assert simulator.executions("order-1") == 2
        await call.place(WEST, client_order_id="west")
        assert (await call("GET", "/v1/orders/status/west")).status == 404
        assert len((await call("GET", "/v1/orders", site=WEST)).json) == 2
        body = {"exchange_id": "KRAKEN/JOHN"}
        await call("POST", "/v1/orders/cancel/all", body)
        assert len((await call("GET", "/v1/orders", site=WEST)).json) == 2
        assert (await call("GET", "/v1/orders")).json == []


async def test_sites_may_serve_different_accounts() -> None:
    served = {EAST: ("KRAKEN",), WEST: ("DERIBIT",)}
    simulator = Simulator(sites={EAST: 0.0, WEST: 0.0}, exchanges=served, pace=NEVER)
    async with simulator, aiohttp.ClientSession() as session:
        call = Caller(simulator, session)
        assert (await call("POST", "/v1/orders", new_order(exchange_id="KRAKEN"), site=WEST)).status == 490
        rows = (await call.management("GET", "/v1/endpoints")).json
        pairs = [(row["exchange_id"], row["location_id"]) for row in rows]
        assert pairs == [("KRAKEN", EAST), ("DERIBIT", WEST)]
        assert [row["exchange_id"] for row in (await call("GET", "/v1/balances")).json] == ["KRAKEN"]
