"""Whole sites that refuse, swallow, or show a certificate they should not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.simulator import Simulator, SiteFault, WireFault

from .helpers import ACCOUNT, EAST, INSTANT, WEST, Caller


def address(sim: Simulator, site: str = EAST) -> tuple[str, int]:
    return "127.0.0.1", int(sim.site_urls[site].rpartition(":")[2])


async def try_to_connect(sim: Simulator, site: str = EAST, **tls: Any) -> None:
    async with asyncio.timeout(0.3):
        _, writer = await asyncio.open_connection(*address(sim, site), **tls)
    writer.close()
    await writer.wait_closed()


@pytest.mark.every_loop
@pytest.mark.parametrize("proxied", [False, True])
async def test_connections_hang_before_a_blackhole_until_the_site_is_back(proxied: bool) -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, proxied=proxied) as sim:
        where = address(sim)
        async with aiohttp.ClientSession() as session:
            call = Caller(sim, session)
            await call.place()
            await sim.blackhole_site(EAST)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await try_to_connect(sim)
            await try_to_connect(sim, WEST)
            assert address(sim) == where
            await sim.start_site(EAST)
            assert (await call.status("order-1"))["exchange_id"] == ACCOUNT
            await sim.blackhole_site(EAST)
            await sim.blackhole_site(EAST)
            await sim.stop_site(EAST)
            with pytest.raises(ConnectionRefusedError):
                await try_to_connect(sim)
            await sim.blackhole_site(EAST)
    with pytest.raises(ConnectionRefusedError):
        await try_to_connect(sim)


@pytest.mark.every_loop
@pytest.mark.parametrize("proxied", [False, True])
async def test_nobody_else_can_have_the_port_of_a_site_that_is_down(proxied: bool) -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, proxied=proxied) as sim:
        where = address(sim)
        await try_to_connect(sim)  # a connection that lingers
        for _ in range(2):
            await sim.stop_site(EAST)
            await sim.stop_site(EAST)
            with pytest.raises(ConnectionRefusedError):
                await try_to_connect(sim)
            with pytest.raises(OSError, match="in use"):
                socket.create_server(where)
            await sim.start_site(EAST)
            await try_to_connect(sim)
        await sim.stop_site(EAST, keep_port=False)
        socket.create_server(where).close()
        await sim.stop_site(EAST)
    await sim.stop_site(EAST)  # of a simulator that is gone: nothing is kept
    socket.create_server(where).close()


async def test_what_hung_finds_who_listens_then(sim: Simulator) -> None:
    await sim.blackhole_site(EAST)
    hanging = asyncio.create_task(asyncio.open_connection(*address(sim)))
    done, _ = await asyncio.wait([hanging], timeout=0.2)
    assert not done
    await sim.start_site(EAST)
    _, writer = await asyncio.wait_for(hanging, 10)  # the kernel tries again after a second
    writer.close()
    await writer.wait_closed()


async def test_only_a_running_simulator_has_blackholes() -> None:
    sim = Simulator(sites={EAST: 0.0})
    with pytest.raises(RuntimeError, match="does not run"):
        await sim.blackhole_site(EAST)


# Certificates


@pytest.fixture
async def secure() -> AsyncIterator[Simulator]:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, tls=True) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("expired", "certificate has expired"),
        ("wrong_host", "IP address mismatch"),
        ("untrusted", "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted(secure: Simulator, kind: Any, told: str) -> None:
    secure.set_certificate(EAST, kind)
    with pytest.raises(ssl.SSLCertVerificationError, match=told):
        await try_to_connect(secure, ssl=secure.ssl_context())
    await try_to_connect(secure, WEST, ssl=secure.ssl_context())
    await secure.stop_site(EAST)
    await secure.start_site(EAST)
    with pytest.raises(ssl.SSLCertVerificationError, match=told):
        await try_to_connect(secure, ssl=secure.ssl_context())
    secure.set_certificate(EAST, "valid")
    await try_to_connect(secure, ssl=secure.ssl_context())


async def test_a_handshake_that_stalls_or_ends() -> None:
    async with Simulator(sites={EAST: 0.0}, tls=True, proxied=True) as sim:
        sim.wire(EAST).inject(WireFault(action="freeze", direction="connect"))
        with pytest.raises(TimeoutError):
            await try_to_connect(sim, ssl=sim.ssl_context())
        for action in ("fin", "reset"):
            sim.wire(EAST).inject(WireFault(action=action, direction="connect"))
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await try_to_connect(sim, ssl=sim.ssl_context())
        await try_to_connect(sim, ssl=sim.ssl_context())


# As one thing


async def test_a_site_is_struck(secure: Simulator) -> None:
    await secure.strike(EAST, SiteFault("refuse"))
    with pytest.raises(ConnectionRefusedError):
        await try_to_connect(secure)
    await secure.strike(EAST, SiteFault("blackhole"))
    with pytest.raises(TimeoutError):
        await try_to_connect(secure)
    await secure.strike(WEST, SiteFault("expired"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await try_to_connect(secure, WEST, ssl=secure.ssl_context())


async def test_what_makes_no_sense_is_told(sim: Simulator, secure: Simulator) -> None:
    wrong: Any = "burn"
    with pytest.raises(ValueError, match="refuse, blackhole, valid, expired"):
        SiteFault(wrong)
    with pytest.raises(RuntimeError, match="tls=True"):
        sim.set_certificate(EAST, "expired")
    with pytest.raises(ValueError, match="valid, expired, wrong_host, untrusted"):
        secure.set_certificate(EAST, wrong)
    for strike in (SiteFault("refuse"), SiteFault("blackhole"), SiteFault("expired")):
        with pytest.raises(KeyError):
            await secure.strike("nowhere", strike)
