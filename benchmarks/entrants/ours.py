"""Our client over each of its transports: `place` of an order made beforehand, and with the order made as well."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.errors import ConfigurationError

from .. import peers
from ..canned import new_order
from ..measure import Call
from ..peers import Skipped
from .base import Entrant, Target

TRANSPORTS: Final = ("http1", "http2", "aiohttp")
_POOL: Final = Settings().pool_size
_SELDOM: Final = 60.0
_NEEDS: Final = {"http1": (), "http2": ("h2.connection",), "aiohttp": ("aiohttp",)}


def place_row(transport: str) -> str:
    """Return the row of `place` with an order made beforehand."""
    return f"place, {transport}"


def whole_row(transport: str) -> str:
    """Return the row of `place` with the order made within the call."""
    return f"NewOrder + place, {transport}"


ASLEEP: Final = "place, http1, busy_poll=0"
SHARED_POOL: Final = f"place, http1, pool of {_POOL}"


def client(target: Target, transport: Any, settings: Settings) -> EMSClient:
    """Return a client of the target. Raises Skipped: if it cannot have such a transport here."""
    if transport == "http2":
        peers.load("h2")
    url = target.h2_url if transport == "http2" else target.url
    try:
        return EMSClient.self_hosted(url, transport=transport, settings=settings, ssl_context=target.tls())
    except ConfigurationError as error:
        raise Skipped(str(error)) from None


def _settings(connections: int, count: int) -> Settings:
    """The default ones, with connections enough; probes as usual where single requests are timed."""
    if count == 1:
        return Settings()
    return Settings(pool_size=max(_POOL, connections), probe_interval=_SELDOM)


@asynccontextmanager
async def _open(transport: str, target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    async with client(target, transport, _settings(count, count)) as ems:
        order, orders = new_order(), ems.orders

        async def place() -> object:
            return await orders.place(order, allow_duplicate_id=True)

        async def whole() -> object:
            return await orders.place(new_order(), allow_duplicate_id=True)

        yield {place_row(transport): place, whole_row(transport): whole}


@asynccontextmanager
async def _shared(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    """However many are in flight, they share the pool that the settings have by default."""
    async with client(target, "http1", _settings(_POOL, count)) as ems:
        order, orders = new_order(), ems.orders

        async def place() -> object:
            return await orders.place(order, allow_duplicate_id=True)

        yield {SHARED_POOL: place}


@asynccontextmanager
async def _asleep(target: Target, count: int) -> AsyncIterator[Mapping[str, Call]]:
    """With an event loop that goes to sleep while an order is under way, as everybody else's does."""
    async with client(target, "http1", Settings(busy_poll=0.0)) as ems:
        order, orders = new_order(), ems.orders

        async def place() -> object:
            return await orders.place(order, allow_duplicate_id=True)

        yield {ASLEEP: place}


ENTRANTS: Final = (
    *(
        Entrant(
            f"ours-{transport}",
            (place_row(transport), whole_row(transport)),
            partial(_open, transport),
            _NEEDS[transport],
            ours=True,
            tls=True,
            connected=transport != "http2",
        )
        for transport in TRANSPORTS
    ),
    Entrant("ours-asleep", (ASLEEP,), _asleep, ours=True, tls=True, widest=1),
    Entrant("ours-pool", (SHARED_POOL,), _shared, ours=True, connected=False, alone=False),
)
