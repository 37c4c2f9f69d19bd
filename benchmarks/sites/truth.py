"""What really happened: the servers' logs beside the client's, and the rules that must hold between them.

The rules are those of `coinapi_ems_async.invariants`. Here I7 says more: nobody but the listed sites is ever
spoken to, and nobody is told anything before its certificate is good.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coinapi_ems_async import CallRecord
from coinapi_ems_async.invariants import Told, recorded
from coinapi_ems_async.invariants import violations as contradictions

from .load import Done

__all__ = ["Request", "Truth", "duplicates", "read_lines", "read_truth", "violations"]

_MOST_TOLD = 20


class Request(NamedTuple):
    """One request that a server has read to its end."""

    time: float
    site: str
    operation: str
    client_order_id: str | None
    connection: int
    path: str


class Truth(NamedTuple):
    """What the servers read, how often each order was executed, and what clients told whom they must not trust."""

    requests: list[Request]
    executions: Counter[str]
    leaks: list[str]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of lines of JSON; none if there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_truth(folder: Path, sites: Iterable[str], since: float = 0.0) -> Truth:
    """Return what the logs in the folder of a rig say, requests from `since` on."""
    requests, executions, leaks = [], Counter[str](), []
    for site in sites:
        for line in read_lines(folder / f"{site}.requests.jsonl"):
            if "executed" in line:
                executions[line["executed"]] += 1
            elif line["time"] >= since:
                requests.append(Request(*(line[name] for name in Request._fields)))
        told = [line for line in read_lines(folder / f"{site}.clients.jsonl") if "heard" in line]
        leaks += [f"{one['heard']} bytes were sent to {site} with the certificate {one['by']}" for one in told]
    told = read_lines(folder / "decoy.requests.jsonl")
    leaks += [f"{one.get('method')} {one.get('path')} was sent to a host that is not listed" for one in told]
    return Truth(sorted(requests), executions, leaks)


def violations(
    truth: Truth,
    orders: Sequence[Done],
    *,
    exchanges: Mapping[str, Sequence[str]],
    cancels: Mapping[str, int] | None = None,
    cancels_of_all: int | None = None,
    moved: Mapping[str, int] | None = None,
) -> list[str]:
    """Return what breaks a rule; empty if nothing does.

    orders: every new order that ended. exchanges: site -> accounts it serves. cancels, cancels_of_all: how often
    each order's cancel, and the cancel of everything, were asked for; None if that is not counted. moved: how
    often each order was answered 421, which allows that it is sent to another site.
    """
    asked = {"order_cancel": cancels, "order_cancel_all": cancels_of_all}
    accounts = {name for served in exchanges.values() for name in served}
    accounts |= {one.exchange_id for one in orders if one.exchange_id is not None}
    found = contradictions(
        [one for one in truth.requests if asked.get(one.operation, 0) is not None],
        truth.executions.__getitem__,
        [*map(_told, orders), *_cancels(cancels or {}, cancels_of_all or 0)],
        capable={name: [site for site, served in exchanges.items() if name in served] for name in accounts},
    )
    found += _moves(orders, moved or {})
    named = {one.client_order_id for one in orders} | {one.client_order_id for one in truth.requests}
    unheard = {name: count for name, count in truth.executions.items() if name not in named}
    found += [f"I1: {name} was executed {count} times" for name, count in unheard.items() if count > 1]
    return [*found, *(f"I7: {leak}" for leak in truth.leaks)][:_MOST_TOLD]


def _told(order: Done) -> Told:
    names = ("operation", "ended", "client_order_id", "exchange_id", "attempts")
    return recorded(CallRecord(**{name: getattr(order, name) for name in names}))


def _cancels(of_one: Mapping[str, int], of_all: int) -> Iterator[Told]:
    """Yield the calls that may have sent a cancel; nothing is held against how they ended."""
    for name, count in of_one.items():
        yield from [Told("order_cancel", "cancelled", name, None, ())] * count
    yield from [Told("order_cancel_all", "cancelled", None, None, ())] * of_all


def _moves(orders: Sequence[Done], moved: Mapping[str, int]) -> Iterator[str]:
    """The servers' word on what they sent away, beside what the client says of it."""
    for order in orders:
        told, said = _told(order).sent_away, moved.get(order.client_order_id or "", 0)
        if told > said + sum(one.status == 490 for one in order.attempts):
            yield f"I1: order {order.client_order_id} was sent away {told} times, and by servers {said} times"


def duplicates(truth: Truth) -> int:
    """Return how many executions there were beyond one for each order."""
    return sum(count - 1 for count in truth.executions.values())
