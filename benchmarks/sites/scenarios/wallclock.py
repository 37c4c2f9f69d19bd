"""By the clock on the wall: four sites that move, one freeze, one kill, and what the client made of it."""

import asyncio
from collections.abc import Callable
from signal import SIGCONT, SIGSTOP
from statistics import fmean
from time import monotonic
from typing import Final

from ..findings import Found
from ..jitter import made_jitter
from ..load import Load
from ..ours import EJECTED, Ours
from ..rig import Rig
from ..virtual import HOUR, Noise, Trace, dynamic_trace, played, score
from ..watch import History, Watch
from .base import DELAYS, Calls, Scenario, Stage

__all__ = ["WALL_CLOCK", "cost_of"]

_SITES: Final = tuple(DELAYS)
_SCALE: Final = 0.3
_SEED: Final = 11
_MOVES: Final = (15.0, 45.0)
"""Four times as often as on the virtual clock, for there are ten minutes."""
_FREEZE_AT, _FREEZE_FOR = 0.45, 4.0
_KILL_AT: Final = 0.75
_SETTLED: Final = 15.0
"""Seconds at the start that do not count, as on the virtual clock."""
_RECOVERY: Final = 5.0
"""Seconds after an outage that do not count for the regret: the site is kept out on purpose."""


def cost_of(
    history: History,
    trace: Trace,
    sites: tuple[str, ...],
    begun: float,
    seconds: float,
    void: list[tuple[float, float]],
) -> float | None:
    """Return how much slower than the best the first choice was, ms on average over every tenth of a second.

    void: spans in seconds since the beginning that do not count. None if none is left.
    """
    choices = [one for one in history.events if one.site is None]
    lost = []
    for tenth in range(int(10 * min(_SETTLED, seconds / 10)), int(10 * seconds)):
        now = tenth / 10
        if any(start <= now < end for start, end in void):
            continue
        made = [one.after for one in choices if one.at <= begun + now]
        if made and made[-1] in sites:
            floors = trace(now)
            lost.append(floors[sites.index(made[-1])] - min(floors))
    return 1e3 * fmean(lost) if lost else None


async def _run(stage: Stage) -> Found:
    found, plan = stage.found("wall-clock"), stage.plan
    found.repeats = 1
    trace = dynamic_trace(_SEED, plan.wall, _MOVES)
    rig = await stage.rig()
    for site, floor in zip(_SITES, trace(0.0), strict=True):
        await rig.sites[site].command(base=floor, scale=_SCALE)
    calls = Calls(rig)
    async with rig.client(calls.log, order_timeout=2.0) as ems, Watch(ems) as watch:
        begun = monotonic()
        async with Load(ems, reads=plan.reads, orders=plan.orders) as load:
            moving = asyncio.create_task(_move(rig, trace, begun))
            outages = await _fail(rig, lambda: watch.history.first, trace, begun, plan.wall)
            await asyncio.sleep(max(0.0, begun + plan.wall - monotonic()))
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)
        calls.took(load)
    await rig.calm()
    _judge(found, watch.history, trace, begun, outages)
    found.count("failed_reads", sum(one.ended != "value" for one in calls.log.reads))
    found.count("unknown_orders", sum(one.ended == "unknown" for one in calls.log.orders))
    calls.check(found)
    found.history, found.begun = watch.history, begun
    found.tables["True floors, ms"] = [
        ["s", *_SITES],
        *([f"{at:.1f}", *(f"{1e3 * one:.1f}" for one in floors)] for at, floors in trace.steps),
    ]
    found.tables["Outages"] = [["site", "from, s", "to, s"], *([s, f"{a:.1f}", f"{b:.1f}"] for s, a, b in outages)]
    return found


async def _move(rig: Rig, trace: Trace, begun: float) -> None:
    """Let the sites be as far as the trace has them; one that is down hears of it when it is back."""
    for at, floors in trace.steps[1:]:
        await asyncio.sleep(max(0.0, begun + at - monotonic()))
        for site, floor in zip(_SITES, floors, strict=True):
            if rig.sites[site].is_running:
                await rig.sites[site].command(base=floor)


async def _fail(
    rig: Rig, first: Callable[[], str], trace: Trace, begun: float, seconds: float
) -> list[tuple[str, float, float]]:
    """Freeze the first choice once and kill it once; returns which site was down from when to when."""
    outages = []
    await asyncio.sleep(max(0.0, begun + _FREEZE_AT * seconds - monotonic()))
    site, began = first(), monotonic()
    rig.sites[site].signal(SIGSTOP)
    await asyncio.sleep(min(_FREEZE_FOR, seconds / 10))
    rig.sites[site].signal(SIGCONT)
    outages.append((site, began - begun, monotonic() - begun))
    await asyncio.sleep(max(0.0, begun + _KILL_AT * seconds - monotonic()))
    site, began = first(), monotonic()
    await rig.sites[site].kill()
    await rig.sites[site].start()
    await rig.sites[site].command(base=trace(monotonic() - begun)[_SITES.index(site)], scale=_SCALE)
    outages.append((site, began - begun, monotonic() - begun))
    return outages


def _judge(
    found: Found, history: History, trace: Trace, begun: float, outages: list[tuple[str, float, float]]
) -> None:
    seconds = found.plan.wall
    void = [(start, end + _RECOVERY) for _, start, end in outages]
    calm = [one for one in history.switches if not any(a <= one.at - begun < b for a, b in void)]
    found.count("switches", len(calm))
    found.count("ejections", len(history.entries(EJECTED)))
    regret = cost_of(history, trace, _SITES, begun, seconds, void)
    if regret is not None:
        found.count("regret", regret)
    if seconds >= 60:
        choices = played(
            Ours(len(_SITES)), trace, Noise(_SCALE), made_jitter(20_000), seed=_SEED, seconds=int(seconds)
        )
        virtual = score(choices, trace, seconds)
        found.count("virtual_regret", virtual.regret)
        found.count("virtual_switches", virtual.switches * seconds / HOUR)


WALL_CLOCK: Final = (
    Scenario("wall-clock", "four sites that move, one freeze, one kill, by the clock on the wall", _run),
)
