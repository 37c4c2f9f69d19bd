"""Every move of the table, over real sockets, with the servers' own log as witness."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    AuthenticationFailed,
    DeadlineExceeded,
    EMSClient,
    ExchangeUnreachable,
    InvalidRequest,
    NotRoutable,
    NotSent,
    NotSentReason,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrderStatus,
    OrderUnknown,
    RateLimited,
    Rejected,
    RejectedReason,
    ServerFailed,
    Settings,
    UnexpectedAnswer,
    Unknown,
    ValidationFailed,
)
from coinapi_ems_async.matrix import MATRIX, REJECTED_AS, UNPROCESSED, Kind, Move, Row
from coinapi_ems_async.simulator import Injection, Simulator

from .conftest import ACCOUNT, EAST, OREGON, WEST, an_order, three_sites

NEAR, FAR = EAST, WEST
REJECT: dict[str, Any] = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "no"}
UNKNOWN_ORDER: dict[str, Any] = REJECT | {"reject_reason": "ORDER_ID_NOT_FOUND"}
SLOW_EXCHANGE: dict[str, Any] = REJECT | {"reject_reason": "EXCHANGE_RESPONSE_TIMEOUT"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with three_sites() as simulator:
        yield simulator


@pytest.fixture
async def ems(sim: Simulator) -> AsyncIterator[EMSClient]:
    settings = Settings(late_answer=0.2, close_wait=0.5)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as client:
        assert [site.id for site in client.sites] == [NEAR, FAR, OREGON]
        yield client


def asked(sim: Simulator, operation: str) -> list[str]:
    return [record.site for record in sim.requests if record.operation == operation]


# Every row and kind of call has a move, and what follows from it has a class.


def test_the_table_is_whole() -> None:
    assert set(MATRIX) == set(Row)
    for row, rule in MATRIX.items():
        assert (Move.REJECTED in rule) <= (row in REJECTED_AS)


def test_nothing_that_may_have_executed_is_sent_again() -> None:
    """For a new order and a cancel-all the only repetitions after the commit point rest on a server's no."""
    repeating = {Move.NEXT, Move.NEXT_ONCE, Move.SAME_THEN_NEXT, Move.AFFINE_ONCE, Move.SAME_LATER, Move.RECHECK}
    repeating.add(Move.ANYWHERE_ONCE)
    before_commit = {
        Row.NAME_LOOKUP,
        Row.REFUSED,
        Row.CONNECT_TIMEOUT,
        Row.TLS_VERIFICATION,
        Row.TLS_HANDSHAKE,
        Row.POOL_WAIT,
        Row.GIVEN_UP,
        Row.STALE_CONNECTION,
    }
    for kind in (Kind.NEW_ORDER, Kind.CANCEL_ALL):
        repeated = {row for row, rule in MATRIX.items() if rule.for_kind(kind) in repeating}
        assert repeated == before_commit | {Row.MISDIRECTED} | UNPROCESSED


# New orders


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (307, "", RejectedReason.NOT_FOLLOWED),
        (400, REJECT, RejectedReason.VALIDATION),
        (401, {"error": "Invalid API key"}, RejectedReason.AUTHENTICATION),
        (403, {"error": "Forbidden"}, RejectedReason.AUTHENTICATION),
        (404, REJECT, RejectedReason.NOT_KNOWN_HERE),
        (404, "", RejectedReason.NOT_ROUTED),
        (405, "", RejectedReason.NOT_ROUTED),
        (418, "teapot", RejectedReason.REFUSED),
        (429, "", RejectedReason.RATE_LIMITED),
        (490, REJECT, RejectedReason.EXCHANGE_UNREACHABLE),
    ],
)
async def test_a_refused_order_is_rejected_and_goes_nowhere_else(
    sim: Simulator, ems: EMSClient, status: int, body: Any, reason: RejectedReason
) -> None:
    sim.inject(Injection(operation="order_new", status=status, body=body))
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.status, outcome.site) == (reason, status, NEAR)
    assert asked(sim, "order_new") == [NEAR]
    sim.inject(Injection(operation="order_new", status=status, body=body))
    with pytest.raises(OrderRejected) as caught:
        await ems.orders.place(an_order())
    assert asked(sim, "order_new")[1:] == [caught.value.site]  # some refusals make the other site the better one
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 500, 502, 503, 504, 507, 599])
@pytest.mark.parametrize("execute", ["before", "never"])
async def test_an_order_of_unknown_outcome_is_never_sent_again(
    sim: Simulator, ems: EMSClient, status: int, execute: Any
) -> None:
    sim.inject(Injection(operation="order_new", status=status, body=REJECT, execute=execute))
    order = an_order()
    with pytest.raises(OrderUnknown) as caught:
        await ems.orders.place(order)
    outcome = caught.value.outcome
    assert isinstance(outcome, Unknown)
    assert outcome.status == status
    assert outcome.evidence[0].site == NEAR
    assert asked(sim, "order_new") == [NEAR]
    assert sim.executions(order.client_order_id) == (1 if execute == "before" else 0)
    assert order.client_order_id in ems.orders.unresolved


