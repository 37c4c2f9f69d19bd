"""Whether the rig can be believed: what a request takes here where no site adds a delay."""

import asyncio
from typing import Final

from .findings import Floor
from .load import CallLog, Load
from .scenarios.base import DELAYS, Stage
from .statistics import quantile

__all__ = ["measured_floor"]

_NOMINAL: Final = 0.020


async def measured_floor(stage: Stage) -> Floor:
    """Measure reads at the plan's rate, without any delay and with one of 20 ms."""
    rig = await stage.rig()
    medians, tail = [], 0.0
    for base in (0.0, _NOMINAL):
        for site in DELAYS:
            await rig.sites[site].command(base=base)
        log = CallLog()
        async with rig.client(log) as ems, Load(ems, reads=stage.plan.reads, orders=0):
            await asyncio.sleep(stage.plan.floor)
        times = [1e3 * one.seconds for one in log.reads]
        medians.append(quantile(times, 0.5))
        tail = tail or quantile(times, 0.99)
    await rig.calm()
    return Floor(medians[0], tail, medians[1] - 1e3 * _NOMINAL - medians[0])
