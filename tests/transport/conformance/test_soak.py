"""Orders one after another, against a server in another process: nothing is left of them.

3,000 by default. More of them, on either loop:
`EMS_SOAK_ORDERS=100000 pytest --timeout 0 --loops plain,uvloop -s tests/transport/conformance/test_soak.py`
"""

import asyncio
import gc
import os
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

from coinapi_ems_async import Accepted, EMSClient

from ...conftest import an_order
from ...wire import Transport, client_of
from .apart import apart
from .stage import OURS

ORDERS = int(os.environ.get("EMS_SOAK_ORDERS", "3000"))
WARM_UP = 400


class Footprint(NamedTuple):
    """What the process holds. asyncio forgets cancelled timers by the hundred, so that those come and go."""

    tasks: int
    sockets: int
    handles: int
    objects: int
    kilobytes: float

    @classmethod
    def now(cls) -> "Footprint":
        gc.collect()
        objects = gc.get_objects()
        return cls(
            tasks=len(asyncio.all_tasks()),
            sockets=sum("socket:" in _target(link) for link in Path("/proc/self/fd").iterdir()),
            handles=sum(type(one).__name__.endswith("Handle") for one in objects),
            objects=len(objects),
            kilobytes=tracemalloc.get_traced_memory()[0] / 1024,
        )


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the descriptor with which the directory was read
        return ""


async def place(ems: EMSClient, count: int) -> None:
    for _ in range(count):
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Accepted), outcome


@OURS
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")
async def test_orders_leave_nothing_behind(transport: Transport) -> None:
    with apart(transport) as server:
        async with client_of(server.url, transport, remembered_orders=100) as ems:
            await place(ems, WARM_UP)
            tracemalloc.start()
            try:
                await place(ems, WARM_UP)  # what is made once is made by now, and traced
                before = Footprint.now()
                await place(ems, ORDERS)
                after = Footprint.now()
            finally:
                tracemalloc.stop()
        executions = await asyncio.to_thread(server.executions)
    print(transport, before, after, sep="\n")  # noqa: T201  # for those who run more of them
    assert len(executions) == 2 * WARM_UP + ORDERS
    assert set(executions.values()) == {1}
    assert after.tasks <= before.tasks + 1  # a probe may be under way
    assert after.sockets <= before.sockets + 2  # a warm connection and its successor, for a while
    assert abs(after.handles - before.handles) <= 300
    assert after.objects - before.objects <= 1_000
    assert after.kilobytes - before.kilobytes <= 100
