"""Who may call: key in header or query, client certificate, bearer token, and nobody."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import aiohttp
import pytest

from coinapi_ems_async.simulator import Simulator

from .helpers import EAST, INSTANT, Caller, new_order

DENIED = {"error": "Invalid API key"}


@pytest.mark.parametrize("site", [EAST, "management"])
async def test_the_key(sim: Simulator, call: Caller, site: str) -> None:
    path = "/v1/locations" if site == "management" else "/v1/balances"
    for headers in ({}, {"X-CoinAPI-Key": "wrong"}, {"X-CoinAPI-Key": ""}, {"Authorization": sim.api_key}):
        reply = await call("GET", path, site=site, headers=headers)
        assert (reply.status, reply.json) == (401, DENIED)
    assert (await call("GET", path, site=site)).status == 200
    assert (await call("GET", f"{path}?apikey={sim.api_key}", site=site, headers={})).status == 200
    assert (await call("GET", f"{path}?apikey=wrong", site=site, headers={})).status == 401


async def test_an_order_without_the_key_is_not_executed(sim: Simulator, call: Caller) -> None:
    assert (await call("POST", "/v1/orders", new_order(), headers={})).status == 401
    assert sim.executions("order-1") == 0


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
async def test_probes_need_no_key(call: Caller, path: str) -> None:
    assert (await call("GET", path, headers={})).status in (200, 404)


@pytest.mark.parametrize("status", [401, 403])
async def test_nobody_may_pass(sim: Simulator, call: Caller, status: Literal[401, 403]) -> None:
    sim.auth_fail = status
    assert sim.auth_fail == status
    for site, path in ((EAST, "/v1/orders"), ("management", "/v1/endpoints")):
        reply = await call("GET", path, site=site)
        assert reply.status == status
        assert "error" in reply.json
    if status == 403:
        assert reply.json["detail"].startswith("Quota exceeded")
        assert reply.json["QuotaKey"] == "BA"
    sim.auth_fail = None
    assert (await call("GET", "/v1/orders")).status == 200


async def test_a_bearer_token_besides_the_key() -> None:
    simulator = Simulator(sites={EAST: 0.0}, require_bearer="token-1")
    async with simulator, aiohttp.ClientSession() as session:
        call = Caller(simulator, session)
        key = {"X-CoinAPI-Key": simulator.api_key}
        for token, status in ((None, 401), ("Bearer token-2", 401), ("Bearer token-1", 200)):
            headers = key if token is None else key | {"Authorization": token}
            assert (await call("GET", "/v1/orders", headers=headers)).status == status
        assert (await call("GET", "/v1/orders", headers={"Authorization": "Bearer token-1"})).status == 401


@pytest.fixture
async def secure() -> AsyncIterator[Simulator]:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as simulator:
        yield simulator


def client(context: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def test_a_client_certificate_stands_in_for_the_key(secure: Simulator, tmp_path: Path) -> None:
    async with client(secure.ssl_context()) as session:
        call = Caller(secure, session)
        assert (await call("GET", "/v1/orders", headers={})).status == 401
        assert (await call("GET", "/v1/orders")).status == 200
        pem = (await call.management("GET", "/v1/certificate/pem")).body
    file = tmp_path / "client.pem"
    file.write_bytes(pem)
    context = secure.ssl_context()
    context.load_cert_chain(file)
    async with client(context) as session:
        call = Caller(secure, session)
        assert (await call("GET", "/v1/orders", headers={})).status == 200
        assert (await call("GET", "/v1/locations", site="management", headers={})).status == 401


async def test_strangers_do_not_trust_it(secure: Simulator) -> None:
    async with client(ssl.create_default_context()) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await Caller(secure, session)("GET", "/")


async def test_the_authoritys_file(secure: Simulator) -> None:
    file = secure.ca_file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == secure.ca_pem
    assert secure.environment()["SSL_CERT_FILE"] == str(file)
    assert secure.management_url.startswith("https://127.0.0.1:")
    async with client(ssl.create_default_context(cafile=file)) as session:
        rows = (await Caller(secure, session).management("GET", "/v1/endpoints")).json
    assert rows[0]["endpoint_schema"] == "https"
    await secure.stop()
    assert not file.exists()
    with pytest.raises(RuntimeError):
        _ = secure.ca_file


async def test_who_never_asks_for_the_file_leaves_none_behind(
    secure: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However it ends: many processes are killed, and were never asked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with client(secure.ssl_context()) as session:
        assert (await Caller(secure, session).management("GET", "/v1/endpoints")).status == 200
    assert os.listdir(tmp_path) == []
    file = secure.ca_file
    assert secure.ca_file == file
    assert os.listdir(tmp_path) == [file.name]


async def test_nor_does_a_stop_that_is_cancelled(secure: Simulator) -> None:
    file = secure.ca_file
    stopping = asyncio.create_task(secure.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    assert not file.exists()


@pytest.mark.parametrize(
    ("sent", "start"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 404"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
    ],
)
async def test_good_byes_over_tls(secure: Simulator, sent: bytes, start: bytes) -> None:
    port = int(secure.site_urls[EAST].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=secure.ssl_context())
    writer.write(sent)
    assert (await reader.read()).startswith(start)
    writer.close()
    await writer.wait_closed()


async def test_plain_http_on_a_tls_port(secure: Simulator) -> None:
    port = int(secure.site_urls[EAST].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in await reader.read()
    writer.close()
    await writer.wait_closed()
    assert not secure.requests
