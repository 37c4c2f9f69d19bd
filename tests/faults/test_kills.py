"""Sites in processes of their own that are killed, stopped and closed under orders: the journals are the truth."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from coinapi_ems_async import EMSClient
from coinapi_ems_async.invariants import Told, told, violations
from coinapi_ems_async.simulator import Pace, ProcessPerSite, Record
from coinapi_ems_async.simulator.journal import read_journal

from ..conftest import ACCOUNT, an_order
from .conftest import Chunk, Tier
from .lanes import Transport
from .rides import SETTINGS, empty_pools, no_errors
from .storm import SITES

IN_FLIGHT = 16
Blow = Literal["kill", "freeze", "close"]


@dataclass(frozen=True)
class Strike:
    """What is done to some sites at once, and for how long."""

    blow: Blow
    sites: tuple[str, ...]
    seconds: float


def strikes(seed: int, kills: int) -> list[Strike]:
    """Return what is to happen, so many kills among it: a pure function of the two."""
    random, found, killed = Random(seed), list[Strike](), 0
    while killed < kills:
        blow: Blow = random.choices(("kill", "freeze", "close"), (6, 1, 1))[0]
        sites = tuple(random.sample(SITES, random.choice((1, 2, 3, 3, 4))))
        killed += len(sites) if blow == "kill" else 0
        found.append(Strike(blow, sites, random.uniform(0.05, 0.3)))
    return found


def test_what_is_to_happen_follows_from_the_seed() -> None:
    assert strikes(7, 20) == strikes(7, 20) != strikes(8, 20)


async def _strike(stage: ProcessPerSite, site: str, what: Strike) -> None:
    process = stage.process(site)
    if what.blow == "kill":
        await asyncio.to_thread(process.restart)  # which begins with SIGKILL
    elif what.blow == "freeze":
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(what.seconds)
        process.signal(signal.SIGCONT)
    else:
        await asyncio.to_thread(process.stop_site, site)
        await asyncio.sleep(what.seconds)
        await asyncio.to_thread(process.start_site, site)


class _Orders:
    """Places and cancels orders, so many at a time, until told to stop."""

    def __init__(self, ems: EMSClient, seed: int) -> None:
        self.calls: list[Told] = []
        self.is_over = False
        self._ems = ems
        self._random = Random(seed)

    async def work(self) -> None:
        """Place one order after the other, and cancel some."""
        random, orders = self._random, self._ems.orders
        while not self.is_over:
            order, timeout = an_order(), random.choice((0.1, 0.3, 1.0))
            name = order.client_order_id
            outcome = await orders.submit(order, timeout=timeout)
            self.calls.append(told("order_new", outcome, client_order_id=name, exchange_id=ACCOUNT))
            if random.random() < 0.2:
                outcome = await orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=name, timeout=timeout)
                self.calls.append(told("order_cancel", outcome, client_order_id=name, exchange_id=ACCOUNT))


async def under_fire(stage: ProcessPerSite, transport: Transport, plan: Sequence[Strike], seed: int) -> list[Told]:
    """Keep orders in flight while everything on the plan happens; return what the client told."""
    client = EMSClient(stage.api_key, management_url=stage.management_url, transport=transport, settings=SETTINGS)
    async with client as ems:
        crew = _Orders(ems, seed)
        workers = [asyncio.create_task(crew.work()) for _ in range(IN_FLIGHT)]
        for what in plan:
            await asyncio.gather(*(_strike(stage, site, what) for site in what.sites))
        crew.is_over = True
        await asyncio.gather(*workers)
        assert await empty_pools(ems) == []
    return crew.calls


def truth(stage: ProcessPerSite) -> tuple[list[Record], Callable[[str], int]]:
    """Return what the journals of all lives of all sites say."""
    requests: list[Record] = []
    executions: Counter[str] = Counter()
    for path in _journals(stage):
        story = read_journal(path)
        requests += story.requests
        executions += story.executions
    return requests, executions.__getitem__


def _journals(stage: ProcessPerSite) -> Iterator[Path]:
    for site in SITES:
        if (path := stage.process(site)._journal) is not None:
            yield path


@pytest.mark.first_on("plain")
@pytest.mark.parametrize("transport", ["http1", "http2"])
async def test_sites_are_killed_under_orders(tier: Tier, chunk: Chunk, transport: Transport) -> None:
    if chunk.is_done:
        return
    seed = datetime.now(UTC).toordinal() if tier.seed is None else tier.seed
    kills = tier.of(10, 50)
    problems: list[str] = []
    async with no_errors(problems):
        stage = ProcessPerSite(
            sites=dict.fromkeys(SITES, 0.005),
            exchanges=[ACCOUNT],
            hosts={site: f"127.0.0.{12 + place}" for place, site in enumerate(SITES) if sys.platform == "linux"},
            pace=Pace(reply=0.005, book=0.01, cancel=0.01),
            journal=True,
            seed=seed,
        )
        async with stage:
            calls = await under_fire(stage, transport, strikes(seed, kills), seed)
            problems += violations(*truth(stage), calls)
    assert not problems, f"replay with --seed={seed}:\n" + "\n".join(problems[:20])
    assert {"accepted", "unknown"} <= {call.ended for call in calls}
    chunk.keep(kills=kills, seed=seed, calls=len(calls))
