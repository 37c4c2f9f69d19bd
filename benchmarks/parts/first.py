"""The first order after start, and the first one after every connection has reached its idle limit, over TLS.

Our own server says when it accepted the connection that brought an order, which is before the handshake. An order
paid for a handshake if that was after its call began.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from statistics import median
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

from coinapi_ems_async import EMSClient, Settings

from ..canned import new_order
from ..entrants import Target
from ..entrants.ours import client
from ..peers import Skipped
from ..results import FirstOrders
from ..servers import Server
from ..servers.management import LAST_ORDER

__all__ = ["SERVER_IDLE", "measure_first_orders"]

SERVER_IDLE: Final = 2.0
"""Seconds after which the server closes a connection that nobody uses; the client gives them up before."""
_PAUSE: Final = 1.25 * SERVER_IDLE
_SETTINGS: Final = Settings(idle_timeout=0.8 * SERVER_IDLE, probe_interval=60.0)
_USUAL: Final = 100


class First(NamedTuple):
    """A first order: microseconds, and whether it paid for a handshake."""

    took: float
    paid: bool


class Starters:
    """Fresh clients over one transport."""

    def __init__(self) -> None:
        self.clients: list[EMSClient] = []
        self.started: list[First] = []
        self.usual: list[float] = []

    async def start(self, ems: EMSClient, server: Server) -> None:
        """Take a client that has just opened, and let it send its first orders."""
        self.clients.append(ems)
        self.started.append(await _first_order(ems, server))
        self.usual += [await _order(ems) for _ in range(_USUAL)]

    async def wake(self, server: Server) -> FirstOrders:
        """Let each send an order after the pause."""
        rested = [await _first_order(ems, server) for ems in self.clients]
        return FirstOrders(
            usual=median(self.usual),
            after_start=[order.took for order in self.started],
            after_idle=[order.took for order in rested],
            handshakes_after_start=sum(order.paid for order in self.started),
            handshakes_after_idle=sum(order.paid for order in rested),
        )


async def measure_first_orders(
    server: Server, authority: bytes | None, transports: Sequence[str], repeats: int
) -> Mapping[str, FirstOrders]:
    """Return the figures of each transport that can be had; of none if the server does not speak TLS."""
    if server.tls is None:
        return {}
    target = Target(server.tls, server.tls, authority)
    found: dict[str, Starters] = {}
    async with AsyncExitStack() as stack:
        for transport in transports:
            starters = Starters()
            try:
                for _ in range(repeats):
                    ems = await stack.enter_async_context(client(target, transport, _SETTINGS))
                    await starters.start(ems, server)
            except Skipped:
                continue
            found[transport] = starters
        await asyncio.sleep(_PAUSE)
        return {transport: await starters.wake(server) for transport, starters in found.items()}


async def _order(ems: EMSClient) -> float:
    order = new_order()
    started = monotonic()
    await ems.orders.place(order, allow_duplicate_id=True)
    return (monotonic() - started) * 1e6


async def _first_order(ems: EMSClient, server: Server) -> First:
    began = monotonic()
    took = await _order(ems)
    accepted, _ = await asyncio.to_thread(_last_order, server)
    return First(took, accepted > began)


def _last_order(server: Server) -> Any:
    with urlopen(server.clear + LAST_ORDER, timeout=5) as answer:
        return json.load(answer)