async def test_a_refusal_that_names_a_timeout_of_the_exchange_is_no_rejection(
    sim: Simulator, ems: EMSClient
) -> None:
    sim.inject(Injection(operation="order_new", status=490, body=SLOW_EXCHANGE, execute="before"))
    assert isinstance(await ems.orders.submit(an_order()), Unknown)


async def test_a_slow_exchange_leaves_the_order_unknown_until_its_status_is_read(
    sim: Simulator, ems: EMSClient
) -> None:
    sim.exchange_slow(ACCOUNT)
    order = an_order()
    outcome = await ems.orders.submit(order)
    assert isinstance(outcome, Unknown)
    assert outcome.status == 504
    assert sim.executions(order.client_order_id) == 1
    again = await ems.orders.submit(order)
    assert isinstance(again, NotSent)
    assert again.reason is NotSentReason.DUPLICATE
    report = await ems.orders.status(order.client_order_id)
    assert report.is_open
    assert not ems.orders.unresolved
    assert sim.executions(order.client_order_id) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"status":"NEW"}', b"\xff\xfe"])
async def test_a_success_that_cannot_be_read_never_hides_an_order(
    sim: Simulator, ems: EMSClient, body: bytes
) -> None:
    for status in (200, 202, 204):
        sim.inject(Injection(operation="order_new", status=status, body=body, execute="before"))
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert outcome.raw == (b"" if status == 204 else body)
    assert asked(sim, "order_new") == [NEAR] * 3


async def test_an_order_goes_on_to_the_next_site_only_before_it_is_sent(sim: Simulator, ems: EMSClient) -> None:
    await sim.stop_site(NEAR)
    await sim.stop_site(FAR)
    order = an_order()
    outcome = await ems.orders.submit(order)
    assert isinstance(outcome, Accepted)
    assert outcome.site == OREGON
    assert asked(sim, "order_new") == [OREGON]
    assert sim.executions(order.client_order_id) == 1
    assert {one.site for one in outcome.attempts} == {NEAR, FAR, OREGON} or len(outcome.attempts) == 1


async def test_with_every_site_down_nothing_was_sent(sim: Simulator, ems: EMSClient) -> None:
    for site in (NEAR, FAR, OREGON):
        await sim.stop_site(site)
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NO_CONNECTION
    assert {one.site for one in outcome.attempts} == {NEAR, FAR, OREGON}
    assert asked(sim, "order_new") == []


async def test_a_misdirected_order_is_sent_to_another_site_once(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", site=NEAR, status=421))
    order = an_order()
    assert isinstance(await ems.orders.submit(order), Accepted)
    assert asked(sim, "order_new") == [NEAR, FAR]
    assert sim.executions(order.client_order_id) == 1
    sim.clear()
    sim.inject(Injection(operation="order_new", status=421, times=None))
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.NOT_ROUTED
    assert asked(sim, "order_new") == [NEAR, FAR]


async def test_an_account_that_no_site_serves(ems: EMSClient) -> None:
    outcome = await ems.orders.submit(an_order(exchange_id="NOWHERE/JOHN"))
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NOT_ROUTABLE
    assert "KRAKEN/JOHN" in outcome.message
    with pytest.raises(OrderNotSent):
        await ems.orders.place(an_order(exchange_id="NOWHERE/JOHN"))
    with pytest.raises(NotRoutable, match="NOWHERE"):
        await ems.balances.get("NOWHERE")


async def test_an_order_the_exchange_refuses_is_rejected_with_its_report(sim: Simulator, ems: EMSClient) -> None:
    outcome = await ems.orders.submit(an_order(amount_order="1e12", price="100000"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.EXCHANGE
    assert outcome.report is not None
    assert outcome.report.status is OrderStatus.REJECTED
    assert "funds" in outcome.message


async def test_an_id_in_flight_is_refused_unless_told_otherwise(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, delay=0.2, times=None))
    order = an_order()
    first = asyncio.create_task(ems.orders.submit(order))
    await asyncio.sleep(0)
    second = await ems.orders.submit(order)
    assert isinstance(second, NotSent)
    assert second.reason is NotSentReason.DUPLICATE
    third = await ems.orders.submit(order, allow_duplicate_id=True)
    assert isinstance(third, Accepted)
    assert isinstance(await first, Accepted)
    assert sim.executions(order.client_order_id) == 2


async def test_a_retry_loop_of_the_users_own_sends_an_order_once(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=200, body=None, delay=0.3))
    refused: list[OrderNotSent] = []
    for _ in range(3):
        try:
            async with asyncio.timeout(0.2):
                await ems.orders.place(order)
        except TimeoutError:
            await asyncio.sleep(0.4)  # by now the answer has settled it
        except OrderNotSent as error:
            refused.append(error)
    assert len(refused) == 2
    assert all("was taken before" in str(error) for error in refused)
    assert sim.executions(order.client_order_id) == 1
    assert not ems.orders.unresolved
    assert isinstance(ems.orders.settled[order.client_order_id], Accepted)


async def test_an_order_that_was_refused_may_be_sent_again_under_its_id(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=429))
    assert isinstance(await ems.orders.submit(order), Rejected)
    assert isinstance(await ems.orders.submit(order), Accepted)
    again = await ems.orders.submit(order)
    assert isinstance(again, NotSent)
    assert again.reason is NotSentReason.DUPLICATE


