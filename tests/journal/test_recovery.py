"""Recovery: what a client finds unresolved in its journal, and what becomes of it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from coinapi_ems_async import (
    Accepted,
    DeadlineExceeded,
    EMSClient,
    NewOrder,
    NotSent,
    NotSentReason,
    Rejected,
    RejectReason,
    Unknown,
    UsageError,
)
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from ..conftest import ACCOUNT, EAST, WEST, an_order
from .helpers import change, client, rows, seen, until


async def test_recovery_settles_what_a_site_knows_and_keeps_what_none_does(sim: Simulator, path: Path) -> None:
    known, rejected, lost = an_order(), an_order(amount_order="100000000"), an_order()
    before = datetime.now(UTC)
    async with client(sim, path) as ems:
        walks: list[tuple[NewOrder, Literal["before", "never"]]]
        walks = [(known, "before"), (rejected, "before"), (lost, "never")]
        for order, execute in walks:
            sim.inject(Injection(operation="order_new", status=502, execute=execute))
            assert isinstance(await ems.orders.submit(order), Unknown)
    change(path, "UPDATE orders SET outcome = NULL, site = NULL, ended_at = NULL")  # as if killed before
    sim.clear()
    async with client(sim, path) as ems:
        assert set(ems.orders.unresolved) == {one.client_order_id for one in (known, rejected, lost)}
        found = await ems.orders.recover(timeout=5.0)
        assert [one.client_order_id for one in found] == [one.client_order_id for one in (known, rejected, lost)]
        assert [type(one.outcome) for one in found] == [Accepted, Rejected, Unknown]
        assert all(before <= one.sent_at <= datetime.now(UTC) for one in found)
        assert {one.exchange_id for one in found} == {ACCOUNT}
        assert json.loads(found[2].body)["client_order_id"] == lost.client_order_id
        assert list(ems.orders.unresolved) == [lost.client_order_id]
        assert isinstance(ems.orders.settled[known.client_order_id], Accepted)
        assert [outcome for _, outcome in rows(path)] == ["accepted", "rejected", None]
        assert [one.client_order_id for one in await ems.orders.recover()] == [lost.client_order_id]
    assert seen(sim) == []  # nothing is ever sent again
    async with client(sim, path) as ems:
        assert list(ems.orders.unresolved) == [lost.client_order_id]
        ems.orders.forget(lost.client_order_id)
        assert await ems.orders.recover() == []
    assert [outcome for _, outcome in rows(path)] == ["accepted", "rejected", "forgotten"]


async def test_recovery_leaves_orders_in_flight_alone(sim: Simulator, path: Path) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, delay=0.3))
    async with client(sim, path) as ems:
        placing = asyncio.create_task(ems.orders.submit(an_order()))
        await until(lambda: bool(seen(sim)), "the request")
        assert await ems.orders.recover() == []
        assert isinstance(await placing, Accepted)


async def test_any_report_settles_what_was_found(sim: Simulator, path: Path) -> None:
    order = an_order()
    async with client(sim, path) as ems:
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(order), Unknown)
    async with client(sim, path) as ems:
        await ems.orders.open()
        assert not ems.orders.unresolved
        assert await ems.orders.recover() == []
    assert rows(path) == [(order.client_order_id, "accepted")]


async def test_of_two_copies_a_rejected_report_settles_neither(sim: Simulator, path: Path) -> None:
    order = an_order(amount_order="100000000")
    async with client(sim, path, reconcile=False) as ems:
        for _ in range(2):
            sim.inject(Injection(operation="order_new", status=502, execute="before"))
            assert isinstance(await ems.orders.submit(order, allow_duplicate_id=True), Unknown)
    async with client(sim, path) as ems:
        found = await ems.orders.recover(timeout=2.0)
        assert [(type(one.outcome), one.generation) for one in found] == [(Unknown, 1), (Unknown, 2)]
        assert list(ems.orders.unresolved) == [order.client_order_id]
    assert {outcome for _, outcome in rows(path)} == {"unknown"}


@pytest.mark.parametrize("lives", [2, 3], ids=["killed-in-the-same-life", "in-a-later-life"])
async def test_an_order_refused_in_an_earlier_life_is_not_taken_for_the_one_after_it(
    path: Path, lives: int
) -> None:
    """The id is rejected at one site; its second order is in the book of the other, which does not tell."""
    order = an_order(amount_order="100000000")
    pace = Pace(reply=0, book=0, cancel=0)
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=pace, shared_orders=False) as sim:
        async with client(sim, path, reconcile=False) as ems:
            await sim.stop_site(WEST)
            assert isinstance(await ems.orders.submit(order), Rejected)
            await sim.start_site(WEST)
            if lives == 2:
                await take_unheard(sim, ems, order)
        if lives == 3:
            async with client(sim, path, reconcile=False) as ems:
                await take_unheard(sim, ems, order)
                with pytest.raises(DeadlineExceeded, match="REJECTED, which may be about another order"):
                    await ems.orders.wait_final(order.client_order_id, timeout=2.0)
        change(path, "UPDATE orders SET outcome = NULL WHERE outcome = 'unknown'")  # as if killed before
        async with client(sim, path) as ems:
            (found,) = await ems.orders.recover(timeout=1.5)
            assert isinstance(found.outcome, Unknown), "the book has it"
            assert "REJECTED, which may be about another order" in str(found.outcome.evidence)
            outcome = await ems.orders.submit(order)
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DUPLICATE
            sim.clear_injections()
            assert isinstance(await ems.orders.resolve(order.client_order_id, timeout=10), Accepted)
        assert [row[1] for row in rows(path)] == ["rejected", "accepted"]


async def take_unheard(sim: Simulator, ems: EMSClient, order: NewOrder) -> None:
    """Have the site in the west take an order, now that there is money for it, and say nothing of it."""
    sim.fund(ACCOUNT, "USDT", 10**12)
    await sim.stop_site(EAST)
    sim.inject(Injection(operation="order_new", status=502, execute="before"))
    assert isinstance(await ems.orders.submit(order), Unknown)
    assert [one.status for one in sim.orders if one.site == WEST] == ["NEW"]
    sim.inject(Injection(operation="order_status", site=WEST, status=500, times=None))
    await sim.start_site(EAST)


async def test_an_id_whose_earlier_order_was_not_sent_is_not_a_used_one(sim: Simulator, path: Path) -> None:
    order = an_order(amount_order="100000000")
    async with client(sim, path, reconcile=False) as ems:
        late = datetime.now(UTC) - timedelta(seconds=1)
        assert isinstance(await ems.orders.submit(order, not_after=late), NotSent)
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(order), Unknown)
    async with client(sim, path) as ems:
        (found,) = await ems.orders.recover()
        assert (found.generation, type(found.outcome)) == (2, Rejected)
        sim.inject(Injection(operation="order_new", status=502, execute="never"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        found_again = await ems.orders.resolve(order.client_order_id, timeout=1.0)
        assert isinstance(found_again, Unknown), "the report is of the order before it"
    assert [row[1] for row in rows(path)] == ["not sent", "rejected", "unknown"]


async def test_what_was_sent_under_an_unresolved_id_is_kept_as_long_as_it(sim: Simulator, path: Path) -> None:
    order = an_order(amount_order="100000000")
    async with client(sim, path, reconcile=False) as ems:
        assert isinstance(await ems.orders.submit(order), Rejected)
        sim.inject(Injection(operation="order_new", status=502, execute="never"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        await ems.orders.place(an_order())
    change(path, "UPDATE orders SET intended_at = intended_at - 3e6, ended_at = ended_at - 3e6")
    for _ in range(2):
        async with client(sim, path) as ems:
            (found,) = await ems.orders.recover(timeout=1.0)
            assert isinstance(found.outcome, Unknown)
    assert [row[1] for row in rows(path)] == ["rejected", "unknown", "accepted"]


async def test_recovery_keeps_to_its_time_and_gives_each_order_its_share(sim: Simulator, path: Path) -> None:
    orders = [an_order() for _ in range(40)]
    async with client(sim, path, reconcile=False) as ems:
        slow = RejectReason.EXCHANGE_RESPONSE_TIMEOUT  # the service's own word, which ejects no site
        sim.inject(Injection(operation="order_new", status=504, reject=slow, execute="before", times=40))
        await asyncio.gather(*(ems.orders.submit(order) for order in orders))
    sim.inject(Injection(operation="order_status", status=200, body=None, hang=True, times=20))
    async with client(sim, path) as ems:
        async with asyncio.timeout(10):
            found = await ems.orders.recover(timeout=2.0)
        assert len(found) == 40
        assert sum(isinstance(one.outcome, Accepted) for one in found) >= 20
        assert {one.client_order_id for one in found if isinstance(one.outcome, Unknown)} == set(
            ems.orders.unresolved
        )


async def test_without_a_journal_there_is_nothing_to_recover(ems: EMSClient) -> None:
    with pytest.raises(UsageError, match="keeps no journal"):
        await ems.orders.recover()
    assert ems.health().journal is None
