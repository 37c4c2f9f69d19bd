"""Plain HTTP clients, each as a bot would use it: a dict encoded by msgspec, a POST, a decode without checks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from .. import peers
from ..canned import JSON_HEADERS, PATH, decode, order_body, order_fields
from ..measure import Call
from .base import Entrant, Target

AIOHTTP: Final = "aiohttp + msgspec"
PYREQWEST: Final = "pyreqwest + msgspec"
HTTPX: Final = "httpx + msgspec"
NIQUESTS: Final = "niquests + msgspec"
CCXT: Final = "ccxt request"

_PATIENCE: Final = 60.0


@asynccontextmanager
async def _aiohttp(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    aiohttp = peers.load("aiohttp")
    connector = aiohttp.TCPConnector(limit=max(100, count), ssl=target.tls() or True)
    url = target.url + PATH
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call() -> object:
            async with session.post(url, data=order_body(), headers=JSON_HEADERS) as response:
                return decode(await response.read())

        yield {AIOHTTP: call}


@asynccontextmanager
async def _pyreqwest(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    builder = peers.load("pyreqwest.client").ClientBuilder().no_proxy().timeout(timedelta(seconds=_PATIENCE))
    builder = builder.pool_max_idle_per_host(count)
    if target.authority is not None:
        builder = builder.add_root_certificate_pem(target.authority)
    url = target.url + PATH
    async with builder.build() as client:

        async def call() -> object:
            request = client.post(url).headers(JSON_HEADERS).body_bytes(order_body()).build()
            response = await request.send()
            return decode(await response.bytes())

        yield {PYREQWEST: call}


@asynccontextmanager
async def _httpx(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    httpx = peers.load("httpx")
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count, keepalive_expiry=_PATIENCE)
    url = target.url + PATH
    async with httpx.AsyncClient(
        limits=limits, timeout=_PATIENCE, verify=target.tls() or True, trust_env=False
    ) as client:

        async def call() -> object:
            return decode((await client.post(url, content=order_body(), headers=JSON_HEADERS)).content)

        yield {HTTPX: call}


@asynccontextmanager
async def _niquests(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    niquests = peers.load("niquests")
    url = target.url + PATH
    async with niquests.AsyncSession(
        disable_http2=True, disable_http3=True, pool_maxsize=count, timeout=_PATIENCE
    ) as session:
        session.trust_env = False

        async def call() -> object:
            return decode((await session.post(url, data=order_body(), headers=JSON_HEADERS)).content)

        yield {NIQUESTS: call}


@asynccontextmanager
async def _ccxt(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    """What `create_order` of an exchange does after its own checks: sign, fetch, parse; no rate limit."""
    aiohttp, base = peers.load("aiohttp"), peers.load("ccxt.async_support").Exchange

    class Canned(base):  # type: ignore[misc, valid-type]  # a class known only at run time
        def sign(self, path: str, api: object, method: str, params: dict[str, Any], *_rest: object) -> Any:
            body = json.dumps(params)
            return {"url": target.url + path, "method": method, "body": body, "headers": dict(JSON_HEADERS)}

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max(100, count))) as session:
        exchange = Canned({"session": session, "enableRateLimit": False, "timeout": int(_PATIENCE * 1000)})
        exchange.asyncio_loop = asyncio.get_running_loop()

        async def call() -> object:
            return await exchange.request(PATH, "private", "POST", order_fields())

        try:
            yield {CCXT: call}
        finally:
            await exchange.close()


ENTRANTS: Final = (
    Entrant("aiohttp", (AIOHTTP,), _aiohttp, ("aiohttp",), tls=True),
    Entrant("pyreqwest", (PYREQWEST,), _pyreqwest, ("pyreqwest.client",), tls=True),
    Entrant("ccxt", (CCXT,), _ccxt, ("aiohttp", "ccxt.async_support")),
    Entrant("niquests", (NIQUESTS,), _niquests, ("niquests",)),
    # With 256 in flight it makes 20 requests a second: each step of its pool goes through all that wait.
    Entrant("httpx", (HTTPX,), _httpx, ("httpx",), widest=64),
)
