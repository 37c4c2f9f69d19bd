"""A plain HTTP caller, and orders as the wire writes them."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
from yarl import URL

from coinapi_ems_async.simulator import Pace, ProcessPerSite, Simulator, SimulatorProcess, SimulatorThread

EAST, WEST = "aws-us-east-1-prd", "aws-eu-west-1-prd"
ACCOUNT, SYMBOL = "KRAKEN/JOHN", "KRAKEN_SPOT_BTC_USDT"
INSTANT = Pace(reply=0.0, book=0.0, cancel=0.0, replenish=3600.0)
NEVER = Pace(reply=0.0, book=3600.0, cancel=3600.0, replenish=3600.0)

BROKEN = (aiohttp.ClientConnectionError, asyncio.TimeoutError)
"""What a caller meets where nobody answers."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_float=Decimal)

    @property
    def media(self) -> str:
        return self.headers.get("Content-Type", "")


class Caller:
    def __init__(self, sim: Simulator, session: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.session = session

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        site: str = EAST,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """`site` may be "management"; a dict body travels as JSON, bytes as they are."""
        base = self.sim.management_url if site == "management" else self.sim.site_urls[site]
        sent = {"X-CoinAPI-Key": self.sim.api_key} if headers is None else dict(headers)
        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        url = URL(base + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def place(self, site: str = EAST, **fields: Any) -> Any:
        reply = await self("POST", "/v1/orders", new_order(**fields), site=site)
        assert reply.status == 200, reply.body
        return reply.json

    async def status(self, client_order_id: str, site: str = EAST) -> Any:
        reply = await self("GET", f"/v1/orders/status/{client_order_id}", site=site)
        assert reply.status == 200, reply.body
        return reply.json

    async def management(self, method: str, path: str, body: object = None) -> Reply:
        return await self(method, path, body, site="management")


def new_order(**fields: Any) -> dict[str, object]:
    """A valid order that rests: below the best ask; a field given as ... is left out."""
    order: dict[str, object] = {
        "exchange_id": ACCOUNT,
        "client_order_id": "order-1",
        "symbol_id_coinapi": SYMBOL,
        "amount_order": 0.045,
        "price": 10799.2,
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GOOD_TILL_CANCEL",
    }
    return {name: value for name, value in (order | fields).items() if value is not ...}


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition, not for a time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.001)


async def place(sim: SimulatorProcess | ProcessPerSite | SimulatorThread, site: str = EAST, **fields: Any) -> int:
    """Send an order over a connection of its own; returns the status."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(1)) as session:
        url, headers = f"{sim.site_urls[site]}/v1/orders", {"X-CoinAPI-Key": sim.api_key}
        async with session.post(url, json=new_order(**fields), headers=headers) as answer:
            await answer.read()
            return answer.status
