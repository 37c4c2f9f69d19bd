"""Several orders under one id: what is learned of one is never taken for the end of another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    DeadlineExceeded,
    EMSClient,
    NewOrder,
    NotSent,
    NotSentReason,
    Outcome,
    Rejected,
    Settings,
    Unknown,
)
from coinapi_ems_async.simulator import Injection, Simulator

from .conftest import ACCOUNT, an_order
from .journal.helpers import rows, until

STRANGER = "BITMEX/JOHN"
REJECT: dict[str, Any] = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "no"}
QUIET = Settings(reconcile=False, close_wait=0.5)
ID = "1"


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(sites={"one": 0.0}) as simulator:
        yield simulator


@pytest.fixture
def told() -> list[Outcome]:
    """What `on_settled` was told."""
    return []


@pytest.fixture
async def ems(sim: Simulator, told: list[Outcome]) -> AsyncIterator[EMSClient]:
    async with EMSClient(
        sim.api_key, management_url=sim.management_url, settings=QUIET, on_settled=told.append
    ) as client:
        yield client


def mine() -> NewOrder:
    return an_order(client_order_id=ID)


def strangers(sim: Simulator) -> NewOrder:
    """Return an order of another account under the id of mine."""
    symbol = next(iter(sim.symbols(STRANGER)))
    return an_order(
        client_order_id=ID, exchange_id=STRANGER, symbol_id_coinapi=symbol, amount_order="1", price="1"
    )


def reads(sim: Simulator) -> int:
    return sum(record.operation == "order_new" for record in sim.requests)


# Another account's order


async def test_the_report_of_another_account_does_not_settle_mine(
    sim: Simulator, ems: EMSClient, told: list[Outcome]
) -> None:
    sim.inject(Injection(operation="order_new", status=502, execute="never"))
    assert isinstance(await ems.orders.submit(mine()), Unknown)
    async with EMSClient(sim.api_key, management_url=sim.management_url) as other:
        await other.orders.place(strangers(sim))
    await ems.orders.open()
    assert (await ems.orders.status(ID)).exchange_id == STRANGER
    looked = await ems.orders.resolve(ID, timeout=0.5)
    assert isinstance(looked, Unknown)
    assert STRANGER in looked.message
    assert list(ems.orders.unresolved) == [ID]
    assert told == []


async def test_the_end_of_another_accounts_order_is_not_the_end_of_mine(sim: Simulator, ems: EMSClient) -> None:
    await ems.orders.place(mine())
    ended = {"exchange_id": STRANGER, "client_order_id": ID, "status": "CANCELED"}
    sim.inject(Injection(operation="order_status", status=200, body=ended, times=None))
    sim.inject(Injection(operation="order_cancel", status=502, execute="never"))
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=ID)
    assert isinstance(outcome, Unknown)
    assert STRANGER in str(outcome.evidence[-1])
    with pytest.raises(DeadlineExceeded, match="CANCELED, which may be about another order"):
        await ems.orders.wait_final(ID, exchange_id=ACCOUNT, timeout=0.3)
    assert [report.status for report in await ems.orders.open(ACCOUNT)] == ["NEW"]


# Another order of mine


async def test_the_report_of_a_copy_in_flight_does_not_settle_the_other(
    sim: Simulator, ems: EMSClient, told: list[Outcome]
) -> None:
    sim.inject(Injection(operation="order_new", status=502, execute="never"))
    assert isinstance(await ems.orders.submit(mine()), Unknown)
    sim.inject(Injection(operation="order_new", delay=1.0))
    copy = asyncio.create_task(ems.orders.submit(mine(), allow_duplicate_id=True))
    await until(lambda: sim.executions(ID) == 1, "the copy")
    assert (await ems.orders.status(ID)).is_open
    assert list(ems.orders.unresolved) == [ID]
    assert isinstance(await copy, Accepted)
    assert (await ems.orders.status(ID)).is_open
    assert list(ems.orders.unresolved) == [ID]
    assert told == []


async def test_what_is_learned_of_one_copy_does_not_count_twice(
    sim: Simulator, ems: EMSClient, told: list[Outcome]
) -> None:
    """The first was executed and is answered late, of the second nobody ever hears."""
    sim.inject(Injection(operation="order_new", delay=1.5))
    assert isinstance(await ems.orders.submit(mine(), timeout=0.5), Unknown)
    sim.inject(Injection(operation="order_new", reset=True, execute="never"))
    assert isinstance(await ems.orders.submit(mine(), allow_duplicate_id=True), Unknown)
    assert (await ems.orders.status(ID)).is_open
    assert not told, "it may be of either"
    await until(lambda: bool(told), "the late answer")
    assert (await ems.orders.status(ID)).is_open
    assert list(ems.orders.unresolved) == [ID]
    assert [type(one) for one in told] == [Accepted]
    assert sim.executions(ID) == 1


async def test_what_became_of_the_order_before_is_not_told_of_the_next(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", status=400, body=REJECT, delay=1.0))
    assert isinstance(await ems.orders.submit(mine(), timeout=0.5), Unknown)
    await until(lambda: ID in ems.orders.settled, "the late answer")
    assert isinstance(ems.orders.settled[ID], Rejected)
    sim.inject(Injection(operation="order_new", status=502, execute="before"))
    assert isinstance(await ems.orders.submit(mine()), Unknown)
    assert ID not in ems.orders.settled
    looking = asyncio.create_task(ems.orders.resolve(ID, timeout=5))
    await asyncio.sleep(0)
    ems.orders.forget(ID)
    assert isinstance(await looking, Unknown)


# What the journal says of each


async def test_each_copy_has_its_own_end_in_the_journal(
    sim: Simulator, tmp_path: Path, told: list[Outcome]
) -> None:
    path = tmp_path / "j"
    async with EMSClient(
        sim.api_key, management_url=sim.management_url, settings=QUIET, journal=path, on_settled=told.append
    ) as ems:
        sim.inject(Injection(operation="order_new", status=400, body=REJECT, delay=1.2))
        assert isinstance(await ems.orders.submit(mine(), timeout=0.5), Unknown)
        sim.inject(Injection(operation="order_new", delay=1.2))
        assert isinstance(await ems.orders.submit(mine(), timeout=0.5, allow_duplicate_id=True), Unknown)
        await until(lambda: len(told) == 2, "both late answers")
    assert [type(one) for one in told] == [Rejected, Accepted]
    assert rows(path, "number, outcome") == [(1, "rejected"), (2, "accepted")]


async def test_a_copy_settled_meanwhile_leaves_the_other_unresolved_over_a_restart(
    sim: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "j"
    own: dict[str, Any] = {"management_url": sim.management_url, "settings": QUIET, "journal": path}
    async with EMSClient(sim.api_key, **own) as ems:
        sim.inject(Injection(operation="order_new", status=502, execute="never", delay=2.0))
        first = asyncio.create_task(ems.orders.submit(mine()))
        await until(lambda: reads(sim) == 1, "the first")
        sim.inject(Injection(operation="order_new", delay=0.2))
        second = asyncio.create_task(ems.orders.submit(mine(), allow_duplicate_id=True))
        await until(lambda: reads(sim) == 2, "the second")
        second.cancel()
        assert isinstance(await first, Unknown)
    assert rows(path, "number, outcome") == [(1, "unknown"), (2, "accepted")]
    async with EMSClient(sim.api_key, **own) as ems:
        (found,) = await ems.orders.recover(timeout=0.5)
        assert (found.generation, type(found.outcome)) == (1, Unknown)
        assert list(ems.orders.unresolved) == [ID]


async def test_a_copy_that_was_never_sent_is_recorded_as_that(sim: Simulator, tmp_path: Path) -> None:
    path, is_asked = tmp_path / "j", asyncio.Event()

    async def token() -> str:
        if reads(sim):
            is_asked.set()
            await asyncio.Event().wait()
        return "token"

    own: dict[str, Any] = {"management_url": sim.management_url, "settings": QUIET, "journal": path}
    async with EMSClient(sim.api_key, auth=ApiKeyHeader(bearer=token), **own) as ems:
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(mine()), Unknown)
        copy = asyncio.create_task(ems.orders.submit(mine(), allow_duplicate_id=True))
        await is_asked.wait()
        copy.cancel()
        await asyncio.wait({copy})
    assert rows(path, "outcome, reason") == [("unknown", None), ("not sent", "abandoned")]
    async with EMSClient(sim.api_key, **own) as ems:
        (found,) = await ems.orders.recover()
        assert isinstance(found.outcome, Accepted)


async def test_that_an_id_was_taken_is_known_after_a_restart_however_many_orders_came_since(
    sim: Simulator, tmp_path: Path
) -> None:
    settings = Settings(reconcile=False, close_wait=0.5, remembered_orders=2)
    own: dict[str, Any] = {"management_url": sim.management_url, "settings": settings, "journal": tmp_path / "j"}
    async with EMSClient(sim.api_key, **own) as ems:
        await ems.orders.place(mine())
        sim.inject(Injection(operation="order_new", status=502, execute="never"))
        assert isinstance(await ems.orders.submit(mine(), allow_duplicate_id=True), Unknown)
        for _ in range(5):
            await ems.orders.place(an_order())
        assert (await ems.orders.status(ID)).is_open
        assert list(ems.orders.unresolved) == [ID]
    async with EMSClient(sim.api_key, **own) as ems:
        (found,) = await ems.orders.recover(timeout=0.5)
        assert (found.generation, type(found.outcome)) == (2, Unknown)


# What HTTP/2 proves late


@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "out-of-time"])
async def test_a_stream_refused_after_the_caller_went_away_was_not_sent(
    sim: Simulator, tmp_path: Path, told: list[Outcome], is_cancelled: bool
) -> None:
    path = tmp_path / "j"
    async with EMSClient(
        sim.api_key,
        management_url=sim.management_url,
        settings=QUIET,
        transport="http2",
        journal=path,
        on_settled=told.append,
    ) as ems:
        sim.inject(Injection(operation="order_new", refuse_stream=True, delay=1.0))
        placing = asyncio.create_task(ems.orders.submit(mine(), timeout=30 if is_cancelled else 0.5))
        await until(lambda: reads(sim) == 1, "the request")
        if is_cancelled:
            placing.cancel()
        await asyncio.wait({placing})
        assert ID in ems.orders.unresolved
        await until(lambda: bool(told), "the refusal")
        (outcome,) = told
        assert isinstance(outcome, NotSent)
        assert outcome.reason is NotSentReason.NOT_PROCESSED
        assert ID not in ems.orders.unresolved
        assert isinstance(await ems.orders.submit(mine()), Accepted)  # its id is free
    assert [row[1] for row in rows(path)] == ["not sent", "accepted"]
    assert sim.executions(ID) == 1
