"""A long quiet day with a fault now and then: nothing grows, nothing is left behind, nothing is done twice."""

import asyncio
import gc
import os
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import IO

from coinapi_ems_async import EMSClient, OrderNotFound, Outcome, Settings, TransportError
from coinapi_ems_async.invariants import Told, contradictions, told, violations
from coinapi_ems_async.simulator import FaultPlan, Pace, SimulatorProcess
from coinapi_ems_async.simulator.journal import read_journal
from coinapi_ems_async.transport.connect import Connector
from coinapi_ems_async.transport.pool import SitePool

from ..conftest import ACCOUNT, EAST, OREGON, WEST, an_order
from .conftest import Chunk, Tier
from .lanes import Transport
from .rides import empty_pools, no_errors, unexplained

TRANSPORTS: tuple[Transport, ...] = ("http1", "http2")
WORKERS = 3
PAUSE = 0.01
# What is remembered of orders is bounded, and is at its bound soon.
SETTINGS = Settings(remembered_orders=200, read_try_timeout=0.5, late_answer=0.5, stall_timeout=0.5)
SLACK = 64 * 1024
"""Bytes by which traced memory may grow: fewer than 100 for each order that is placed meanwhile in the first tier,
so that whatever is kept of every order shows."""
SETTLED = 4 * 1024
"""Bytes that the outcome of an order may take that was settled late, or not sent; a thousand of each are kept."""


PROBE, READ = 112, 32
"""Bytes that a sample takes: a pair of floats, and a float, each with its place."""
BUFFER = 256 * 1024
"""Bytes of the buffer that all plain HTTP/1.1 connections of a pool read into, made with the first of them."""


