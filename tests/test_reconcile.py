"""What becomes of orders of unknown outcome: they are looked for, settled by any report, and never sent again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    EMSClient,
    InvalidRequest,
    NotSent,
    Outcome,
    Rejected,
    RejectReason,
    Settings,
    Unknown,
)
from coinapi_ems_async.calls import Try
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.operations import Request
from coinapi_ems_async.reconcile import Reconciler
from coinapi_ems_async.simulator import Injection, Simulator
from coinapi_ems_async.sites.roster import SiteEntry

from .conftest import ACCOUNT, EAST, OREGON, WEST, an_order, three_sites
from .sites.fakes import Clock, make_roster, table

NEAR, FAR = EAST, WEST
QUICK = Settings(late_answer=0.2, close_wait=0.5)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with three_sites() as simulator:
        yield simulator


def a_client(
    sim: Simulator, settings: Settings = QUICK, on_settled: Callable[[Outcome], object] | None = None
) -> EMSClient:
    return EMSClient(sim.api_key, management_url=sim.management_url, settings=settings, on_settled=on_settled)


@pytest.fixture
async def ems(sim: Simulator) -> AsyncIterator[EMSClient]:
    async with a_client(sim) as client:
        yield client


def asked(sim: Simulator, operation: str) -> list[str]:
    return [record.site for record in sim.requests if record.operation == operation]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_executed_order_is_found_and_its_owner_told_once(sim: Simulator) -> None:
    told: list[Outcome] = []
    async with a_client(sim, on_settled=told.append) as ems:
        order = an_order()
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        outcome = await ems.orders.resolve(order.client_order_id)
        assert isinstance(outcome, Accepted)
        assert outcome.report is not None
        assert outcome.report.is_open
        assert not ems.orders.unresolved
        assert ems.orders.settled[order.client_order_id] == outcome
        assert await ems.orders.resolve(order.client_order_id) == outcome  # told again whenever asked
        await until(lambda: told)
    assert told == [outcome]
    assert sim.executions(order.client_order_id) == 1
    assert asked(sim, "order_new") == [NEAR]


async def test_a_refused_one_is_found_too(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(amount_order="100000000")  # more than the account holds
    sim.inject(Injection(operation="order_new", status=504, body="", execute="before"))
    assert isinstance(await ems.orders.submit(order), Unknown)
    outcome = await ems.orders.resolve(order.client_order_id)
    assert isinstance(outcome, Rejected)
    assert outcome.report is not None


async def test_one_that_is_on_its_way_is_found_when_it_arrives(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=502, execute="before", hide=0.6))
    assert isinstance(await ems.orders.submit(order), Unknown)
    outcome = await ems.orders.resolve(order.client_order_id)
    assert isinstance(outcome, Accepted)
    assert len(asked(sim, "order_status")) > 1
    assert asked(sim, "order_status")[0] == NEAR  # its own site is asked first


async def test_that_nobody_knows_it_proves_nothing(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=502, execute="never"))
    assert isinstance(await ems.orders.submit(order), Unknown)
    outcome = await ems.orders.resolve(order.client_order_id, timeout=0.7)
    assert isinstance(outcome, Unknown)
    assert order.client_order_id in ems.orders.unresolved
    misses = Counter(one.site for one in outcome.evidence if one.status == 404)
    assert misses[NEAR] >= 2
    assert set(misses) == {NEAR, FAR, OREGON}
    assert isinstance(await ems.orders.submit(order), NotSent)  # its id stays spent
    assert asked(sim, "order_new") == [NEAR]
    ems.orders.forget(order.client_order_id)
    looks = len(asked(sim, "order_status"))
    await asyncio.sleep(0.8)
    assert len(asked(sim, "order_status")) <= looks + 3  # what was under way; nobody looks any more


async def test_that_one_stays_unresolved_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def look_at(entry: SiteEntry, request: Request, until: float) -> Try:
        raise AssertionError("there is no site to look at")

    ledger = OrderLedger(10)
    reconciler = Reconciler(
        make_roster(table(), Clock()), ledger, Settings(), look_at, ended=lambda: None, rounds=(0.0, 0.001)
    )
    ledger.doubt("lost", exchange_id=ACCOUNT, site=None)
    for _ in range(3):
        await reconciler.resolve("lost", 0.05)
    assert caplog.text.count("order lost is still unresolved") == 1
    ledger.forget("lost")
    reconciler.settled("lost")
    ledger.doubt("lost", exchange_id=ACCOUNT, site=None)
    await reconciler.resolve("lost", 0.05)
    assert caplog.text.count("order lost is still unresolved") == 2, "it is another order of that id"
    await reconciler.aclose()


async def test_it_can_be_switched_off(sim: Simulator) -> None:
    async with a_client(sim, Settings(reconcile=False)) as ems:
        order = an_order()
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        await asyncio.sleep(0.1)
        assert asked(sim, "order_status") == []
        assert isinstance(await ems.orders.resolve(order.client_order_id), Accepted)


async def test_only_an_order_of_unknown_outcome_can_be_resolved(ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    for name in (order.client_order_id, "never-heard-of"):
        with pytest.raises(InvalidRequest, match="not an unresolved order"):
            await ems.orders.resolve(name)


async def test_a_late_answer_on_its_own_connection_settles_it(sim: Simulator) -> None:
    async with a_client(sim, Settings(reconcile=False, late_answer=5.0)) as ems:
        order = an_order()
        sim.inject(Injection(operation="order_new", delay=0.3))
        assert isinstance(await ems.orders.submit(order, timeout=0.1), Unknown)
        await until(lambda: order.client_order_id in ems.orders.settled)
        assert isinstance(ems.orders.settled[order.client_order_id], Accepted)
        assert asked(sim, "order_status") == []


async def test_the_order_of_a_cancelled_caller_goes_on(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", delay=0.2))
    placing = asyncio.create_task(ems.orders.place(order))
    await until(lambda: asked(sim, "order_new"))
    placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing
    assert order.client_order_id in ems.orders.unresolved
    outcome = await ems.orders.resolve(order.client_order_id)
    assert isinstance(outcome, Accepted)
    assert sim.executions(order.client_order_id) == 1


async def test_the_lost_order_of_a_cancelled_caller_is_looked_for(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", execute="before", delay=0.2, reset=True))
    placing = asyncio.create_task(ems.orders.place(order))
    await until(lambda: asked(sim, "order_new"))
    placing.cancel()
    await asyncio.wait([placing])
    await until(lambda: order.client_order_id in ems.orders.settled)
    assert isinstance(ems.orders.settled[order.client_order_id], Accepted)


async def test_a_bearer_supplier_that_fails_meanwhile_does_not_end_the_looking(sim: Simulator) -> None:
    fails = iter([False, True, True])  # the order has a token, the first looks have none

    async def supplier() -> str:
        if next(fails, False):
            raise RuntimeError("no token now")
        return "token"

    auth = ApiKeyHeader(bearer=supplier)
    async with EMSClient(
        sim.api_key, management_url=sim.management_url, settings=Settings(reconcile=False), auth=auth
    ) as ems:
        fails = iter([False, True, True])
        order = an_order()
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        outcome = await ems.orders.resolve(order.client_order_id)
        assert isinstance(outcome, Accepted)
    assert next(fails, None) is None


async def test_many_are_looked_for_at_a_time(sim: Simulator, ems: EMSClient) -> None:
    orders = [an_order() for _ in range(40)]
    slow = RejectReason.EXCHANGE_RESPONSE_TIMEOUT  # the service's own word, which ejects no site
    sim.inject(Injection(operation="order_new", status=504, reject=slow, execute="before", times=40))
    outcomes = await asyncio.gather(*(ems.orders.submit(order) for order in orders))
    assert all(isinstance(outcome, Unknown) for outcome in outcomes)
    await until(lambda: not ems.orders.unresolved)
    assert len(ems.orders.settled) == 40
    assert all(sim.executions(order.client_order_id) == 1 for order in orders)


async def test_closing_waits_a_bounded_time_and_says_what_is_left(
    sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    order = an_order()
    async with a_client(sim, Settings(close_wait=0.3)) as ems:
        sim.inject(Injection(operation="order_new", status=502, execute="never"))
        await ems.orders.submit(order)
        async with asyncio.timeout(5):
            await ems.aclose()
    assert order.client_order_id in ems.orders.unresolved
    assert f"closing with orders unresolved: {order.client_order_id}" in caplog.text


async def test_closing_lets_the_looking_go_on(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    order = an_order()
    caplog.set_level("INFO")
    async with a_client(sim, Settings(close_wait=5.0)) as ems:
        sim.inject(Injection(operation="order_new", status=502, execute="before", hide=0.3))
        await ems.orders.submit(order)
    assert not ems.orders.unresolved
    assert isinstance(ems.orders.settled[order.client_order_id], Accepted)
    assert "suspect" not in caplog.text  # what is given up for closing says nothing of the sites


# What is told with a cancel-all of unknown outcome


async def test_closing_finds_what_was_lost_just_before(sim: Simulator) -> None:
    ems = a_client(sim, Settings(late_answer=0.2, close_wait=10))
    await ems.open()
    order = an_order()
    sim.inject(Injection(operation="order_new", reset=True, execute="before"))
    assert isinstance(await ems.orders.submit(order), Unknown)
    await ems.aclose()
    assert isinstance(ems.orders.settled[order.client_order_id], Accepted)
    assert not ems.orders.unresolved
    assert sim.executions(order.client_order_id) == 1


async def test_a_cancel_all_of_unknown_outcome_tells_what_is_open(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_cancel_all", status=502, execute="never"))
    outcome = await ems.orders.submit_cancel_all(exchange_id=ACCOUNT)
    assert isinstance(outcome, Unknown)
    assert outcome.open_orders is not None
    assert [report.client_order_id for report in outcome.open_orders] == [order.client_order_id]
    assert asked(sim, "order_cancel_all") == [NEAR]


async def test_what_is_open_may_be_unknown_as_well(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_cancel_all", status=502))
    sim.inject(Injection(operation="orders_open", status=400, times=None))
    outcome = await ems.orders.submit_cancel_all(exchange_id=ACCOUNT)
    assert isinstance(outcome, Unknown)
    assert outcome.open_orders is None
    assert "reading the open orders failed" in outcome.evidence[-1].what


# An exchange that cannot be reached from a site


def unreachable(sim: Simulator, operation: str = "order_new", **options: object) -> None:
    sim.inject(Injection(operation=operation, site=NEAR, status=490, body={}, times=None, **options))  # type: ignore[arg-type]


async def test_it_is_rejected_unless_the_user_has_opted_in(sim: Simulator, ems: EMSClient) -> None:
    unreachable(sim)
    assert isinstance(await ems.orders.submit(an_order()), Rejected)
    assert asked(sim, "order_new") == [NEAR]


async def test_the_next_site_gets_it_when_the_first_does_not_know_it(sim: Simulator) -> None:
    async with a_client(sim, Settings(reroute_unreachable=True)) as ems:
        unreachable(sim)
        order = an_order()
        outcome = await ems.orders.submit(order)
        assert isinstance(outcome, Accepted)
        assert outcome.site == FAR
        assert asked(sim, "order_new") == [NEAR, FAR]
        assert asked(sim, "order_status") == [NEAR]
        assert sim.executions(order.client_order_id) == 1


async def test_nobody_else_gets_it_when_the_first_does_know_it(sim: Simulator) -> None:
    async with a_client(sim, Settings(reroute_unreachable=True)) as ems:
        unreachable(sim, execute="before")
        order = an_order()
        assert isinstance(await ems.orders.submit(order), Rejected)
        assert asked(sim, "order_new") == [NEAR]
        assert sim.executions(order.client_order_id) == 1


async def test_a_cancel_all_goes_on_only_if_opted_in(sim: Simulator) -> None:
    unreachable(sim, "order_cancel_all")
    async with a_client(sim) as ems:
        assert isinstance(await ems.orders.submit_cancel_all(exchange_id=ACCOUNT), Rejected)
    async with a_client(sim, Settings(reroute_unreachable=True)) as ems:
        assert isinstance(await ems.orders.submit_cancel_all(exchange_id=ACCOUNT), Accepted)
    assert asked(sim, "order_cancel_all") == [NEAR, NEAR, FAR]
