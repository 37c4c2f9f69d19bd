"""A site that answers wrongly, or not to the end: what becomes of the calls that are hit."""

import asyncio
from collections.abc import Mapping
from statistics import median
from time import monotonic
from typing import Any, Final, NamedTuple

from ..findings import Found
from ..load import Done, Load
from ..ours import HEALTHY
from ..watch import Watch
from .base import Calls, Scenario, Stage

__all__ = ["SPOILED", "Hits", "hits_of"]

_HITS: Final = 3
"""Answers spoiled in each repeat, fewer than the budget for repeated reads holds; every other time of orders."""
_PAUSE: Final = 0.3
_HEALING: Final = 4.0
_PLAN_SECONDS: Final = 0.12
_HEAD: Final = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_BODY: Final = '{"exchange_id": "KRAKEN/JOHN", "client_order_id": "'


class Spoiling(NamedTuple):
    """One way to spoil answers. answers: of a `Spoil`; plan: of a `FaultPlan` on the wire, instead.

    is_success: whether a spoiled answer may rightly be taken as one in the end.
    """

    name: str
    what: str
    answers: Mapping[str, Any] = {}
    plan: Mapping[str, Any] = {}
    is_success: bool = False


class Hits(NamedTuple):
    """What became of the calls that were hit: what it cost reads to get their value, s, and how orders ended."""

    read_costs: list[float]
    failed_reads: int
    orders: dict[str, int]


def hits_of(reads: list[Done], orders: list[Done], spoiled: frozenset[str], normal: float) -> Hits:
    """Return what became of reads that took more than one attempt or failed, and of the orders in `spoiled`."""
    retried = [one for one in reads if len(one.sites) > 1 or one.ended != "value"]
    found: dict[str, int] = {}
    for order in orders:
        if order.client_order_id in spoiled:
            found[order.ended] = found.get(order.ended, 0) + 1
    costs = [one.seconds - normal for one in retried if one.ended == "value"]
    return Hits(costs, sum(one.ended != "value" for one in retried), found)


async def _run(stage: Stage, spoiling: Spoiling) -> Found:
    found, plan = stage.found(spoiling.name), stage.plan
    found.repeats = plan.some
    rig = await stage.rig("proxied", proxied=True) if spoiling.plan else await stage.rig()
    calls = Calls(rig)
    async with rig.client(calls.log, order_timeout=2.0) as ems, Watch(ems) as watch:
        async with Load(ems, reads=plan.reads, orders=plan.orders) as load:
            await asyncio.sleep(plan.settle)
            for number in range(found.repeats):
                site, began = watch.history.first, monotonic()
                if spoiling.plan:
                    await rig.sites[site].command(plan={**spoiling.plan, "seed": number + 1})
                    await asyncio.sleep(_PLAN_SECONDS)
                    await rig.sites[site].command(plan={})
                else:
                    kinds = "orders" if number % 2 else "calls"
                    spoil = {"answers": spoiling.answers, "times": _HITS, "kinds": kinds, "seed": number + 1}
                    await rig.sites[site].command(spoil=spoil)
                    await asyncio.sleep(plan.spoil)
                    await rig.sites[site].command(spoil={})
                await _healed(found, watch, site, began, 0.0 if plan.short else _HEALING)
        calls.took(load)
    await rig.calm()
    _judge(found, calls, spoiling)
    calls.check(found)
    return found


async def _healed(found: Found, watch: Watch, site: str, began: float, within: float) -> None:
    """Note what the client thought of the site, and wait until it thinks well of it."""
    states = [one.after for one in watch.history.events if one.site == site and one.at >= began]
    for state in ("suspect", "ejected"):
        found.count(f"repeats_{state}", state in states)
    if states and states[-1] != HEALTHY:
        await watch.until(site, HEALTHY, monotonic(), within)
    await asyncio.sleep(_PAUSE if within else 0.05)


def _judge(found: Found, calls: Calls, spoiling: Spoiling) -> None:
    log = calls.log
    lines = [line for line in calls.spoiled() if line["operation"] == "order_new"]
    spoiled = frozenset(str(line["client_order_id"]) for line in lines)
    if spoiling.plan:
        spoiled = frozenset(one.client_order_id or "" for one in log.orders if one.ended != "accepted")
    single = [one.seconds for one in log.reads if one.ended == "value" and len(one.sites) == 1]
    hits = hits_of(log.reads, log.orders, spoiled, median(single) if single else 0.0)
    found.add("read_cost", *(1e3 * cost for cost in hits.read_costs))
    found.add("slowest_read", 1e3 * max((one.seconds for one in log.reads), default=0.0))
    found.count("failed_reads", hits.failed_reads)
    found.count("orders_hit", sum(hits.orders.values()))
    for ended, number in hits.orders.items():
        found.count(f"orders_{ended.replace(' ', '_')}", number)
    if not spoiling.is_success:
        found.count("taken_as_success", hits.orders.get("accepted", 0))


def _answer(name: str, what: str, is_success: bool = False, **fields: Any) -> Spoiling:
    return Spoiling(name, what, answers={name: {"execute": "before", **fields}}, is_success=is_success)


def _wire(name: str, what: str, is_success: bool = False, **plan: Any) -> Spoiling:
    return Spoiling(name, what, plan={"rate": 0.3, **plan}, is_success=is_success)


_ALL: Final = (
    _wire(
        "reset-before-read",
        "a reset in place of a request's first byte",
        actions=["reset"],
        directions=["request"],
        within=0,
    ),
    _wire(
        "reset-after-head",
        "a reset when part of a request has gone through",
        actions=["reset"],
        directions=["request"],
        within=160,
    ),
    _answer("reset-after-request", "a reset in place of the answer; the order is executed", reset=True),
    _answer("reset-mid-response", "a reset in the middle of the body", truncate=40, end="reset"),
    _answer("fin", "the connection is closed in order, in place of the answer", raw="", end="fin"),
    _answer("partial-head", "a head that ends with the connection", raw=_HEAD + "Content-Le", end="fin"),
    _answer("garbage", "what is not HTTP", raw="\x00\xff\x13\x37 nothing of the kind\r\n\r\n", end="fin"),
    _answer(
        "wrong-length",
        "a body shorter than its length says",
        raw=f"{_HEAD}Content-Length: 900\r\n\r\n{_BODY}",
        end="fin",
    ),
    _answer("bad-json", "200, and a body that is not JSON", body=_BODY),
    _wire(
        "slow-body",
        "16 bytes of the answer every 20 ms",
        is_success=True,
        actions=["drip"],
        directions=["response"],
        within=0,
        seconds=2.0,
    ),
)


_BRIEF: Final = frozenset({"reset-before-read", "partial-head", "bad-json"})


def _scenario(spoiling: Spoiling) -> Scenario:
    return Scenario(spoiling.name, spoiling.what, lambda stage: _run(stage, spoiling), spoiling.name in _BRIEF)


SPOILED: Final = tuple(_scenario(one) for one in _ALL)
