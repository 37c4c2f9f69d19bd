"""What goes on for a while: a flapping site, slow reads, an idle limit, a storm, no management API."""

import asyncio
from collections.abc import Mapping
from random import Random
from time import monotonic
from typing import Any, Final

from coinapi_ems_async import Unknown

from ..findings import Found
from ..load import CallLog, Done, Load, an_order
from ..ours import EJECTED, cache_settings
from ..rig import ACCOUNT, FAR, MIDDLE, NEAR, Rig
from ..truth import duplicates, read_truth
from ..watch import Watch
from .base import Calls, Scenario, Stage

__all__ = ["LASTING", "SHARES"]


async def _flap(stage: Stage) -> Found:
    """Half of what a site is asked, probes among it, is answered by a reset."""
    found, plan = stage.found("flap"), stage.plan
    found.repeats = 1
    rig = await stage.rig()
    calls = Calls(rig)
    async with rig.client(calls.log, order_timeout=2.0) as ems, Watch(ems) as watch:
        async with Load(ems, reads=plan.reads, orders=plan.orders) as load:
            await asyncio.sleep(plan.settle)
            site, began = watch.history.first, monotonic()
            spoil = {"answers": {"reset": {"reset": True}}, "share": 0.5, "kinds": "all"}
            await rig.sites[site].command(spoil=spoil)
            await asyncio.sleep(plan.flap)
            took = monotonic() - began
        calls.took(load)
    await rig.calm()
    found.count("ejections", len(watch.history.entries(EJECTED)))
    # Not scaled up: backoff grows, so that most of them come in the first seconds.
    found.count("seconds", took)
    found.count("switches", len(watch.history.switches))
    found.count("failed_reads", sum(one.ended != "value" for one in calls.log.reads))
    found.count("unknown_orders", sum(one.ended == "unknown" for one in calls.log.orders))
    calls.check(found)
    found.history, found.begun = watch.history, began
    return found


SHARES: Final = (3, 10, 20)
"""Percent of the reads that are slow."""
_SLOW: Final = 0.3
_LEARNING: Final = 2.0
_HEDGE_SCALE: Final = 0.3


async def _hedging(stage: Stage) -> Found:
    """A share of the reads at the nearest site takes 0.3 s longer; the next is 35 ms away."""
    found, plan = stage.found("hedging"), stage.plan
    found.repeats = len(SHARES)
    rig = await stage.rig()
    for share in SHARES:
        calls = Calls(rig)
        await rig.get_ready()
        for process in rig.sites.values():
            await process.command(scale=_HEDGE_SCALE)
        await rig.sites[NEAR].command(slow_share=share / 100, slow=_SLOW)
        async with rig.client(calls.log) as ems, Load(ems, reads=plan.reads, orders=0) as load:
            await asyncio.sleep(plan.hedge)
        calls.took(load)
        await rig.calm()
        reads = calls.log.reads
        sent = [
            one for one in read_truth(rig.folder, rig.sites, calls.begun).requests if one.operation == "positions"
        ]
        found.add(f"reads_{share}", *(1e3 * one.seconds for one in _learned(reads, calls.begun, plan.hedge)))
        found.count(f"extra_{share}", 100 * (len(sent) / len(reads) - 1))
        found.count(f"budget_{share}", 100 * (0.1 + 10 / len(reads)))
        found.count("failed_reads", sum(one.ended != "value" for one in reads))
        calls.check(found)
    return found


def _learned(reads: list[Done], begun: float, seconds: float) -> list[Done]:
    """Leave out those made before the client knew how long its reads take."""
    return [one for one in reads if one.started > begun + min(_LEARNING, seconds / 2)]


_IDLE: Final = 0.200
_AROUND: Final = 0.004
_LANES: Final = 10
_CONFIGURED: Final = 0.15
_LESSONS: Final = 2
"""Times that a client sees the server close a connection, before its orders count."""


