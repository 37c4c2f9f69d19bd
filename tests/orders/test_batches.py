"""Batches: every order has its own outcome, a bounded number is in flight, nothing is lost or sent twice."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    CancelOrder,
    EMSClient,
    EMSError,
    ExecutionReport,
    InvalidRequest,
    NewOrder,
    NotSent,
    NotSentReason,
    OrderNotSent,
    OrderRejected,
    OrdersFailed,
    OrderStatus,
    OrderUnknown,
    Outcome,
    Rejected,
    RejectedReason,
    Settings,
    Unknown,
    UsageError,
)
from coinapi_ems_async.resources.batches import run_batch
from coinapi_ems_async.simulator import Injection, Simulator

from ..conftest import ACCOUNT, an_order
from .helpers import asked, ids, some_orders, until

REJECT: dict[str, Any] = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "no"}


def mixed(sim: Simulator) -> list[NewOrder]:
    """Orders that end in every way there is, among others that are taken."""
    sim.inject(Injection(operation="order_new", client_order_id="refused", status=400, body=REJECT))
    sim.inject(Injection(operation="order_new", client_order_id="lost", reset=True, execute="before"))
    sim.inject(Injection(operation="order_new", client_order_id="failed", status=500, body=REJECT))
    return [
        an_order(client_order_id="first"),
        an_order(client_order_id="refused"),
        an_order(client_order_id="poor", amount_order="90000000"),
        an_order(client_order_id="nowhere", exchange_id="NOWHERE/X"),
        an_order(client_order_id="lost"),
        an_order(client_order_id="failed"),
        an_order(client_order_id="spent"),
        an_order(client_order_id="last"),
    ]


@pytest.mark.every_loop
async def test_every_order_has_its_own_outcome(sim: Simulator, ems: EMSClient) -> None:
    await ems.orders.place(an_order(client_order_id="spent"))
    orders = mixed(sim)
    told: dict[int, Outcome] = {}
    outcomes = await ems.orders.submit_many(iter(orders), on_outcome=told.__setitem__)
    assert [one.client_order_id for one in outcomes] == ids(orders)
    kinds = [Accepted, Rejected, Rejected, NotSent, Unknown, Unknown, NotSent, Accepted]
    assert [type(one) for one in outcomes] == kinds
    _, refused, poor, nowhere, lost, failed, spent, _ = outcomes
    assert isinstance(refused, Rejected)
    assert refused.reason is RejectedReason.VALIDATION
    assert isinstance(poor, Rejected)
    assert poor.reason is RejectedReason.EXCHANGE
    assert poor.report is not None
    assert isinstance(nowhere, NotSent)
    assert nowhere.reason is NotSentReason.NOT_ROUTABLE
    assert isinstance(lost, Unknown)
    assert isinstance(failed, Unknown)
    assert failed.status == 500
    assert isinstance(spent, NotSent)
    assert spent.reason is NotSentReason.DUPLICATE
    assert told == dict(enumerate(outcomes))
    assert set(ems.orders.unresolved) == {"lost", "failed"}
    assert max(Counter(asked(sim)).values()) == 1
    assert {name: sim.executions(name) for name in ids(orders)} == {
        **dict.fromkeys(("first", "poor", "lost", "spent", "last"), 1),
        **dict.fromkeys(("refused", "nowhere", "failed"), 0),
    }


async def test_place_many_returns_the_reports_in_order(sim: Simulator, ems: EMSClient) -> None:
    orders = some_orders(20)
    reports = await ems.orders.place_many(orders)
    assert [report.client_order_id for report in reports] == ids(orders)
    assert sorted(filter(None, asked(sim))) == sorted(ids(orders))
    assert await ems.orders.place_many([]) == []


async def test_place_many_raises_one_error_when_all_have_ended(sim: Simulator, ems: EMSClient) -> None:
    await ems.orders.place(an_order(client_order_id="spent"))
    orders = mixed(sim)
    with pytest.raises(OrdersFailed) as caught:
        await ems.orders.place_many(orders)
    error = caught.value
    assert isinstance(error, EMSError)
    assert [one.client_order_id for one in error.outcomes] == ids(orders)
    assert {place: type(one) for place, one in error.errors.items()} == {
        1: OrderRejected,
        2: OrderRejected,
        3: OrderNotSent,
        4: OrderUnknown,
        5: OrderUnknown,
        6: OrderNotSent,
    }
    assert all(error.errors[place].outcome is error.outcomes[place] for place in error.errors)
    assert str(error).startswith("6 of 8 orders were not taken (2 rejected, 2 not sent, 2 unknown)")
    assert "orders[1]" in str(error)
    assert error.__cause__ is error.errors[1]
    assert sim.executions("last") == 1


@pytest.mark.parametrize("transport", ["http2", "aiohttp"])
async def test_every_transport_carries_a_batch(sim: Simulator, transport: Literal["http2", "aiohttp"]) -> None:
    async with EMSClient(sim.api_key, management_url=sim.management_url, transport=transport) as ems:
        await ems.orders.place(an_order(client_order_id="spent"))
        orders = [*mixed(sim), *some_orders(100)]
        outcomes = await ems.orders.submit_many(orders)
        assert [one.client_order_id for one in outcomes] == ids(orders)
        assert max(Counter(asked(sim)).values()) == 1
        for name, outcome in zip(ids(orders), outcomes, strict=True):
            # With HTTP/2 one reset takes the answers of its connection's other orders with it.
            expected = {Accepted: {1}, NotSent: {0, 1} if name == "spent" else {0}}.get(type(outcome), {0, 1})
            assert sim.executions(name) in expected, outcome
        assert isinstance(outcomes[-1], Accepted)


# What is refused before anything is sent


async def _awaited(_place: int, _outcome: Outcome) -> None:
    raise AssertionError("nobody awaits this")


class _Awaited:
    async def __call__(self, _place: int, _outcome: Outcome) -> None: ...


BAD: dict[str, tuple[Callable[[EMSClient], Awaitable[object]], str]] = {
    "an element": (
        lambda ems: ems.orders.submit_many([an_order(), "order"]),  # type: ignore[list-item]
        r"orders\[1\]: expected a NewOrder, got str",
    ),
    "a twin": (
        lambda ems: ems.orders.submit_many(
            [an_order(client_order_id="a"), an_order(), an_order(client_order_id="a")]
        ),
        r"orders\[0\] and orders\[2\] have the same client_order_id 'a'",
    ),
    "a single order": (lambda ems: ems.orders.submit_many(an_order()), "orders must be a list"),  # type: ignore[arg-type]
    "nothing": (lambda ems: ems.orders.place_many(None), "orders must be a list"),  # type: ignore[arg-type]
    "a limit of 0": (lambda ems: ems.orders.submit_many([an_order()], limit=0), "limit must be"),
    "a limit beyond the pool": (lambda ems: ems.orders.submit_many([an_order()], limit=65), "from 1 to"),
    "a limit that is true": (lambda ems: ems.orders.submit_many([an_order()], limit=True), "limit must be"),
    "a timeout": (lambda ems: ems.orders.submit_many([an_order()], timeout=-1), "timeout must be"),
    "a naive time": (
        lambda ems: ems.orders.submit_many([an_order()], not_after=datetime(2099, 1, 1)),  # noqa: DTZ001
        "not_after is a naive",
    ),
    "a coroutine function": (
        lambda ems: ems.orders.submit_many([an_order()], on_outcome=_awaited),
        "on_outcome must be a plain function",
    ),
    "an object that is awaited": (
        lambda ems: ems.orders.submit_many([an_order()], on_outcome=_Awaited()),
        "on_outcome must be a plain function",
    ),
    "no function": (
        lambda ems: ems.orders.submit_many([an_order()], on_outcome=5),  # type: ignore[arg-type]
        "on_outcome must be a plain function",
    ),
    "a text of cancels": (lambda ems: ems.orders.cancel_many("abc", exchange_id="K"), "cancels must be a list"),
    "an id without account": (lambda ems: ems.orders.cancel_many(["abc"]), r"cancels\[0\] is a client_order_id"),
    "a malformed id": (lambda ems: ems.orders.cancel_many(["a\n"], exchange_id="K"), "client_order_id"),
    "a cancel": (
        lambda ems: ems.orders.cancel_many([CancelOrder(exchange_id="K", client_order_id="a"), 5]),  # type: ignore[list-item]
        r"cancels\[1\]: expected",
    ),
    "a limit of cancels": (lambda ems: ems.orders.cancel_many(["a"], exchange_id="K", limit=0), "limit must be"),
}


@pytest.mark.parametrize("name", BAD)
async def test_one_bad_element_and_nothing_is_sent(sim: Simulator, ems: EMSClient, name: str) -> None:
    call, said = BAD[name]
    with pytest.raises(InvalidRequest, match=said):
        await call(ems)
    assert asked(sim) == asked(sim, "order_cancel") == []


async def test_a_client_that_is_not_open(ems: EMSClient) -> None:
    for batch in (ems.orders.submit_many, ems.orders.place_many, ems.orders.cancel_many):
        assert await batch([]) == []
    await ems.aclose()
    for batch in (ems.orders.submit_many, ems.orders.place_many, ems.orders.cancel_many):
        with pytest.raises(UsageError):
            await batch([])


# The bound


async def all_in_turn(sim: Simulator, batch: "asyncio.Task[list[Outcome]]", count: int) -> list[int]:
    """Let the server hold every order until no more come, then answer them; returns how many came each time."""
    sim.inject(Injection(operation="order_new", hang=True, execute="before", times=None))
    seen: list[int] = []
    while sum(seen) < count:
        before = sum(seen)
        await until(lambda before=before: len(asked(sim)) > before, "another order")  # type: ignore[misc]  # a lambda with a default is beyond inference
        still = 0
        while still < 20:  # until the loop has nothing to bring any more
            came = len(asked(sim))
            await asyncio.sleep(0.002)
            still = still + 1 if len(asked(sim)) == came else 0
        seen.append(len(asked(sim)) - before)
        sim.release()
    await batch
    return seen


@pytest.mark.parametrize(("limit", "expected"), [(None, [8, 8, 4]), (1, [1] * 5), (20, [20]), (64, [20])])
async def test_the_bound_is_what_the_server_sees(
    sim: Simulator, ems: EMSClient, limit: int | None, expected: list[int]
) -> None:
    orders = some_orders(sum(expected))
    batch = asyncio.create_task(ems.orders.submit_many(orders, limit=limit))
    assert await all_in_turn(sim, batch, len(orders)) == expected
    assert all(isinstance(one, Accepted) for one in batch.result())


async def test_the_bound_follows_the_share_of_orders(sim: Simulator) -> None:
    settings = Settings(pool_size=8, order_share=1)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        batch = asyncio.create_task(ems.orders.submit_many(some_orders(3)))
        assert await all_in_turn(sim, batch, 3) == [1, 1, 1]


async def test_single_orders_do_not_wait_behind_a_batch(sim: Simulator, ems: EMSClient) -> None:
    """Even where reads have taken all connections that they may take."""
    sim.inject(Injection(operation="balances", hang=True, times=None))
    sim.inject(Injection(operation="order_new", hang=True, execute="before", times=8))
    reads = [asyncio.create_task(ems.balances.get(ACCOUNT)) for _ in range(60)]
    batch = asyncio.create_task(ems.orders.submit_many(some_orders(9)))
    await until(lambda: len(asked(sim)) == 8, "a batch that stands still")
    report = await ems.orders.place(an_order(client_order_id="urgent"), timeout=20)
    assert report.client_order_id == "urgent"
    assert not batch.done()
    for read in reads:
        read.cancel()
    sim.release()
    assert len(await batch) == 9
    await asyncio.gather(*reads, return_exceptions=True)


@pytest.mark.every_loop
async def test_a_thousand_orders(sim: Simulator, ems: EMSClient) -> None:
    orders = some_orders(1_000)
    ended: list[int] = []
    outcomes = await ems.orders.submit_many(
        (order for order in orders), limit=32, on_outcome=lambda place, _: ended.append(place)
    )
    assert [one.client_order_id for one in outcomes] == ids(orders)
    assert all(isinstance(one, Accepted) for one in outcomes)
    assert sorted(ended) == list(range(1_000))
    assert Counter(asked(sim)) == Counter(ids(orders))
    canceled = await ems.orders.cancel_many(orders, limit=32)
    assert all(isinstance(one, Accepted) for one in canceled)
    assert await ems.orders.open(ACCOUNT) == []


# Progress


async def test_progress_is_told_as_orders_end(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="order-0", hang=True, execute="before"))
    ended: list[int] = []

    def note(place: int, outcome: Outcome) -> None:
        assert outcome.client_order_id == f"order-{place}"
        ended.append(place)
        if len(ended) == 5:
            sim.release()

    outcomes = await ems.orders.submit_many(some_orders(6), limit=2, on_outcome=note)
    assert ended == [1, 2, 3, 4, 5, 0]
    assert [one.client_order_id for one in outcomes] == ids(some_orders(6))


async def test_a_callback_that_turns_out_to_be_async_is_told_once(
    ems: EMSClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "coinapi_ems_async.orders"):
        outcomes = await ems.orders.submit_many(some_orders(3), on_outcome=lambda *told: _awaited(*told))
    assert all(isinstance(one, Accepted) for one in outcomes)
    said = "on_outcome must not be async: it returns a coroutine, which nobody awaits"
    assert [record.getMessage() for record in caplog.records] == [said]


async def test_a_callback_that_fails_breaks_nothing(
    sim: Simulator, ems: EMSClient, caplog: pytest.LogCaptureFixture
) -> None:
    def note(place: int, _outcome: Outcome) -> None:
        raise ValueError(f"trouble at {place}")

    with caplog.at_level(logging.ERROR, "coinapi_ems_async.orders"):
        outcomes = await ems.orders.submit_many(some_orders(3), on_outcome=note)
    assert all(isinstance(one, Accepted) for one in outcomes)
    assert [record.getMessage() for record in caplog.records] == ["on_outcome raised"] * 3


# A caller that goes away


async def native(batch: "asyncio.Task[Any]") -> None:
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch


@pytest.mark.every_loop
async def test_a_cancelled_batch_sends_nothing_more_and_loses_nothing(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="order-3", hang=True, execute="before"))
    sim.inject(Injection(operation="order_new", client_order_id="order-4", hang=True, execute="before"))
    sim.inject(Injection(operation="order_new", client_order_id="order-5", hang=True, status=400, body=REJECT))
    told: dict[int, Outcome] = {}
    batch = asyncio.create_task(ems.orders.submit_many(some_orders(10), limit=3, on_outcome=told.__setitem__))
    await until(lambda: len(asked(sim)) == 6, "three orders that hang")
    await native(batch)
    assert sorted(told) == [0, 1, 2]
    assert set(ems.orders.unresolved) == {"order-3", "order-4", "order-5"}
    sim.release()
    await until(lambda: not ems.orders.unresolved, "late answers")
    assert isinstance(ems.orders.settled["order-3"], Accepted)
    assert isinstance(ems.orders.settled["order-5"], Rejected)
    assert sorted(filter(None, asked(sim))) == [f"order-{number}" for number in range(6)]
    assert [sim.executions(f"order-{number}") for number in range(10)] == [1] * 5 + [0] * 5


@pytest.mark.every_loop
@pytest.mark.parametrize("limit", [1, 4])
async def test_nothing_is_begun_once_the_caller_is_cancelled(sim: Simulator, ems: EMSClient, limit: int) -> None:
    """The cancellation comes between an order's end and the next one's beginning."""
    told: list[int] = []

    async def run() -> list[Outcome]:
        caller = asyncio.current_task()
        assert caller is not None

        def note(place: int, _outcome: Outcome) -> None:
            told.append(place)
            if len(told) == 2:
                caller.cancel()
                begun.append(len(asked(sim)))

        return await ems.orders.submit_many(some_orders(20), limit=limit, on_outcome=note)

    begun: list[int] = []
    batch = asyncio.create_task(run())
    with pytest.raises(asyncio.CancelledError):
        await batch
    await until(lambda: not ems.orders.unresolved, "late answers")
    await ems.balances.get(ACCOUNT)
    assert len(asked(sim)) <= begun[0] + limit - 1, "only what had been begun may still arrive"
    if limit == 1:
        assert told == [0, 1]
        assert asked(sim) == ["order-0", "order-1"]


@pytest.mark.every_loop
async def test_a_cancelled_scope_begins_nothing_more(sim: Simulator, ems: EMSClient) -> None:
    told: list[int] = []
    with anyio.CancelScope() as scope:

        def note(place: int, _outcome: Outcome) -> None:
            told.append(place)
            if place == 1:
                scope.cancel()

        await ems.orders.submit_many(some_orders(20), limit=1, on_outcome=note)
    assert scope.cancelled_caught
    assert told == [0, 1]
    assert asked(sim) == ["order-0", "order-1"]


@pytest.mark.every_loop
async def test_a_scope_that_was_cancelled_before_begins_nothing(sim: Simulator, ems: EMSClient) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ems.orders.submit_many(some_orders(20))
    assert scope.cancelled_caught
    await ems.balances.get(ACCOUNT)
    assert asked(sim) == []


async def test_a_timeout_of_the_callers(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="order-2", hang=True, execute="before"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ems.orders.submit_many(some_orders(5), limit=1)
    assert asked(sim) == ["order-0", "order-1", "order-2"]
    assert set(ems.orders.unresolved) == {"order-2"}
    sim.release()
    await until(lambda: not ems.orders.unresolved, "a late answer")


@pytest.mark.every_loop
async def test_orders_can_be_canceled_where_a_cancellation_is_handled(sim: Simulator, ems: EMSClient) -> None:
    orders = some_orders(20)
    outcomes: list[Outcome] = []
    placed = asyncio.Event()

    async def bot() -> None:
        await ems.orders.place_many(orders)
        try:
            placed.set()
            await asyncio.Event().wait()
        finally:
            outcomes.extend(await ems.orders.cancel_many(orders, limit=4))

    task = asyncio.create_task(bot())
    await placed.wait()
    await native(task)
    assert [type(one) for one in outcomes] == [Accepted] * 20
    assert await ems.orders.open(ACCOUNT) == []


async def test_a_client_that_closes_meanwhile(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="order-1", hang=True, execute="before"))
    batch = asyncio.create_task(ems.orders.submit_many(some_orders(4), limit=1))
    await until(lambda: len(asked(sim)) == 2, "an order that hangs")
    closing = asyncio.create_task(ems.aclose())
    await asyncio.sleep(0)
    sim.release()
    outcomes = await batch
    await closing
    assert [type(one) for one in outcomes] == [Accepted, Accepted, NotSent, NotSent]
    assert isinstance(outcomes[3], NotSent)
    assert outcomes[3].reason is NotSentReason.ABANDONED
    assert "closed" in outcomes[3].message
    assert asked(sim) == ["order-0", "order-1"]


# Limits of time, and failures that are nobody's outcome


async def test_what_comes_too_late_is_not_sent(sim: Simulator, ems: EMSClient) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    outcomes = await ems.orders.submit_many(some_orders(3), not_after=past)
    assert [one.reason for one in outcomes if isinstance(one, NotSent)] == [NotSentReason.NOT_AFTER] * 3
    assert asked(sim) == []


async def test_each_order_has_the_time_given_from_its_turn_on(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", client_order_id="order-0", hang=True))
    outcomes = await ems.orders.submit_many(some_orders(3), limit=1, timeout=0.5)
    assert [type(one) for one in outcomes] == [Unknown, Accepted, Accepted]
    sim.release()


async def test_a_bearer_supplier_that_fails_is_each_orders_own_outcome(sim: Simulator) -> None:
    turns = iter(range(1_000))

    def token() -> str:
        if next(turns) % 2 and begun:
            raise ValueError("no token today")
        return "token"

    begun: list[bool] = []
    auth = ApiKeyHeader(bearer=token)
    async with EMSClient(sim.api_key, management_url=sim.management_url, auth=auth) as ems:
        begun.append(True)
        outcomes = await ems.orders.submit_many(some_orders(6), limit=1)
        assert Counter(type(one) for one in outcomes) == {Accepted: 3, NotSent: 3}
        assert "bearer" in next(one.message for one in outcomes if isinstance(one, NotSent))
        assert len(asked(sim)) == 3
        canceled = await ems.orders.cancel_many(some_orders(6), limit=1)
        assert len(canceled) == 6
        assert not any(isinstance(one, NotSent) for one in canceled)


async def test_a_fault_of_our_own_is_unknown_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    orders = some_orders(3)

    async def send(order: NewOrder) -> Outcome:
        if order is orders[1]:
            raise KeyError("a bug")
        return Accepted(client_order_id=order.client_order_id)

    with caplog.at_level(logging.ERROR, "coinapi_ems_async.orders"):
        outcomes = await run_batch(orders, send, limit=2, on_outcome=None)
    assert [type(one) for one in outcomes] == [Accepted, Unknown, Accepted]
    assert [one.client_order_id for one in outcomes] == ids(orders)
    assert "KeyError" in str(outcomes[1])
    assert len(caplog.records) == 1


# Cancels


async def test_cancels_by_anything_that_names_an_order(sim: Simulator, ems: EMSClient) -> None:
    orders = some_orders(5)
    reports = await ems.orders.place_many(orders)
    sim.inject(Injection(operation="order_cancel", client_order_id="order-4", status=490, body=REJECT, times=None))
    named: list[CancelOrder | NewOrder | ExecutionReport | str] = [
        orders[0].client_order_id,
        orders[1],
        reports[2],
        CancelOrder(exchange_id=ACCOUNT, exchange_order_id=reports[3].exchange_order_id),
        "order-4",
        "nobody",
        "order-0",
    ]
    told: list[int] = []
    outcomes = await ems.orders.cancel_many(
        named, exchange_id=ACCOUNT, limit=1, on_outcome=lambda place, _: told.append(place)
    )
    assert [type(one) for one in outcomes] == [Accepted] * 4 + [Rejected, Rejected, Accepted]
    assert outcomes[0] is outcomes[6], "an order named twice is canceled once"
    assert told == [0, 6, 1, 2, 3, 4, 5]
    assert [one.client_order_id for one in await ems.orders.open(ACCOUNT)] == ["order-4"]
    assert asked(sim, "order_cancel").count("order-0") == 1


async def test_what_is_open_is_canceled(ems: EMSClient) -> None:
    await ems.orders.place_many(some_orders(12))
    outcomes = await ems.orders.cancel_many(await ems.orders.open(ACCOUNT))
    assert len(outcomes) == 12
    statuses = {one.report.status for one in outcomes if isinstance(one, Accepted) and one.report}
    assert statuses <= {OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED}


async def test_a_cancel_of_unknown_outcome_is_read_and_repeated_once(sim: Simulator, ems: EMSClient) -> None:
    await ems.orders.place_many(some_orders(3))
    sim.inject(Injection(operation="order_cancel", client_order_id="order-1", reset=True))
    outcomes = await ems.orders.cancel_many(ids(some_orders(3)), exchange_id=ACCOUNT)
    assert [type(one) for one in outcomes] == [Accepted] * 3
    assert asked(sim, "order_cancel").count("order-1") == 2


async def test_a_cancelled_batch_of_cancels(sim: Simulator, ems: EMSClient) -> None:
    orders = some_orders(6)
    await ems.orders.place_many(orders)
    sim.inject(Injection(operation="order_cancel", client_order_id="order-2", hang=True, execute="before"))
    batch = asyncio.create_task(ems.orders.cancel_many(orders, limit=1))
    await until(lambda: len(asked(sim, "order_cancel")) == 3, "a cancel that hangs")
    await native(batch)
    sim.release()
    await ems.balances.get(ACCOUNT)
    assert asked(sim, "order_cancel") == ["order-0", "order-1", "order-2"]
