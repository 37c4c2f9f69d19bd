"""Simulators in processes of their own: what they tell, how they are steered, and how they end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.simulator import (
    FaultPlan,
    Injection,
    Pace,
    ProcessEnded,
    ProcessPerSite,
    SimulatorProcess,
    WireFault,
)

from .helpers import BROKEN, EAST, INSTANT, WEST, place

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("loop", ["plain", "uvloop"])
async def test_a_process_serves_and_tells(loop: Any) -> None:
    async with SimulatorProcess(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, seed=7, loop=loop) as sim:
        assert sim.pid not in (None, os.getpid())
        before = time.monotonic()
        assert await place(sim) == 200
        (record,) = sim.requests()
        assert (record.operation, record.client_order_id, record.status) == ("order_new", "order-1", 200)
        assert before <= record.time <= time.monotonic()
        assert (sim.executions("order-1"), sim.executions("other")) == (1, 0)
        sim.inject(Injection(operation="order_new", status=503))
        assert await place(sim, client_order_id="b") == 503
        sim.stop_site(EAST)
        with pytest.raises(BROKEN):
            await place(sim)
        sim.start_site(EAST)
        assert await place(sim, client_order_id="c") == 200
        sim.clear()
        assert sim.requests() == []
        assert sim.environment()["COINAPI_API_KEY"] == sim.api_key
        assert sim.do("exchange_slow", "KRAKEN/JOHN") is None
        assert await place(sim, client_order_id="d") == 504
        assert str(sim.pid) in repr(sim)
    assert not sim.alive
    assert sim.site_urls
    with pytest.raises(ProcessEnded):
        sim.requests()


def test_faults_on_its_wires() -> None:
    plan = FaultPlan(seed=1, rate=0.0)
    with SimulatorProcess(sites={EAST: 0.0}, pace=INSTANT, plan=plan) as sim:
        sim.inject_wire(EAST, WireFault(action="reset", after=3))
        with pytest.raises(BROKEN):
            asyncio.run(place(sim))
        assert [(cut.action, cut.response_bytes) for cut in sim.cuts(EAST)] == [("reset", 3)]
        assert sim.executions("order-1") == 1
        sim.set_delay(EAST, 0.001)


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(ValueError, match="at least one site"):
        SimulatorProcess(sites={}).start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = SimulatorProcess(management_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            process.start()
        assert not process.alive
    with pytest.raises(ProcessEnded, match="not run yet"):
        _ = process.site_urls
    with SimulatorProcess(sites={EAST: 0.0}) as sim:
        with pytest.raises(KeyError, match="nowhere"):
            sim.stop_site("nowhere")
        with pytest.raises(AttributeError):
            sim.do("no_such_thing")
        with pytest.raises(AttributeError, match="not public"):
            sim.do("_world")
        with pytest.raises(RuntimeError, match="another process"):
            sim.do("ssl_context")
        with pytest.raises(RuntimeError, match="proxied"):
            sim.cuts(EAST)
        assert sim.executions("a") == 0
        with pytest.raises(RuntimeError, match="runs already"):
            sim.start()


def test_stopped_by_a_signal_and_going_on() -> None:
    with SimulatorProcess(sites={EAST: 0.0}, pace=INSTANT, patience=0.2) as sim:
        sim.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError, match="does not answer"):
            sim.executions("order-1")
        with socket.create_connection(("127.0.0.1", int(sim.site_urls[EAST].rpartition(":")[2]))):
            assert sim.alive
        sim.signal(signal.SIGCONT)
        assert asyncio.run(place(sim)) == 200
        deadline = time.monotonic() + 10
        while True:
            try:
                assert sim.executions("order-1") == 1
                break
            except TimeoutError:
                assert time.monotonic() < deadline
        sim.signal(signal.SIGSTOP)
        start = time.monotonic()
    assert time.monotonic() - start < 4
    assert not sim.alive


def test_killed() -> None:
    with SimulatorProcess(sites={EAST: 0.0}) as sim:
        sim.signal(signal.SIGKILL)
        assert not sim.alive
        with pytest.raises(ProcessEnded):
            sim.requests()
        with pytest.raises(BROKEN):
            asyncio.run(place(sim))
    with pytest.raises(ProcessEnded):
        sim.signal(signal.SIGTERM)
    with sim:
        assert sim.requests() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
def test_on_cores_of_its_own() -> None:
    core = min(os.sched_getaffinity(0))
    with SimulatorProcess(sites={EAST: 0.0}, cpus=[core]) as sim:
        assert sim.pid is not None
        assert os.sched_getaffinity(sim.pid) == {core}


def test_it_does_not_outlive_who_started_it() -> None:
    program = (
        "import os\n"
        "from coinapi_ems_async.simulator import SimulatorProcess\n"
        "sim = SimulatorProcess(sites={'here': 0.0})\n"
        "sim.start()\n"
        "print(sim.pid, sim.site_urls['here'], flush=True)\n"
        "os._exit(0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    port = int(ran.stdout.split()[1].rpartition(":")[2])
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ran.stderr == ""


async def test_a_process_for_each_site() -> None:
    hosts = {EAST: "127.0.0.11", WEST: "127.0.0.12"}
    async with ProcessPerSite(sites={EAST: 0.0, WEST: 0.0}, pace=Pace(reply=0), hosts=hosts, seed=3) as sim:
        assert [url.split(":")[1] for url in sim.site_urls.values()] == ["//127.0.0.11", "//127.0.0.12"]
        assert len({sim.process(name).pid for name in (EAST, WEST, "management")}) == 3
        async with aiohttp.ClientSession(headers={"X-CoinAPI-Key": sim.api_key}) as session:
            async with session.get(f"{sim.management_url}/v1/endpoints") as answer:
                rows = await answer.json()
        assert {row["location_id"]: row["endpoint_url"].rstrip("/") for row in rows} == sim.site_urls
        for site, name in ((EAST, "order-1"), (WEST, "b"), (WEST, "order-1")):
            assert await place(sim, site, client_order_id=name) == 200
        assert (sim.executions("order-1"), sim.process(WEST).executions("order-1")) == (2, 1)
        found = [(one.site, one.operation) for one in sim.requests()]
        orders = [(EAST, "order_new"), (WEST, "order_new"), (WEST, "order_new")]
        assert found == [("management", "endpoints"), *orders]
        sim.process(EAST).signal(signal.SIGKILL)
        assert not sim.process(EAST).tells
        with pytest.raises(BROKEN):
            await place(sim, EAST)
        assert await place(sim, WEST, client_order_id="c") == 200
        assert sim.executions("order-1") == 1


async def test_sites_in_processes_have_one_authority() -> None:
    import ssl

    sites = {EAST: 0.0, WEST: 0.0}
    async with ProcessPerSite(sites=sites, exchanges={EAST: ["KRAKEN"], WEST: ["DERIBIT"]}, tls=True) as sim:
        context = ssl.create_default_context(cadata=sim.ca_pem.decode())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            for url in (sim.management_url, *sim.site_urls.values()):
                async with session.get(f"{url}/health/live") as answer:
                    assert answer.status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_what_it_knew_outlives_a_kill(tls: bool) -> None:
    with SimulatorProcess(sites={EAST: 0.0}, pace=INSTANT, journal=True, tls=tls, proxied=True) as sim:
        urls, key, authority = sim.site_urls, sim.api_key, sim.ca_pem
        file = Path(sim.environment().get("SSL_CERT_FILE", "/nowhere"))
        assert (file.exists() and file.read_bytes() == authority) is tls
        if not tls:
            assert asyncio.run(place(sim)) == 200
        sim.signal(signal.SIGKILL)
        assert sim.executions("order-1") == (not tls)
        sim.restart()
        assert not file.exists()
        assert (sim.site_urls, sim.api_key, sim.ca_pem) == (urls, key, authority)
        if not tls:
            assert asyncio.run(place(sim)) == 200
            assert sim.do("executions", "order-1") == 1
            assert sim.executions("order-1") == 2
            first, second = sim.requests()
            assert first.time < second.time
            assert (first.site, first.operation, first.client_order_id) == (EAST, "order_new", "order-1")
    with pytest.raises(ProcessEnded):
        sim.requests()


def test_a_site_that_cannot_start_takes_the_others_along() -> None:
    sim = ProcessPerSite(sites={EAST: 0.0, WEST: 0.0}, hosts={WEST: "192.0.2.1"})
    with pytest.raises(OSError, match="192"):
        sim.start()
    assert not any(sim.process(site).alive for site in (EAST, WEST))
