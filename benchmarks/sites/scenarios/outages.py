"""A site that fails as a whole, at a random moment: how soon that is seen, what it costs, when it is back."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from signal import SIGCONT, SIGSTOP
from statistics import median
from time import monotonic
from typing import Final, NamedTuple

from ..findings import NOISE_LIMIT, Found
from ..load import CallLog, Done, Load
from ..ours import EJECTED, HEALTHY, SUSPECT
from ..rig import Rig
from ..statistics import quantile
from ..watch import History, Watch
from .base import DELAYS, Calls, Scenario, Stage

__all__ = ["OUTAGES", "SECOND", "Episode", "is_noisy", "measured"]

SECOND: Final = sorted(DELAYS.values())[1]
"""Round trip of the site to go to, seconds."""
_CYCLE: Final = 0.55
"""Seconds from one probe of the site in use to the next, at most: failures begin anywhere in it."""
_AFTER: Final = 0.25
"""Seconds for which a site stays down after it was ejected."""
_SLOW: Final = 0.1
_AGAIN_EACH: Final = 10
"""One in so many repeats is made again if the machine was busy before it; if more are, what they say counts."""
_AT_ONCE: Final = 1.0
_DOWN: Final = frozenset({SUSPECT, EJECTED})

Act = Callable[[Rig, str], Awaitable[object]]


class Outage(NamedTuple):
    """One way to fail, and back."""

    name: str
    what: str
    begin: Act
    end: Act


_FREQUENT: Final = frozenset({"kill", "freeze"})
"""Repeated as often as the plan has it at most."""
_BRIEF: Final = frozenset({"kill", "freeze", "hole", "expired"})
_KEPT_OUT: Final = frozenset({"expired", "wrong-host"})
"""Nobody renews a certificate in seconds: the site is not looked at again for a minute."""


class Episode(NamedTuple):
    """One failure: when it began and ended, and what was seen of it."""

    site: str
    began: float
    ended: float
    history: History
    log: CallLog


def measured(episode: Episode, second: float = SECOND) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return values, in ms, and counts of one failure. second: round trip of the second site, s."""
    site, began, ended, history, log = episode
    suspect = history.moment(site, _DOWN, began)
    ejected = history.moment(site, frozenset({EJECTED}), began)
    seen = ended if suspect is None else suspect
    before = [one.seconds for one in log.reads if one.done < began and one.ended == "value"]
    normal = median(before) if before else 0.0
    reads = [one for one in log.reads if one.done > began and one.started < ended]
    good = [one for one in reads if one.ended == "value"]
    stuck = [one for one in reads if one.sites[:1] == (site,) and one.started < seen <= one.done]
    orders = [one for one in log.orders if one.done > began and one.started < ended]
    values: dict[str, list[float]] = {
        "unanswered_orders": [float(sum(_is_unanswered(one, site, ended) for one in orders))],
        "added": [1e3 * (max((one.seconds for one in good), default=0.0) - normal)],
        "stuck": [1e3 * one.seconds for one in stuck],
        "others": [1e3 * one.seconds for one in good if one not in stuck],
        "others_bound": [1e3 * (_hedge_delay(before) + second + 0.010)],
        "orders_elsewhere": [1e3 * one.seconds for one in orders if _went_elsewhere(one, site, began)],
    }
    for name, moment in (("suspect", suspect), ("ejected", ejected), ("failover", _failover(good, site, began))):
        values[name] = [] if moment is None else [1e3 * (moment - began)]
    counts = {
        "failed_reads": sum(one.ended != "value" for one in reads),
        "slow_reads": sum(one.seconds > _SLOW for one in good),
        "reads_in_outage": len(reads),
        "orders_after_suspect": _late(orders, site, suspect, history),
        "never_suspect": int(suspect is None),
        "not_sent": sum(one.ended == "not sent" for one in orders),
    }
    return values, {name: float(count) for name, count in counts.items()}


def _hedge_delay(before: list[float]) -> float:
    if not before:
        return 0.0
    return min(max(min(quantile(before, 0.95), 2 * median(before)), 0.010), 1.0)


def _failover(reads: list[Done], site: str, began: float) -> float | None:
    return min((one.done for one in reads if one.site != site and one.done > began), default=None)


def _went_elsewhere(order: Done, site: str, began: float) -> bool:
    return order.ended == "accepted" and order.site != site and began <= order.started < began + _AT_ONCE


def _is_unanswered(order: Done, site: str, ended: float) -> bool:
    """Sent to the failed site and not answered while it was down: a longer outage leaves it unknown."""
    return order.ended == "unknown" or (order.site == site and order.committed is not None and order.done >= ended)


def _late(orders: list[Done], site: str, suspect: float | None, history: History) -> int:
    """Orders sent to the site while it was known to be in doubt, though another was healthy."""
    if suspect is None:
        return 0
    back = history.surely_before(site, HEALTHY, suspect)
    return sum(one.site == site and one.committed is not None and suspect < one.committed < back for one in orders)


