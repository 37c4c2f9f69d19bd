"""What a journal costs an order: without one, with one that survives a kill, with one that survives a power cut.

An order may not leave before its record is in the file, so the cost is on its way, whole: the hand-over to the
thread and back, which wakes two threads, and one statement of SQLite, which ends in a write to the log and, for
"disk", an fsync. Both are measured by themselves as well, as the floor of it. Between orders the statement's
code and pages leave the caches and the thread falls asleep: then it takes about twice as long as alone, and so
does what follows it. Outcomes are on nobody's way: they are written when no order waits. In flight, orders share
transactions.
"""

import asyncio
import contextlib
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Final

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.journal.database import add_orders, open_database
from coinapi_ems_async.models.ids import new_client_order_id

from ..canned import new_order, order_body
from ..entrants import Target
from ..figures import typical
from ..measure import in_flight, one_at_a_time
from ..results import JournalCost, Latency, Plan

__all__ = ["measure_journal"]

MODES: Final = ("none", "process", "disk")
_STATEMENTS: Final = 500


async def measure_journal(target: Target, plan: Plan) -> JournalCost:
    """Return the figures of `place` over http1, modes taking turns, and of what they are made of."""
    alone: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        async with contextlib.AsyncExitStack() as stack:
            clients = {
                mode: await stack.enter_async_context(_client(target, mode, Path(folder))) for mode in MODES
            }
            for _ in range(max(2, plan.rounds // 2)):
                for mode, ems in clients.items():
                    place = _placing(ems)
                    alone[mode].append(await one_at_a_time(place, plan.alone))
                    rates[mode].append((await in_flight(place, plan.loaded, plan.width)).rate)
        statement = {mode: _statement(Path(folder) / f"bare-{mode}", mode) for mode in MODES[1:]}
    return JournalCost(
        alone={mode: Latency.of(turns) for mode, turns in alone.items()},
        rates={mode: typical(found) for mode, found in rates.items()},
        hand_over=await _hand_over(),
        statement=statement,
    )


@contextlib.asynccontextmanager
async def _client(target: Target, mode: str, folder: Path) -> AsyncIterator[EMSClient]:
    settings = Settings(journal_sync="disk" if mode == "disk" else "process")
    journal = None if mode == "none" else folder / mode
    async with EMSClient.self_hosted(target.url, settings=settings, journal=journal) as ems:
        yield ems


def _placing(ems: EMSClient) -> "Callable[[], asyncio.Future[object]]":
    order, orders = new_order(), ems.orders

    async def place() -> object:
        return await orders.place(order, allow_duplicate_id=True)

    return place  # type: ignore[return-value]  # whatever can be awaited


def _statement(path: Path, mode: str) -> float:
    """Microseconds of the statement that records an order."""
    connection, _ = open_database(path, is_synced=mode == "disk", keep=1e9, most_sent=1)
    times = []
    with contextlib.closing(connection):
        for number in range(1, _STATEMENTS):
            row = (number, new_client_order_id(), "KRAKEN/JOHN", "site", time(), order_body())
            started = perf_counter()
            add_orders(connection, [row])
            times.append((perf_counter() - started) * 1e6)
    return median(times)


async def _hand_over() -> float:
    """Microseconds from the loop to a waiting thread and back."""
    loop, news, queue = asyncio.get_running_loop(), threading.Semaphore(0), deque[asyncio.Future[None] | None]()

    def run() -> None:
        while True:
            news.acquire()
            if (future := queue.popleft()) is None:
                return
            loop.call_soon_threadsafe(future.set_result, None)

    thread = threading.Thread(target=run)
    thread.start()
    times = []
    for _ in range(_STATEMENTS):
        started, future = perf_counter(), loop.create_future()
        queue.append(future)
        news.release()
        await future
        times.append((perf_counter() - started) * 1e6)
    queue.append(None)
    news.release()
    thread.join()
    return median(times)