class Diary:
    """Notes every change and its end, on disk: what is kept in memory would look like a leak."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.ends: Counter[str] = Counter()
        self.problems: list[str] = []

    def note(self, operation: str, name: str, outcome: Outcome) -> None:
        said = told(operation, outcome, client_order_id=name, exchange_id=ACCOUNT)
        self.problems += contradictions(said)
        self.ends[f"{operation} {said.ended}"] += 1
        self._file.write(f"{operation} {said.ended.replace(' ', '-')} {name}\n")


def diary_of(path: Path) -> Iterator[Told]:
    """Yield what a diary tells."""
    for line in path.read_text().splitlines():
        operation, ended, name = line.split()
        yield Told(operation, ended.replace("-", " "), name, ACCOUNT)  # type: ignore[arg-type]  # as it was written


async def work(ems: EMSClient, diary: Diary, random: Random, end: float) -> None:
    """Make calls of every kind until the end."""
    orders = ems.orders
    while monotonic() < end:
        order = an_order()
        name = order.client_order_id
        diary.note("order_new", name, await orders.submit(order, timeout=1.0))
        if name in orders.unresolved:
            diary.problems += await settle(ems, name)
        if random.random() < 0.5:
            cancel = await orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=name, timeout=1.0)
            diary.note("order_cancel", name, cancel)
        try:
            if random.random() < 0.1:
                await orders.open(ACCOUNT, timeout=1.0)
                await ems.balances.get(ACCOUNT, timeout=1.0)
                await ems.positions.get(timeout=1.0)
        except TransportError as error:
            diary.problems += unexplained("a read", error)
        if random.random() < 0.02:
            diary.note("order_cancel_all", name, await orders.submit_cancel_all(exchange_id=ACCOUNT, timeout=1.0))
        await asyncio.sleep(PAUSE)


async def settle(ems: EMSClient, name: str) -> list[str]:
    """Do what a user does about an unresolved order: ask for it, and forget it if it stays unknown.

    Returns what is wrong: a report settles it, and without one there is a reason why none came.
    """
    try:
        await ems.orders.status(name, exchange_id=ACCOUNT, timeout=1.0)
    except (OrderNotFound, TransportError) as error:
        if name in ems.orders.unresolved:
            ems.orders.forget(name)
        return unexplained("order_status", error)
    return [f"its report was read, and yet it is unresolved: {name}"] if name in ems.orders.unresolved else []


@asynccontextmanager
async def at_work(sim: SimulatorProcess, diary: Diary, seconds: float) -> AsyncIterator[list[EMSClient]]:
    """Two clients, one for each transport, at work meanwhile."""
    end = monotonic() + seconds
    clients = [
        EMSClient(sim.api_key, management_url=sim.management_url, transport=transport, settings=SETTINGS)
        for transport in TRANSPORTS
    ]
    async with clients[0], clients[1]:
        workers = [
            asyncio.create_task(work(ems, diary, Random(number), end))
            for ems in clients
            for number in range(WORKERS)
        ]
        yield clients
        await asyncio.gather(*workers)
        for ems in clients:
            assert ems.health().crashes == {}
            assert await empty_pools(ems) == []


@contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def traced_now() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def passing(clients: Sequence[EMSClient]) -> int:
    """Bytes of what is kept of the latest probes and reads, and of the buffers that connections read into.

    The former is bounded, by 60 and 512 for each site, but on a busy machine not at its bound before a minute is
    over; the latter by one for each pool, but that of a site far off is made when it first has to help out.
    """
    sessions = [ems._ready() for ems in clients]
    probes = sum(len(entry.history) for one in sessions for entry in one.roster.entries.values())
    reads = sum(len(times.all) for one in sessions for times in one.dispatcher._rounds._times._windows.values())
    pools = [entry.pool for one in sessions for entry in one.roster.entries.values()]
    buffers = sum(isinstance(pool, SitePool) and has_buffer(pool) for pool in pools)
    return PROBE * probes + READ * reads + BUFFER * buffers


def has_buffer(pool: SitePool) -> bool:
    return isinstance(pool._connect, Connector) and pool._connect._buffer is not None


async def looks(clients: Sequence[EMSClient], seconds: float, count: int) -> list[int]:
    """Return the traced memory less what is `passing`, at so many points once the first third is over."""
    found = []
    await asyncio.sleep(seconds / 3)
    for _ in range(count):
        await asyncio.sleep(seconds * 2 / 3 / (count + 1))
        found.append(traced_now() - passing(clients))
    return found


async def test_nothing_grows_and_nothing_is_left(tier: Tier, chunk: Chunk, tmp_path: Path) -> None:
    if chunk.is_done:
        return
    plan = FaultPlan(seed=11, rate=0.01, actions=("reset", "fin", "freeze", "delay"), seconds=0.2)
    problems: list[str] = []
    path = tmp_path / "diary"
    before = descriptors()
    async with (
        no_errors(problems),
        SimulatorProcess(
            sites={EAST: 0.001, WEST: 0.002, OREGON: 0.003},
            pace=Pace(reply=0.001, book=0.01, cancel=0.01),
            plan=plan,
            journal=True,
            record_limit=2_000,
            seed=11,
        ) as sim,
    ):
        with path.open("w") as file, traced():
            diary = Diary(file)
            inside = descriptors()
            async with at_work(sim, diary, tier.soak) as clients:
                seen = await looks(clients, tier.soak, 8)
                most = descriptors()
            open_at_work = most - inside
            kept = sum(len(ems.orders.settled) for ems in clients) + diary.ends["order_new not sent"]
            slack = SLACK + SETTLED * kept
        assert sim._journal is not None
        story = read_journal(sim._journal)
        problems += diary.problems
        problems += violations(story.requests, story.executions.__getitem__, diary_of(path))
    assert not problems, "\n".join(problems[:20])
    assert descriptors() == before
    first, last = min(seen[:4]), min(seen[4:])
    assert last - first < slack, f"traced memory grew: {seen}"
    assert open_at_work < 3 * 2 * len(TRANSPORTS) * (WORKERS + 4), f"{open_at_work} descriptors at work"
    assert diary.ends["order_new accepted"] > 50 * tier.soak / 20
    chunk.keep(seconds=tier.soak, ends=dict(diary.ends), memory=seen)
