"""Start, stop, records, logs; on both event loops."""

import asyncio
import contextlib
import gc
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import uvloop

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from .helpers import ACCOUNT, EAST, INSTANT, SYMBOL, Caller, new_order


async def test_records(sim: Simulator, call: Caller) -> None:
    before = time.monotonic()
    await call.place(client_order_id="a/1")
    await call("POST", "/v1/orders/cancel", {"exchange_id": ACCOUNT, "client_order_id": "a/1"})
    await call("GET", "/v1/orders/status/a%2F1")
    await call("GET", f"/v1/balances?apikey={sim.api_key}&exchange_id=KRAKEN", headers={})
    await call("GET", f"/v1/balances?%61pikey={sim.api_key}", headers={})
    await call("GET", "/nowhere")
    await call.management("GET", "/v1/locations")
    found = [(one.operation, one.client_order_id, one.method, one.status) for one in sim.requests]
    assert found == [
        ("order_new", "a/1", "POST", 200),
        ("order_cancel", "a/1", "POST", 200),
        ("order_status", "a/1", "GET", 200),
        ("balances", None, "GET", 200),
        ("balances", None, "GET", 200),
        ("unknown", None, "GET", 404),
        ("locations", None, "GET", 200),
    ]
    assert sim.requests[3].path == "/v1/balances?apikey=<hidden>&exchange_id=KRAKEN"
    assert [one.site for one in sim.requests[-2:]] == [EAST, "management"]
    assert before <= sim.requests[0].time <= sim.requests[-1].time <= time.monotonic()
    assert sim.requests[0].connection != sim.requests[-1].connection
    assert sim.api_key not in repr(sim.requests) + repr(sim) + repr(sim.orders)
    sim.clear()
    assert not sim.requests


async def test_records_are_bounded() -> None:
    simulator = Simulator(sites={EAST: 0.0}, record_limit=20)
    async with simulator, aiohttp.ClientSession() as session:
        call = Caller(simulator, session)
        for _ in range(60):
            await call("GET", "/")
        assert 20 <= len(simulator.requests) <= 36


async def test_logs_name_the_order_and_hide_the_key(
    sim: Simulator, call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "coinapi_ems_async.simulator"):
        await call.place()
        await call("GET", f"/v1/orders?apikey={sim.api_key}", headers={})
    assert f"{EAST} order_new order-1 200" in caplog.messages
    assert sim.api_key not in caplog.text


async def test_start_and_stop() -> None:
    simulator = Simulator(sites={EAST: 0.0})
    await simulator.stop()
    with pytest.raises(RuntimeError):
        await simulator.start_site(EAST)
    async with simulator:
        assert repr(simulator) == f"<Simulator running, sites: {EAST}>"
        url = simulator.site_urls
        with pytest.raises(RuntimeError):
            await simulator.start()
    await simulator.stop()
    async with simulator:
        assert simulator.site_urls == url


async def test_fixed_ports_and_a_taken_one(sim: Simulator) -> None:
    port = int(sim.management_url.rpartition(":")[2])
    other = Simulator(sites={EAST: 0.0}, management_port=port)
    with pytest.raises(OSError, match="in use"):
        await other.start()
    assert repr(other).startswith("<Simulator stopped")
    await sim.stop()
    ports = {site: int(url.rpartition(":")[2]) for site, url in sim.site_urls.items()}
    async with Simulator(sites=dict.fromkeys(ports, 0.0), ports=ports, management_port=port) as again:
        assert (again.site_urls, again.management_url) == (sim.site_urls, sim.management_url)
    async with Simulator(sites=dict.fromkeys(ports, 0.0), ports=list(ports.values())) as again:
        assert again.site_urls == sim.site_urls


def test_bad_plans() -> None:
    with pytest.raises(ValueError, match="site"):
        Simulator(sites={})
    with pytest.raises(ValueError, match="management"):
        Simulator(sites={"management": 0.0})
    with pytest.raises(ValueError, match="NOSUCH"):
        Simulator(exchanges=["NOSUCH/JOHN"])
    with pytest.raises(ValueError, match="elsewhere"):
        Simulator(exchanges={"elsewhere": ["KRAKEN"]})


