"""Every status in place of an answer: what each means for an order, and which of them reads get over."""

import asyncio
from typing import Any, Final

from ..findings import Found
from ..load import Load
from ..ours import first_choice
from ..rig import ACCOUNT, NEAR, Rig
from .base import Calls, Scenario, Stage

__all__ = ["EXPECTED", "STATUSES"]

EXPECTED: Final = {
    **dict.fromkeys((400, 401, 403, 404, 405, 409, 429, 490, 307, 308), "rejected"),
    **dict.fromkeys((202, 204, 301, 302, 500, 502, 503, 504, 599), "unknown"),
    421: "accepted",
}
"""How an order must end whose first site answers like this; after 421 the next site may take it."""

_HITS: Final = 6


async def _run(stage: Stage) -> Found:
    found, plan = stage.found("statuses"), stage.plan
    found.repeats = max(plan.some, 1)
    rig = await stage.rig()
    calls = Calls(rig)
    statuses = list(EXPECTED)
    for number in range(found.repeats):
        status = statuses[number % len(statuses)]
        begun = len(calls.log)
        async with rig.client(calls.log, order_timeout=2.0) as ems:
            async with Load(ems, reads=plan.reads / 2, orders=plan.orders) as load:
                await asyncio.sleep(plan.settle / 2)
                site = first_choice(ems.sites, ACCOUNT) or NEAR
                await rig.sites[site].command(spoil=_spoil(rig, status))
                await asyncio.sleep(plan.spoil)
                await rig.sites[site].command(spoil={})
            calls.took(load)
        if status >= 500 or status == 421:
            found.count("failed_reads", sum(one.ended != "value" for one in calls.log[begun:] if one.is_read))
        _judge(found, calls, status)
    calls.check(found)
    return found


def _spoil(rig: Rig, status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": status, "execute": "never"}
    if status == 204 or status == 202:
        answer["body"] = ""
    if 300 <= status < 400:
        answer["headers"] = {"Location": f"{rig.decoy.url}/v1/orders"}
    return {"answers": {str(status): answer}, "times": _HITS, "kinds": "calls"}


def _judge(found: Found, calls: Calls, status: int) -> None:
    hit = calls.spoiled_as(str(status))
    for order in calls.log.orders:
        if order.client_order_id in hit:
            found.count("orders_hit")
            if order.ended != EXPECTED[status]:
                found.count("wrong_outcomes")
                found.violations.append(f"an order answered {status} ended as {order.ended}")
    found.count("wrong_outcomes", 0)


STATUSES: Final = (Scenario("statuses", "every kind of status in place of the answer", _run),)
