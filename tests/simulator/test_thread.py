"""A simulator in a thread of its own, steered from this one."""

import asyncio
import socket
import threading
import time
from decimal import Decimal

import pytest

from coinapi_ems_async.models.enums import Side
from coinapi_ems_async.simulator import Injection, SimulatorThread, SiteFault, WireFault

from .helpers import ACCOUNT, BROKEN, EAST, INSTANT, SYMBOL, WEST, place

D = Decimal


def threads() -> set[str]:
    return {one.name for one in threading.enumerate()}


async def test_it_serves_and_tells() -> None:
    async with SimulatorThread(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, seed=7) as sim:
        assert "running" in repr(sim)
        assert await place(sim) == 200
        (record,) = sim.requests()
        assert (record.operation, record.client_order_id, record.status) == ("order_new", "order-1", 200)
        assert record.time <= time.monotonic()
        assert (sim.executions("order-1"), sim.executions("other")) == (1, 0)
        injection = Injection(operation="order_new", status=503)
        sim.inject(injection)
        assert await place(sim, client_order_id="b") == 503
        assert injection.times == 0
        sim.inject(Injection(operation="order_new", status=503))
        sim.clear_injections()
        assert await place(sim, client_order_id="b") == 200
        sim.clear()
        assert sim.requests() == []
        assert sim.environment()["COINAPI_API_KEY"] == sim.api_key
        assert sim.ssl_context() is None
        assert "coinapi-ems: simulator" in threads()
    assert "coinapi-ems: simulator" not in threads()
    assert "stopped" in repr(sim)
    with pytest.raises(RuntimeError, match="does not run"):
        sim.requests()
    sim.stop()


async def test_its_sites_and_wires_are_struck() -> None:
    async with SimulatorThread(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, proxied=True, tls=True) as sim:
        context = sim.ssl_context()
        assert context is not None
        where = "127.0.0.1", int(sim.site_urls[EAST].rpartition(":")[2])

        async def try_to_connect() -> None:
            async with asyncio.timeout(0.5):
                _, writer = await asyncio.open_connection(*where, ssl=context)
            writer.close()
            await writer.wait_closed()

        sim.inject_wire(EAST, WireFault(action="reset", direction="connect"))
        with pytest.raises(ConnectionError):
            await try_to_connect()
        assert [cut.action for cut in sim.cuts(EAST)] == ["reset"]
        assert sim.strike_wire(EAST, WireFault(action="freeze")) == 0
        sim.thaw(EAST)
        sim.stop_site(EAST)
        with pytest.raises(ConnectionRefusedError):
            await try_to_connect()
        with pytest.raises(OSError, match="in use"):
            socket.create_server(where)
        sim.stop_site(EAST, keep_port=False)
        socket.create_server(where).close()
        sim.blackhole_site(EAST)
        with pytest.raises(TimeoutError):
            await try_to_connect()
        sim.start_site(EAST)
        sim.set_certificate(EAST, "untrusted")
        with pytest.raises(OSError, match="certificate verify failed"):
            await try_to_connect()
        sim.strike(EAST, SiteFault("valid"))
        await try_to_connect()


async def test_its_exchanges_are_seen_and_steered() -> None:
    async with SimulatorThread(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.exchange_down(ACCOUNT)
        assert await place(sim) == 490
        sim.exchange_up(ACCOUNT)
        sim.exchange_slow(ACCOUNT)
        assert await place(sim) == 504
        sim.exchange_slow(ACCOUNT, False)
        sim.refuse_callers(403)
        assert await place(sim) == 403
        sim.refuse_callers(None)
        sim.vary(duplicates="reject")
        assert await place(sim) == 400
        (order,) = sim.orders()
        assert sim.trade(ACCOUNT, SYMBOL, Side.SELL, D("0.02"), D(10000)) == D("0.02")
        assert (order.filled, sim.orders()[0].filled) == (D(0), D("0.02"))  # what was told stays as it was
        before = sim.balance(ACCOUNT, "BTC")
        sim.fund(ACCOUNT, "BTC", 1)
        assert sim.balance(ACCOUNT, "BTC").available == before.available + 1
        assert sim.book(ACCOUNT, SYMBOL).bids[0].price == D("10799.2")
        assert sim.positions("DERIBIT") == ()
        sim.exchange_stubborn(ACCOUNT)
        name = sim.discover(ACCOUNT, SYMBOL, Side.BUY, 1, 9000)
        assert [one.client_order_id for one in sim.orders()] == ["order-1", name]
        sim.set_delay(EAST, 0.001)
        sim.inject(Injection(operation="order_new", hang=True, status=418))
        waiting = asyncio.create_task(place(sim, client_order_id="b"))
        while len(sim.requests()) < 5:
            await asyncio.sleep(0.001)
        sim.release()
        assert await waiting == 418


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(ValueError, match="at least one site"):
        SimulatorThread(sites={}).start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use"):
            SimulatorThread(management_port=taken.getsockname()[1]).start()
    with pytest.raises(RuntimeError, match="not run yet"):
        _ = SimulatorThread().site_urls
    with SimulatorThread(sites={EAST: 0.0}) as sim:
        with pytest.raises(KeyError, match="nowhere"):
            sim.stop_site("nowhere")
        with pytest.raises(AttributeError, match="not public"):
            sim.do("_world")
        with pytest.raises(RuntimeError, match="proxied"):
            sim.cuts(EAST)
        with pytest.raises(RuntimeError, match="runs already"):
            sim.start()
    assert "coinapi-ems: simulator" not in threads()


def test_a_call_waits_only_so_long() -> None:
    with SimulatorThread(sites={EAST: 0.0}, pace=INSTANT, patience=0.03) as sim:
        with pytest.raises(TimeoutError, match="does not answer within"):
            sim.blackhole_site(EAST)  # takes longer: it waits until a connection hangs
        with pytest.raises(BROKEN):
            asyncio.run(place(sim))
    with pytest.raises(RuntimeError, match="does not run"):
        sim.start_site(EAST)


def test_what_was_told_stays_as_it_was() -> None:
    with SimulatorThread(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="order_new", hang=True, status=418))

        async def main() -> None:
            waiting = asyncio.create_task(place(sim))
            while not (told := sim.requests()):
                await asyncio.sleep(0.001)
            sim.release()
            assert await waiting == 418
            assert [one.status for one in (*told, *sim.requests())] == [None, 418]

        asyncio.run(main())


def test_it_may_be_asked_from_many_threads() -> None:
    with SimulatorThread(sites={EAST: 0.0}, pace=INSTANT) as sim:
        asyncio.run(place(sim))
        found: list[int] = []
        asking = [
            threading.Thread(target=lambda: found.extend(sim.executions("order-1") for _ in range(50)))
            for _ in range(4)
        ]
        for one in asking:
            one.start()
        for one in asking:
            one.join(10)
    assert found == [1] * 200


def test_it_starts_again() -> None:
    sim = SimulatorThread(sites={EAST: 0.0}, pace=INSTANT)
    for _ in range(2):
        with sim:
            assert asyncio.run(place(sim)) == 200
        with pytest.raises(BROKEN):
            asyncio.run(place(sim))
