"""What really happened: the servers' logs beside the client's, and the rules that must hold between them.

I1 a new order is read once at most, over all sites. I2 NotSent: never read. I3 accepted, or rejected by the
server: read once. I4 unknown: once or not at all. I5 a cancel is read twice at most, all cancels of everything no
more often than they were asked for. I6 nothing goes to a site that does not serve the account. I7 nobody but the
listed sites is ever spoken to, and nobody is told anything before its certificate is good.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from .load import Done

__all__ = ["Request", "Truth", "duplicates", "read_lines", "read_truth", "violations"]

_ONCE = frozenset({"accepted", "rejected"})
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
    each order's cancel, and the cancel of everything, were asked for. moved: how often each order was answered
    421, which allows that it is sent to another site.
    """
    found = [*_orders(truth, orders, moved or {}), *_places(truth, orders, exchanges)]
    found += [f"I7: {leak}" for leak in truth.leaks]
    read = Counter(one.client_order_id for one in truth.requests if one.operation == "order_cancel")
    for name, count in read.items():
        if cancels is not None and count > 2 * cancels.get(name or "", 0):
            found.append(f"I5: the cancel of {name} was read {count} times")
    all_read = sum(one.operation == "order_cancel_all" for one in truth.requests)
    if cancels_of_all is not None and all_read > cancels_of_all:
        found.append(f"I5: {all_read} cancels of everything were read, {cancels_of_all} asked for")
    return found[:_MOST_TOLD]


def _orders(truth: Truth, orders: Sequence[Done], moved: Mapping[str, int]) -> Iterable[str]:
    read = Counter(one.client_order_id or "" for one in truth.requests if one.operation == "order_new")
    read.subtract({name: min(times, read[name] - 1) for name, times in moved.items() if read[name]})
    for name, count in read.items():
        if count > 1:
            yield f"I1: order {name} was read {count} times"
    for name, count in truth.executions.items():
        if count > 1:
            yield f"I1: order {name} was executed {count} times"
    for order in orders:
        count = read[order.client_order_id or ""]
        if order.ended == "not sent" and count:
            yield f"I2: order {order.client_order_id} was not sent, and read {count} times"
        elif order.ended in _ONCE and count != 1:
            yield f"I3: order {order.client_order_id} was {order.ended}, and read {count} times"
        elif order.ended == "unknown" and count > 1:
            yield f"I4: order {order.client_order_id} is unknown, and was read {count} times"


def _places(truth: Truth, orders: Sequence[Done], exchanges: Mapping[str, Sequence[str]]) -> Iterable[str]:
    account = {one.client_order_id: one.exchange_id for one in orders}
    for one in truth.requests:
        named = parse_qs(one.path.partition("?")[2]).get("exchange_id", [None])[0]
        wanted = named if one.client_order_id is None else account.get(one.client_order_id)
        if wanted is not None and wanted not in exchanges.get(one.site, ()):
            yield f"I6: {one.operation} of {wanted} was sent to {one.site}"


def duplicates(truth: Truth) -> int:
    """Return how many executions there were beyond one for each order."""
    return sum(count - 1 for count in truth.executions.values())