async def _run(stage: Stage, outage: Outage) -> Found:
    found, plan = stage.found(outage.name), stage.plan
    found.repeats = plan.many if outage.name in _FREQUENT else plan.some
    rig = await stage.rig()
    calls, random = Calls(rig), Random(outage.name)
    number = 0
    while number < found.repeats:
        readmits = outage.name not in _KEPT_OUT and number < plan.some
        log = CallLog()
        await rig.get_ready()
        async with rig.client(log, order_timeout=1.5) as ems, Watch(ems) as watch:
            async with Load(ems, reads=plan.reads, orders=plan.orders) as load:
                await asyncio.sleep(plan.settle + random.random() * _CYCLE)
                site = watch.history.first
                began = monotonic()
                await outage.begin(rig, site)
                await watch.until(site, EJECTED, began, plan.hold)
                await asyncio.sleep(_AFTER)
                await outage.end(rig, site)
                ended = monotonic()
                if readmits:
                    await _readmission(found, watch, site, ended, plan.readmission)
            calls.took(load)
        await rig.calm_one(site)
        episode = Episode(site, began, ended, watch.history, log)
        is_again = is_noisy(episode) and found.counts.get("made_again", 0) < found.repeats // _AGAIN_EACH
        _take(found, episode, readmits, is_again=is_again)
        number += not is_again
        calls.log += log
    calls.check(found)
    return found


def is_noisy(episode: Episode) -> bool:
    """Whether the machine was busy before the failure: asked of what was over by then, not of what came of it."""
    kept = [one.seconds for one in episode.log.reads if one.done < episode.began and _was_kept(one, episode.site)]
    return bool(kept) and 1e3 * (quantile(kept, 0.95) - DELAYS[episode.site]) > NOISE_LIMIT


def _was_kept(read: Done, site: str) -> bool:
    """Whether it went over a connection that was used before: the first reads of a client take longer."""
    return bool(read.attempts) and all(one.site == site and one.reused for one in read.attempts)


async def _readmission(found: Found, watch: Watch, site: str, ended: float, within: float) -> None:
    back = await watch.until(site, HEALTHY, ended, within)
    if back is None:
        found.count("not_readmitted")
    else:
        found.add("readmitted", 1e3 * (back - ended))


def _take(found: Found, episode: Episode, readmits: bool, *, is_again: bool) -> None:
    """Take a failure into account: one that is made again with all but its times, of which the worst is shown."""
    values, counts = measured(episode)
    if is_again:
        found.count("made_again")
        values = {"added_when_made_again": values["added"]}
    for name, more in values.items():
        found.add(name, *more)
    for name, count in counts.items():
        found.count(name, count)
    if readmits:
        back = episode.history.surely_before(episode.site, HEALTHY, episode.ended)
        early = sum(
            one.site == episode.site and one.committed is not None and episode.ended < one.committed < back
            for one in episode.log.orders
        )
        found.count("orders_in_probation", early)


async def _kill(rig: Rig, site: str) -> None:
    await rig.sites[site].kill()


async def _restart(rig: Rig, site: str) -> None:
    await rig.sites[site].start()
    await rig.calm_one(site)


async def _freeze(rig: Rig, site: str) -> None:
    rig.sites[site].signal(SIGSTOP)


async def _thaw(rig: Rig, site: str) -> None:
    rig.sites[site].signal(SIGCONT)


async def _close(rig: Rig, site: str) -> None:
    await rig.sites[site].command(listen=False)


async def _open(rig: Rig, site: str) -> None:
    await rig.sites[site].command(stand_in="", listen=True)


def _replaced_by(kind: str) -> Act:
    async def begin(rig: Rig, site: str) -> None:
        await rig.sites[site].command(listen=False, stand_in=kind)

    return begin


_ALL: Final = (
    Outage("kill", "the process is killed: cut connections, then refused ones", _kill, _restart),
    Outage("freeze", "the process stands still: the system accepts, nobody answers", _freeze, _thaw),
    Outage("refuse", "the port is closed and its connections cut, the process lives", _close, _open),
    Outage("hole", "connections are cut, and new ones are never established", _replaced_by("hole"), _open),
    Outage("expired", "a server with an expired certificate takes its place", _replaced_by("expired"), _open),
    Outage("wrong-host", "a server with another host's certificate", _replaced_by("wrong-host"), _open),
    Outage("stall", "a server that never shakes hands", _replaced_by("stall"), _open),
)


def _scenario(outage: Outage) -> Scenario:
    return Scenario(outage.name, outage.what, lambda stage: _run(stage, outage), outage.name in _BRIEF)


OUTAGES: Final = tuple(_scenario(one) for one in _ALL)
