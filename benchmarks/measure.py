"""Turns: one request at a time, or many in flight, for so many seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Final, NamedTuple

__all__ = ["Call", "Pace", "in_flight", "one_at_a_time"]

Call = Callable[[], Awaitable[object]]

_WARM_UP: Final = 20
"""Untimed requests at the start of a turn: the entrant before has had the caches."""


class Pace(NamedTuple):
    """Requests per second, and microseconds of CPU time per request, those of all threads together."""

    rate: float
    cpu: float


async def one_at_a_time(call: Call, seconds: float) -> list[float]:
    """Return the microseconds that each request took."""
    for _ in range(_WARM_UP):
        await call()
    times = []
    end = perf_counter() + seconds
    started = 0.0
    while started < end:
        started = perf_counter()
        await call()
        times.append((perf_counter() - started) * 1e6)
    return times


async def in_flight(call: Call, seconds: float, width: int) -> Pace:
    """Keep `width` requests under way, each worker sending its next one when it has its answer; one at least.

    Neither starting the workers nor ending them is timed.
    """
    start = asyncio.Event()
    done, working = 0, width
    stopped = used = 0.0

    async def worker() -> None:
        nonlocal done, working, stopped, used
        await start.wait()
        while True:
            await call()
            done += 1
            if perf_counter() >= end:
                break
        working -= 1
        if not working:
            stopped, used = perf_counter(), process_time()

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())
        await asyncio.sleep(0)  # by the next turn of the loop all of them wait
        used_before = process_time()
        started = perf_counter()
        end = started + seconds
        start.set()
    return Pace(done / (stopped - started), (used - used_before) / done * 1e6)