def test_environment_and_defaults() -> None:
    simulator = Simulator(api_key="sentinel-key")
    assert simulator.environment() == {
        "COINAPI_API_KEY": "sentinel-key",
        "COINAPI_EMS_MANAGEMENT_URL": simulator.management_url,
    }
    assert len(simulator.site_urls) == 3
    assert Simulator().api_key != Simulator().api_key


def test_a_seed_repeats_the_ids() -> None:
    async def ids() -> list[Any]:
        simulator = Simulator(sites={EAST: 0.0}, seed=5, pace=Pace(reply=0.0))
        async with simulator, aiohttp.ClientSession() as session:
            call = Caller(simulator, session)
            return [(await call.place(client_order_id=name))["exchange_order_id"] for name in "ab"]

    assert asyncio.run(ids()) == asyncio.run(ids())


async def test_controls(sim: Simulator, call: Caller) -> None:
    before = sim.balance(ACCOUNT, "USDT").available
    sim.fund(ACCOUNT, "USDT", "-99999000.5")
    assert sim.balance(ACCOUNT, "USDT").available == before - Decimal("99999000.5")
    assert (await call.place(amount_order=1))["error_message"] == "EOrder:Insufficient funds"
    await call.place(client_order_id="small")
    assert sim.trade(ACCOUNT, SYMBOL, Side.SELL, "0.04", "10799.2") == Decimal("0.04")
    assert (await call.status("small"))["status"] == "PARTIALLY_FILLED"
    assert [order.client_order_id for order in sim.orders] == ["order-1", "small"]


def test_captured_pace() -> None:
    assert 0.1 < Pace.captured().reply < 0.3
    assert Pace.captured().timeout > Pace().timeout


Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_left_behind(run: Runner, tls: bool) -> None:
    async def scene() -> None:
        simulator = Simulator(sites={EAST: 0.001}, pace=INSTANT, tls=tls)
        async with simulator:
            context = simulator.ssl_context() if tls else True
            connector = aiohttp.TCPConnector(ssl=context)
            async with aiohttp.ClientSession(connector=connector) as session:
                call = Caller(simulator, session)
                await call.place()
                orders = [new_order(client_order_id=str(one)) for one in range(50)]
                sent = [call("POST", "/v1/orders", order) for order in orders]
                assert {reply.status for reply in await asyncio.gather(*sent)} == {200}
                await simulator.stop()
                assert len(asyncio.all_tasks()) == 1
                await asyncio.sleep(0.01)

    run(scene())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("tls", [False, True])
def test_stopping_while_a_peer_connects(run: Runner, turns: int, tls: bool) -> None:
    async def scene() -> None:
        simulator = Simulator(sites={EAST: 0.0}, tls=tls)
        await simulator.start()
        host, _, port = simulator.site_urls[EAST].rpartition("//")[2].partition(":")
        with socket.create_connection((host, int(port))) as peer:
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(simulator.stop(), 5)
            await asyncio.sleep(0.01)
            peer.setblocking(False)
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""

    run(scene())
    gc.collect()


async def test_wrong_names_and_delays_are_told(sim: Simulator) -> None:
    for call in (
        lambda: sim.exchange_down("NOWHERE"),
        lambda: sim.exchange_slow("NOWHERE"),
        lambda: sim.inject(Injection(site="nowhere", status=500)),
        lambda: sim.set_delay("nowhere", 0.1),
    ):
        with pytest.raises(KeyError):
            call()
    for wrong in (-1, float("nan"), "0.1", True):
        with pytest.raises(ValueError, match="delay"):
            sim.set_delay(EAST, wrong)  # type: ignore[arg-type]  # what is tested
        with pytest.raises(ValueError, match="delay"):
            Simulator(sites={"a": wrong})  # type: ignore[dict-item]  # what is tested
    with pytest.raises(TypeError, match="Injection"):
        sim.inject("order_new")  # type: ignore[arg-type]  # what is tested
