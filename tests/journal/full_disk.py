"""A bot whose disk fills up: no file of this process may grow any further. Prints what came of its orders."""

import asyncio
import json
import resource
import sys
from collections import Counter
from pathlib import Path

from coinapi_ems_async import EMSClient, NotSent, NotSentReason
from coinapi_ems_async.simulator import Pace, Simulator

from ..conftest import EAST, an_order
from .helpers import client

ROOM = 256 * 1024


def limit(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def until_full(ems: EMSClient, told: Counter[str]) -> list[str]:
    """Place orders until five were refused; returns the ids of those."""
    refused: list[str] = []
    while len(refused) < 5:
        order = an_order(price="1")
        outcome = await ems.orders.submit(order)
        told[type(outcome).__name__] += 1
        if isinstance(outcome, NotSent):
            assert outcome.reason is NotSentReason.JOURNAL, outcome
            refused.append(order.client_order_id)
    return refused


async def main(path: Path) -> None:
    told: Counter[str] = Counter()
    pace = Pace(reply=0, book=0, cancel=0)
    async with Simulator(sites={EAST: 0.0}, pace=pace) as sim, client(sim, path) as ems:
        limit(ROOM)
        refused = await until_full(ems, told)
        seen = Counter(record.client_order_id for record in sim.requests if record.operation == "order_new")
        health = ems.health().journal
        limit(resource.RLIM_INFINITY)
        again = await ems.orders.submit(an_order(client_order_id=refused[0], price="1"))
    found = {
        "told": told,
        "seen": seen.total(),
        "refused but seen": [name for name in refused if name in seen],
        "failures": health.failures if health else None,
        "error": health.last_error if health else None,
        "again": type(again).__name__,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
