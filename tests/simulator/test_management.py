"""Every operation of the Managed Cloud REST API, over real sockets."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async import EMSClient
from coinapi_ems_async.simulator import Simulator, Variants

from .helpers import EAST, INSTANT, WEST, Caller, new_order


def account(exchange_id: object, *names: str, value: object = "x") -> dict[str, Any]:
    return {"exchange_id": exchange_id, "parameters": [{"key": name, "value": value} for name in names]}


LOGIN = ("PrivateApiKey", "PublicApiKey")


async def test_locations(call: Caller) -> None:
    assert (await call.management("GET", "/v1/locations")).json == [
        {"location_id": EAST, "region_name": "us-east-1", "provider_name": "AWS"},
        {"location_id": WEST, "region_name": "eu-west-1", "provider_name": "AWS"},
    ]


async def test_exchanges(call: Caller) -> None:
    rows = {row["exchange_id"]: row for row in (await call.management("GET", "/v1/exchanges")).json}
    assert len(rows) == 26
    assert rows["KRAKEN"]["required_parameters"] == ["PrivateApiKey", "PublicApiKey"]
    assert rows["COINBASE"]["required_parameters"] == ["PassPhrase", "PrivateApiKey", "PublicApiKey"]
    assert rows["DERIBIT"]["required_parameters"] == ["ClientId", "ClientSecret"]
    assert {row["location_id"] for row in rows.values()} == {EAST, WEST}


async def test_endpoints(sim: Simulator, call: Caller) -> None:
    rows = (await call.management("GET", "/v1/endpoints?filter_exchange_id=KRAKEN/JOHN")).json
    assert [row["location_id"] for row in rows] == [EAST, WEST]
    assert rows[0] == {
        "exchange_id": "KRAKEN/JOHN",
        "location_id": EAST,
        "endpoint_schema": "http",
        "endpoint_host": sim.site_urls[EAST].removeprefix("http://"),
        "endpoint_url": sim.site_urls[EAST] + "/",
    }
    assert len((await call.management("GET", "/v1/endpoints")).json) == 8


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("?filter_exchange_id=KRAKEN", 1),
        ("?filter_exchange_id=KRAKEN&filter_exchange_id=DERIBIT", 2),
        ("?filter_exchange_id=KRAKEN,DERIBIT,NONE", 2),
        ("?filter_exchange_id=KRAKEN%2FJOHN", 1),
        ("?filter_exchange_id=kraken", 0),
    ],
)
async def test_filters_are_exact(call: Caller, query: str, count: int) -> None:
    assert len((await call.management("GET", "/v1/accounts" + query)).json) == count


async def test_a_new_account_can_trade(call: Caller) -> None:
    order = new_order(exchange_id="BITSTAMP/7", symbol_id_coinapi="BITSTAMP_SPOT_BTC_USDT")
    assert (await call("POST", "/v1/orders", order)).status == 490
    body = account("BITSTAMP/7", *LOGIN, "CustomerId")
    reply = await call.management("POST", "/v1/accounts", body)
    assert (reply.status, reply.body) == (200, b"")
    (row,) = (await call.management("GET", "/v1/accounts?filter_exchange_id=BITSTAMP/7")).json
    assert row == body
    endpoints = (await call.management("GET", "/v1/endpoints?filter_exchange_id=BITSTAMP/7")).json
    assert [one["location_id"] for one in endpoints] == [EAST, WEST]
    assert (await call("POST", "/v1/orders", order)).status == 200
    changed = account("BITSTAMP/7", *LOGIN, "CustomerId", "More", value="y")
    assert (await call.management("POST", "/v1/accounts", changed)).status == 200
    (row,) = (await call.management("GET", "/v1/accounts?filter_exchange_id=BITSTAMP/7")).json
    assert row == changed


@pytest.mark.parametrize(
    ("body", "later"),
    [
        (account("NOSUCH", *LOGIN), False),
        (account("kraken", *LOGIN), False),
        (account("KRAKEN JOHN", *LOGIN), False),
        (account("KRAKEN/", *LOGIN), False),
        (account("KRAKEN", "PublicApiKey"), True),
        (account("KRAKEN", *LOGIN, value=""), True),
        (account("KRAKEN", *LOGIN, value=5), True),
        (account(None, *LOGIN), True),
        ({"exchange_id": "KRAKEN"}, True),
        ({"exchange_id": "KRAKEN", "parameters": ["x"]}, True),
        (b"nonsense", True),
    ],
)
async def test_bad_accounts(sim: Simulator, call: Caller, body: object, later: bool) -> None:
    before = (await call.management("GET", "/v1/accounts")).json
    assert (await call.management("POST", "/v1/accounts", body)).status == 400
    sim.variants = Variants(account_validation=405)
    reply = await call.management("POST", "/v1/accounts", body)
    assert reply.status == (405 if later else 400)
    assert (await call.management("GET", "/v1/accounts")).json == before


async def test_deleting(call: Caller) -> None:
    await call.place()
    gone = "/v1/accounts?exchange_id=KRAKEN/JOHN,NONE&exchange_id=DERIBIT"
    assert (await call.management("DELETE", gone)).status == 200
    assert (await call.management("DELETE", gone)).status == 404
    assert (await call.management("DELETE", "/v1/accounts")).status == 400
    assert (await call("POST", "/v1/orders", new_order())).status == 490
    assert (await call.status("order-1"))["status"] == "NEW"
    assert (await call.management("DELETE", "/v1/accounts/all")).status == 200
    assert (await call.management("GET", "/v1/endpoints")).json == []
    assert (await call("GET", "/v1/balances")).json == []


async def test_certificates_are_new_each_time(call: Caller, tmp_path: Path) -> None:
    first, second = [await call.management("GET", "/v1/certificate/pem") for _ in range(2)]
    assert first.media.startswith("text/plain")
    assert first.body != second.body
    order = [line for line in first.body.decode().splitlines() if line.startswith("-----BEGIN")]
    assert order == [f"-----BEGIN {name}-----" for name in ("PUBLIC KEY", "PRIVATE KEY", "CERTIFICATE")]
    file = tmp_path / "client.pem"
    file.write_bytes(first.body)
    ssl.create_default_context().load_cert_chain(file)


async def test_framework_faults(call: Caller) -> None:
    for path in ("/", "/v1/orders", "/v1/balances"):
        assert (await call.management("GET", path)).status == 404
    assert (await call.management("POST", "/v1/locations", {})).status == 405
    assert (await call.management("GET", "/health/ready")).body == b"Healthy"


async def test_so_many_requests_at_once_and_no_more() -> None:
    async with (
        Simulator(sites={EAST: 0.0}, pace=INSTANT, management_limit=2) as sim,
        aiohttp.ClientSession() as session,
    ):
        call = Caller(sim, session)
        sim.set_delay("management", 0.3)
        asked = [call.management("GET", "/v1/locations") for _ in range(4)]
        replies = await asyncio.gather(*asked)
        assert sorted(reply.status for reply in replies) == [200, 200, 429, 429]
        refused = next(reply for reply in replies if reply.status == 429)
        assert (refused.headers["Retry-After"], refused.body) == ("1", b"")
        assert (await call.management("GET", "/v1/locations")).status == 200
        sim.set_delay(EAST, 0.1)
        replies = await asyncio.gather(*(call("GET", "/v1/orders") for _ in range(4)))
        assert {reply.status for reply in replies} == {200}


async def test_a_client_asks_one_thing_at_a_time() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, management_limit=1) as sim:
        sim.set_delay("management", 0.01)
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            assert [site.id for site in ems.sites] == [EAST]
        assert {one.status for one in sim.requests if one.site == "management"} == {200}
