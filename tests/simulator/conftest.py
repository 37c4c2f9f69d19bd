import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from coinapi_ems_async.simulator import Simulator

from .helpers import EAST, INSTANT, WEST, Caller


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT, seed=7) as simulator:
        yield simulator


@pytest.fixture
async def call(sim: Simulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(sim, session)


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