async def test_a_report_may_settle_an_order_as_rejected(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(amount_order="1e12", price="100000")  # more than the account holds
    sim.inject(Injection(operation="order_new", status=502, execute="before"))
    assert isinstance(await ems.orders.submit(order), Unknown)
    assert (await ems.orders.status(order.client_order_id)).is_rejected
    settled = ems.orders.settled[order.client_order_id]
    assert isinstance(settled, Rejected)
    assert "funds" in settled.message
    assert isinstance(await ems.orders.submit(order), Rejected)  # its id was not spent


async def test_only_so_many_sites_of_orders_are_remembered(sim: Simulator) -> None:
    settings = Settings(remembered_orders=2)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        orders = [an_order() for _ in range(3)]
        for order in orders:
            await ems.orders.place(order)
        assert [ems.ledger.taker(order.client_order_id) is not None for order in orders] == [False, True, True]


async def test_an_order_that_nobody_knows_can_be_forgotten(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=502, execute="never"))
    await ems.orders.submit(order)
    with pytest.raises(OrderNotFound):
        await ems.orders.status(order.client_order_id)
    assert order.client_order_id in ems.orders.unresolved
    forgotten = ems.orders.forget(order.client_order_id)
    assert (forgotten.site, forgotten.exchange_id) == (NEAR, ACCOUNT)
    assert not ems.orders.unresolved
    assert isinstance(await ems.orders.submit(order), NotSent)
    with pytest.raises(InvalidRequest, match="not an unresolved order"):
        ems.orders.forget(order.client_order_id)


async def test_a_late_refusal_settles_one_of_two_copies(sim: Simulator) -> None:
    settings = Settings(reconcile=False)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        order = an_order()
        sim.inject(Injection(operation="order_new", status=502, execute="before"))
        await ems.orders.submit(order)
        sim.inject(Injection(operation="order_new", status=400, body=REJECT, delay=0.1))
        copy = await ems.orders.submit(order, allow_duplicate_id=True, timeout=0.05)
        assert isinstance(copy, Unknown)
        await asyncio.sleep(0.2)
        assert order.client_order_id in ems.orders.unresolved  # the first copy still is
        assert (await ems.orders.status(order.client_order_id)).is_open
        assert not ems.orders.unresolved


# Cancels


async def test_the_report_of_a_cancel_settles_the_order(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    sim.inject(Injection(operation="order_new", status=502, execute="before"))
    await ems.orders.submit(order)
    assert order.client_order_id in ems.orders.unresolved
    await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert not ems.orders.unresolved


async def test_a_cancel_goes_to_the_site_that_took_the_order(sim: Simulator, ems: EMSClient) -> None:
    await sim.stop_site(NEAR)
    order = an_order()
    await ems.orders.place(order)
    await sim.start_site(NEAR)
    report = await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert report.client_order_id == order.client_order_id
    assert asked(sim, "order_cancel") == [FAR]


async def test_a_cancel_that_is_not_known_asks_nobody_else(sim: Simulator, ems: EMSClient) -> None:
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id="never-seen")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.NOT_KNOWN_HERE
    assert asked(sim, "order_cancel") == [NEAR]


