"""Rounds in turn, medians, ratios within a run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from time import perf_counter
from typing import NamedTuple

Call = Callable[[], Awaitable[object]]


class Figures(NamedTuple):
    """Of one client: microseconds, one request at a time; requests per second with many in flight."""

    p50: float
    p99: float
    rate: float


async def one_at_a_time(call: Call, count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = perf_counter()
        await call()
        times.append((perf_counter() - started) * 1e6)
    return times


async def in_flight(call: Call, count: int, width: int) -> float:
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    started = perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return count / (perf_counter() - started)


async def compare(calls: Mapping[str, Call], *, rounds: int, count: int, width: int) -> dict[str, Figures]:
    """Measure every call in turn, round by round, so that noise of the machine falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        await one_at_a_time(call, count // 4 + 1)
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += await one_at_a_time(call, count)
            rates[name].append(await in_flight(call, count, width))
    return {name: Figures(median(times[name]), _p99(times[name]), median(rates[name])) for name in calls}


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]
