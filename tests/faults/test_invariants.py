"""The invariants themselves: each one bites, and what is right passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    AttemptRecord,
    CallRecord,
    EMSClient,
    NotSent,
    NotSentReason,
    Phase,
    Rejected,
    RejectedReason,
    Unknown,
)
from coinapi_ems_async.invariants import Ended, Told, check, recorded, told, violations
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.simulator import Injection, Simulator

from ..conftest import ACCOUNT, an_order


@dataclass
class Seen:
    site: str = "east"
    operation: str = "order_new"
    client_order_id: str | None = "a"
    status: int | None = None
    path: str = "/v1/orders"


def attempt(phase: Phase = Phase.ANSWERED, **fields: Any) -> AttemptRecord:
    return AttemptRecord(site="east", phase=phase, milliseconds=1.0, **fields)


def executed(count: int) -> Callable[[str], int]:
    return lambda _name: count


def order(ended: Ended, *attempts: AttemptRecord) -> Told:
    return Told("order_new", ended, "a", "KRAKEN", attempts)


DISOWNED = attempt(Phase.COMMITTED, failure=Row.REFUSED_STREAM.value)
LOST = attempt(Phase.COMMITTED, failure=Row.LOST.value)
WAITING = attempt(Phase.WAITING)


@pytest.mark.parametrize(
    ("call", "reads", "count"),
    [
        (order("accepted", attempt(status=200)), 1, 1),
        (order("accepted", DISOWNED, attempt(status=200)), 2, 1),
        (order("rejected", attempt(status=200)), 1, 1),
        (order("refused", attempt(status=400)), 1, 0),
        (order("not sent", WAITING), 0, 0),
        (order("accepted", attempt(status=421), attempt(status=200)), 2, 1),
        (order("not sent", DISOWNED, WAITING), 1, 0),
        (order("not sent"), 0, 0),
        (order("not processed", DISOWNED, DISOWNED), 2, 0),
        (order("unknown", LOST), 0, 0),
        (order("unknown", LOST), 1, 1),
        (Told("order_new", "cancelled", "a"), 1, 1),
        (Told("order_new", "cancelled", "a"), 0, 0),
    ],
)
def test_what_is_right_passes(call: Told, reads: int, count: int) -> None:
    assert violations([Seen()] * reads, executed(count), [call]) == []
    check([Seen()] * reads, executed(count), [call])


@pytest.mark.parametrize(
    ("rule", "call", "reads", "count"),
    [
        ("I1", order("unknown", LOST, LOST), 2, 2),
        ("I1", Told("order_new", "cancelled", "a"), 2, 2),
        ("I1", order("unknown", LOST), 2, 1),
        ("I1", order("accepted", LOST, attempt(status=200)), 1, 1),
        ("I1", order("accepted", attempt(status=429), attempt(status=200)), 2, 1),
        ("I2", order("not sent", WAITING), 0, 1),
        ("I2", order("not sent", WAITING), 1, 0),
        ("I2", order("not sent", LOST), 0, 0),
        ("I2", order("not processed", DISOWNED), 1, 1),
        ("I2", order("not processed", LOST), 0, 0),
        ("I3", order("accepted", attempt(status=200)), 1, 0),
        ("I3", order("rejected", attempt(status=200)), 1, 0),
        ("I3", order("refused", attempt(status=400)), 1, 1),
        ("I3", order("accepted", LOST), 1, 1),
        ("I3", order("refused", attempt(status=400)), 0, 0),
        ("I4", order("unknown", WAITING), 0, 0),
    ],
)
def test_each_rule_of_orders_bites(rule: str, call: Told, reads: int, count: int) -> None:
    found = violations([Seen()] * reads, executed(count), [call])
    assert rule in {line.partition(":")[0] for line in found}
    with pytest.raises(AssertionError, match=rule):
        check([Seen()] * reads, executed(count), [call])


def cancel(*attempts: AttemptRecord) -> Told:
    return Told("order_cancel", "unknown", "a", "KRAKEN", attempts)


@pytest.mark.parametrize(
    ("calls", "statuses", "is_right"),
    [
        ([cancel(LOST, LOST)], [None, None], True),
        ([cancel(LOST, LOST, LOST)], [None, None, None], False),
        ([cancel(LOST, LOST, LOST)], [490, None, None], True),
        ([cancel(LOST, attempt(status=404), LOST)], [None, None, None], True),
        ([cancel(DISOWNED, LOST, LOST)], [None, None, None], True),
        ([cancel(LOST), cancel(LOST)], [None] * 4, True),
        ([], [200], False),
    ],
)
def test_a_cancel_is_read_twice_at_most(calls: list[Told], statuses: list[int | None], is_right: bool) -> None:
    reads = [Seen(operation="order_cancel", status=status) for status in statuses]
    found = violations(reads, executed(1), calls)
    assert [line.partition(":")[0] for line in found] == ([] if is_right else ["I5"])


@pytest.mark.parametrize(("ended", "copies", "is_right"), [("unknown", 1, True), ("unknown", 2, False)])
def test_a_cancel_all_is_read_once(ended: Ended, copies: int, is_right: bool) -> None:
    reads = [Seen(operation="order_cancel_all", client_order_id=None)] * copies
    found = violations(reads, executed(0), [Told("order_cancel_all", ended, None, "KRAKEN", (LOST,))])
    assert bool(found) is not is_right
    assert violations(reads, executed(0), [Told("order_cancel_all", "not sent", None, "KRAKEN", ())])


def test_only_sites_that_serve_the_account_are_asked() -> None:
    calls = [order("accepted", attempt(status=200))]
    assert violations([Seen()], executed(1), calls, capable={"KRAKEN": ["east"]}) == []
    assert violations([Seen()], executed(1), calls, capable={"DERIBIT": ["west"]}) == []
    (found,) = violations([Seen()], executed(1), calls, capable={"KRAKEN": ["west"]})
    assert found.startswith("I6: order_new of a for KRAKEN was read at east")


def test_nor_is_anything_else_of_the_account_asked_elsewhere() -> None:
    read = Seen(operation="balances", client_order_id=None, path="/v1/balances?exchange_id=KRAKEN%2FJOHN")
    assert violations([read], executed(0), [], capable={"KRAKEN/JOHN": ["east"]}) == []
    (found,) = violations([read], executed(0), [], capable={"KRAKEN/JOHN": ["west"]})
    assert found == "I6: balances for KRAKEN/JOHN was read at east"


def test_the_key_is_shown_to_listed_hosts_only() -> None:
    assert violations([], executed(0), [], key_seen_at=["a"], listed=["a", "b"]) == []
    assert violations([], executed(0), [], key_seen_at=["c"], listed=["a"]) == ["I7: the key was shown to c"]


def test_an_order_that_nobody_told_of_is_executed_once_at_most() -> None:
    assert violations([Seen()], executed(1), []) == []
    assert violations([Seen()], executed(2), [])[0].startswith("I1")
    assert violations([Seen()] * 2, executed(1), [])[0].startswith("I1")


def test_many_contradictions_are_counted_not_all_shown() -> None:
    calls = [Told("order_new", "accepted", str(number), "KRAKEN", (attempt(),)) for number in range(100)]
    with pytest.raises(AssertionError, match="and 80 more"):
        check([Seen(client_order_id=call.client_order_id) for call in calls], executed(0), calls)


def test_what_an_outcome_tells() -> None:
    ends = [
        told("order_new", outcome, client_order_id="a", exchange_id="KRAKEN").ended
        for outcome in (
            None,
            Accepted(client_order_id="a"),
            Rejected(client_order_id="a", reason=RejectedReason.VALIDATION, status=400),
            NotSent(client_order_id="a", reason=NotSentReason.DEADLINE),
            NotSent(client_order_id="a", reason=NotSentReason.NOT_PROCESSED),
            Unknown(client_order_id="a"),
        )
    ]
    assert ends == ["cancelled", "accepted", "refused", "not sent", "not processed", "unknown"]


@pytest.mark.parametrize(
    ("operation", "ended", "attempts", "expected"),
    [
        ("order_new", "accepted", (attempt(status=200),), "accepted"),
        ("order_new", "rejected", (attempt(status=200),), "rejected"),
        ("order_new", "rejected", (attempt(status=421), attempt(status=400)), "refused"),
        ("order_new", "not sent", (), "not sent"),
        ("order_new", "not sent", (DISOWNED, WAITING), "not sent"),
        ("order_new", "not sent", (DISOWNED,), "not processed"),
        ("order_cancel", "unknown", (LOST,), "unknown"),
        ("order_new", "cancelled", (WAITING,), "cancelled"),
        ("order_new", "RuntimeError", (), "cancelled"),
        ("positions", "value", (attempt(status=200),), "read"),
        ("order_status", "OrderNotFound", (attempt(status=404),), "read"),
    ],
)
def test_what_a_record_tells(
    operation: str, ended: str, attempts: tuple[AttemptRecord, ...], expected: Ended
) -> None:
    found = recorded(CallRecord(operation=operation, ended=ended, client_order_id="a", attempts=attempts))
    known = None if expected == "cancelled" else attempts
    assert found == Told(operation, expected, "a", None, known)


async def test_a_bot_is_checked_by_its_hook_and_the_servers_logs(sim: Simulator) -> None:
    calls: list[CallRecord] = []
    orders = [an_order() for _ in range(3)]
    sim.inject(Injection(operation="order_new", status=504, execute="before"))
    sim.inject(Injection(operation="order_new", status=400))
    async with EMSClient(sim.api_key, management_url=sim.management_url, on_call=calls.append) as ems:
        for order in orders:
            await ems.orders.submit(order)
        await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=orders[2].client_order_id)
        await ems.balances.get()
    found = list(map(recorded, calls))
    assert [one.ended for one in found if one.operation == "order_new"] == ["unknown", "refused", "accepted"]
    check(sim.requests, sim.executions, found)
    with pytest.raises(AssertionError, match="I3"):
        check(sim.requests, lambda _name: 0, found)