async def test_a_cancel_of_unknown_outcome_is_repeated_once_if_the_order_is_open(
    sim: Simulator, ems: EMSClient
) -> None:
    order = an_order()
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_cancel", status=500))
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert isinstance(outcome, Accepted)
    assert asked(sim, "order_cancel") == [NEAR, NEAR]
    assert asked(sim, "order_status") == [NEAR]
    assert [one.status for one in outcome.attempts] == [500, 200]


async def test_a_cancel_is_sent_at_most_twice(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_cancel", status=503, times=None))
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert isinstance(outcome, Unknown)
    assert len(asked(sim, "order_cancel")) == 2
    assert len(outcome.evidence) == 2
    with pytest.raises(OrderUnknown):
        await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)


async def test_a_cancel_that_did_its_work_is_not_repeated(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_cancel", status=500, execute="before"))
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert isinstance(outcome, Accepted)
    assert outcome.report is not None
    assert outcome.report.status is OrderStatus.CANCELED
    assert asked(sim, "order_cancel") == [NEAR]


async def test_the_report_of_an_order_refused_before_is_not_the_end_of_a_cancel(
    sim: Simulator, ems: EMSClient
) -> None:
    order = an_order(amount_order="100000000")
    assert isinstance(await ems.orders.submit(order), Rejected)
    sim.inject(Injection(operation="order_new", status=500))
    assert isinstance(await ems.orders.submit(order), Unknown)
    sim.inject(Injection(operation="order_cancel", status=500))
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert isinstance(outcome, Unknown)
    assert "may be about another order" in str(outcome.evidence[-1])
    assert asked(sim, "order_cancel") == [NEAR]


async def test_repeating_cancels_can_be_switched_off(sim: Simulator) -> None:
    settings = Settings(resend_cancel=False)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        order = an_order()
        await ems.orders.place(order)
        sim.inject(Injection(operation="order_cancel", status=500))
        outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
        assert isinstance(outcome, Unknown)
        assert asked(sim, "order_status") == []


async def test_an_unreachable_exchange_lets_a_cancel_try_one_more_site(sim: Simulator, ems: EMSClient) -> None:
    sim.exchange_down(ACCOUNT)
    outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id="id")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.EXCHANGE_UNREACHABLE
    assert asked(sim, "order_cancel") == [NEAR, FAR]
    everything = await ems.orders.submit_cancel_all(exchange_id=ACCOUNT)
    assert isinstance(everything, Rejected)
    assert asked(sim, "order_cancel_all") == [OREGON]  # from the others it is known to be out of reach


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_cancel_all_is_never_sent_twice(sim: Simulator, ems: EMSClient, status: int) -> None:
    sim.inject(Injection(operation="order_cancel_all", status=status, times=None))
    with pytest.raises(OrderUnknown):
        await ems.orders.cancel_all(exchange_id=ACCOUNT)
    assert asked(sim, "order_cancel_all") == [NEAR]


# Reads


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_a_read_that_fails_is_asked_of_the_next_site(sim: Simulator, ems: EMSClient, status: int) -> None:
    sim.inject(Injection(operation="balances", site=NEAR, status=status, times=None))
    assert await ems.balances.get(ACCOUNT)
    assert asked(sim, "balances") == [NEAR, FAR]


async def test_a_read_is_asked_three_times_at_most(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="balances", status=500, times=None))
    with pytest.raises(ServerFailed) as caught:
        await ems.balances.get(ACCOUNT)
    assert asked(sim, "balances") == [NEAR, FAR, OREGON]
    assert [one.status for one in caught.value.attempts] == [500] * 3


async def test_reads_are_not_repeated_without_bound(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="balances", status=500, times=None))
    for _ in range(20):
        with pytest.raises(ServerFailed):
            await ems.balances.get(ACCOUNT)
    # 20 first requests, a burst of 10 repetitions, and a tenth of a repetition for each request.
    assert 30 <= len(asked(sim, "balances")) <= 32


async def test_a_read_that_is_not_answered_is_asked_of_the_next_site(sim: Simulator) -> None:
    settings = Settings(read_try_timeout=0.2)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        sim.inject(Injection(operation="balances", site=NEAR, status=200, body=None, hang=True))
        assert await ems.balances.get(ACCOUNT)
        assert asked(sim, "balances") == [NEAR, FAR]