async def _idle_race(stage: Stage) -> Found:
    """The server closes connections after 200 ms; each order is sent 196 to 204 ms after the last answer."""
    found, plan = stage.found("idle-race"), stage.plan
    found.repeats = plan.idle_orders
    rig = await stage.rig("idle", idle=_IDLE, delays={NEAR: 0.001, MIDDLE: 0.008, FAR: 0.015})
    for kind, settings in (("learned", {}), ("configured", {"idle_timeout": _CONFIGURED})):
        calls = Calls(rig)
        each = max(1, plan.idle_orders // _LANES)
        lanes = (_lane(rig, calls.log, settings, each, lane) for lane in range(_LANES))
        orders = [order for lane in await asyncio.gather(*lanes) for order in lane]
        found.count(f"orders_{kind}", len(orders))
        found.count(f"lost_{kind}", sum(one.ended != "accepted" for one in orders))
        calls.check(found)
    return found


async def _lane(rig: Rig, log: CallLog, settings: dict[str, float], orders: int, seed: int) -> list[Done]:
    """Send orders one after the other; returns those that were sent once the limit could be known."""
    random, mine = Random(seed), CallLog()
    async with rig.client(mine, **settings) as ems:
        for _ in range(_LESSONS):
            await ems.orders.submit(an_order(), timeout=2.0)
            await asyncio.sleep(3 * _IDLE)
        lessons = len(mine.orders)
        for _ in range(orders):
            await asyncio.sleep(random.uniform(_IDLE - _AROUND, _IDLE + _AROUND))
            await ems.orders.submit(an_order(), timeout=2.0)
    log += mine
    return mine.orders[lessons:]


async def _management_down(stage: Stage) -> Found:
    """The management API does not exist when the client starts, which has a site table on disk, nor afterwards."""
    found, plan = stage.found("management-down"), stage.plan
    rig = await stage.rig()
    settings = cache_settings(str(rig.folder / "cache"))
    if settings is None:
        found.skipped = "this client keeps no site table on disk"
        return found
    assert rig.management is not None
    found.repeats = plan.some
    calls = Calls(rig)
    for _ in range(plan.some):
        await _first_read(found, "up", rig, calls.log, settings)
    await rig.management.kill()
    for _ in range(plan.some):
        await _first_read(found, "down", rig, calls.log, settings)
    calls.log.clear()
    async with rig.client(calls.log, refresh_interval=1.0, **settings) as ems:
        async with Load(ems, reads=plan.reads, orders=plan.orders) as load:
            await asyncio.sleep(plan.outage)
        calls.took(load)
        found.count("sites_left", len(ems.sites))
    await rig.management.start()
    failed = sum(one.ended not in ("value", "accepted") for one in (*calls.log.reads, *calls.log.orders))
    found.count("failed", failed)
    calls.check(found)
    return found


async def _first_read(found: Found, kind: str, rig: Rig, log: CallLog, settings: Mapping[str, Any]) -> None:
    started = monotonic()
    async with rig.client(log, **settings) as ems:
        opened = monotonic()
        await ems.positions.get(ACCOUNT)
        found.add(f"open_{kind}", 1e3 * (opened - started))
        found.add(f"first_{kind}", 1e3 * (monotonic() - opened))


_WORKERS: Final = 32
_STORM_LIMIT: Final = 420.0
_STORM: Final[Mapping[str, Mapping[str, Any]]] = {
    "reset": {"reset": True},
    "reset-executed": {"reset": True, "execute": "before"},
    "reset-mid-response": {"truncate": 40, "end": "reset", "execute": "before"},
    "fin": {"raw": "", "end": "fin", "execute": "before"},
    "partial-head": {"raw": "HTTP/1.1 200 OK\r\nContent-Le", "end": "fin", "execute": "before"},
    "garbage": {"raw": "\x00\xff\x13\r\n\r\n", "end": "fin", "execute": "before"},
    "wrong-length": {"raw": "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "end": "fin", "execute": "before"},
    "bad-json": {"body": '{"status": ', "execute": "before"},
    **{str(status): {"status": status, "body": "", "execute": "before"} for status in (500, 502, 503, 504)},
}


async def _storm(stage: Stage) -> Found:
    """Half of all orders at every site are answered wrongly, most of them after they were executed."""
    found, plan = stage.found("storm"), stage.plan
    rig = await stage.rig()
    calls = Calls(rig)
    for number, process in enumerate(rig.sites.values()):
        spoil = {"answers": _STORM, "share": 0.5, "kinds": "orders", "seed": number + 1}
        await process.command(base=0.001 * (number + 1), spoil=spoil)
    async with rig.client(calls.log, order_timeout=2.0) as ems:
        end, unknown = monotonic() + _STORM_LIMIT, 0

        async def work() -> None:
            nonlocal unknown
            while unknown < plan.storm and monotonic() < end:  # every one of these faults leaves its order unknown
                outcome = await ems.orders.submit(an_order())
                unknown += isinstance(outcome, Unknown)

        await asyncio.gather(*(work() for _ in range(_WORKERS)))
    await rig.calm()
    truth = read_truth(rig.folder, rig.sites, calls.begun)
    spoiled = calls.spoiled()
    found.repeats = len(spoiled)
    found.count("faults", len(spoiled))
    found.count("duplicates", duplicates(truth))
    hit = {line["client_order_id"] for line in spoiled}
    found.count(
        "taken_as_success", sum(o.client_order_id in hit and o.ended == "accepted" for o in calls.log.orders)
    )
    for ended in ("accepted", "unknown", "not sent", "rejected"):
        found.count(f"orders_{ended.replace(' ', '_')}", sum(one.ended == ended for one in calls.log.orders))
    calls.check(found)
    return found


LASTING: Final = (
    Scenario("hedging", "a share of the reads takes 0.3 s longer at the nearest site", _hedging),
    Scenario("idle-race", "orders just when the server closes their connection", _idle_race),
    Scenario(
        "management-down", "no management API at the start nor after it, a site table on disk", _management_down
    ),
    Scenario("storm", "half of all orders are answered wrongly, at every site", _storm),
    Scenario("flap", "a site that answers half of what it is asked, probes too", _flap),
)