async def test_the_deadline_of_a_read_covers_all_its_tries(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="balances", status=200, body=None, hang=True, times=None))
    with pytest.raises(DeadlineExceeded) as caught:
        await ems.balances.get(ACCOUNT, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.site == NEAR


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, ValidationFailed), (401, AuthenticationFailed), (403, AuthenticationFailed), (302, UnexpectedAnswer)],
)
async def test_a_refused_read_is_not_repeated(
    sim: Simulator, ems: EMSClient, status: int, error: type[Exception]
) -> None:
    sim.inject(Injection(operation="balances", status=status, times=None))
    with pytest.raises(error):
        await ems.balances.get(ACCOUNT)
    assert asked(sim, "balances") == [NEAR]


async def test_a_read_told_to_wait_comes_back_to_the_same_site(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="balances", status=429, headers={"Retry-After": "0"}))
    assert await ems.balances.get(ACCOUNT)
    assert asked(sim, "balances") == [NEAR, NEAR]
    sim.inject(Injection(operation="balances", status=429, headers={"Retry-After": "60"}))
    with pytest.raises(RateLimited) as caught:
        await ems.balances.get(ACCOUNT)
    assert caught.value.retry_after == 60


async def test_reads_told_to_wait_too_long_cost_no_repetitions(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="positions", status=429, headers={"Retry-After": "9" * 400}, times=None))
    for _ in range(12):
        with pytest.raises(RateLimited):
            await ems.positions.get(ACCOUNT)
    sim.inject(Injection(operation="balances", site=NEAR, status=503))
    assert await ems.balances.get(ACCOUNT)


async def test_an_unreachable_exchange_lets_a_read_try_one_more_site(sim: Simulator, ems: EMSClient) -> None:
    sim.exchange_down(ACCOUNT)
    with pytest.raises(ExchangeUnreachable):
        await ems.balances.get(ACCOUNT)
    assert asked(sim, "balances") == [NEAR, FAR]


async def test_an_unreadable_read_is_asked_once_more(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="balances", status=200, body=b"{", times=None))
    with pytest.raises(UnexpectedAnswer) as caught:
        await ems.balances.get(ACCOUNT)
    assert caught.value.raw == b"{"
    assert "{" not in repr(caught.value)
    assert asked(sim, "balances") == [NEAR, FAR]


# Status


async def test_the_status_of_an_order_is_asked_of_the_site_that_took_it(sim: Simulator, ems: EMSClient) -> None:
    await sim.stop_site(NEAR)
    order = an_order()
    await ems.orders.place(order)
    await sim.start_site(NEAR)
    assert (await ems.orders.status(order.client_order_id)).client_order_id == order.client_order_id
    assert asked(sim, "order_status") == [FAR]
    sim.inject(Injection(operation="order_status", status=404, body=UNKNOWN_ORDER))
    with pytest.raises(OrderNotFound, match="proves nothing"):
        await ems.orders.status(order.client_order_id)
    assert asked(sim, "order_status") == [FAR, FAR]


async def test_the_status_of_a_stranger_is_asked_of_every_site_in_turn(sim: Simulator, ems: EMSClient) -> None:
    with pytest.raises(OrderNotFound) as caught:
        await ems.orders.status("never-seen")
    assert asked(sim, "order_status") == [NEAR, FAR, OREGON]
    for site in (NEAR, FAR, OREGON):
        assert site in str(caught.value)
    assert len(caught.value.attempts) == 3


async def test_the_status_of_another_clients_order_is_found_wherever_it_is(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    async with EMSClient.self_hosted(sim.site_urls[OREGON], auth=ApiKeyHeader(), api_key=sim.api_key) as other:
        await other.orders.place(order)
    report = await ems.orders.status(order.client_order_id, exchange_id=ACCOUNT)
    assert report.client_order_id == order.client_order_id
    assert asked(sim, "order_status") == [NEAR, FAR, OREGON]


# Closing


async def test_closing_waits_for_an_order_that_was_sent(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, delay=0.2))
    ems = EMSClient(sim.api_key, management_url=sim.management_url)
    await ems.open()
    placing = asyncio.create_task(ems.orders.submit(an_order()))
    async with asyncio.timeout(5):
        while not asked(sim, "order_new"):
            await asyncio.sleep(0.01)
    await ems.aclose()
    assert isinstance(await placing, Accepted)


async def test_closing_does_not_wait_for_ever(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, hang=True))
    ems = EMSClient(sim.api_key, management_url=sim.management_url, settings=Settings(close_wait=0.1))
    await ems.open()
    order = an_order()
    placing = asyncio.create_task(ems.orders.submit(order))
    async with asyncio.timeout(5):
        while not asked(sim, "order_new"):
            await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await ems.aclose()
    assert isinstance(await placing, Unknown)
    assert ems.health().unresolved == 1
