"""Waiting for an order's end: through slow fills, late visibility and failing reads, never longer than told."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest

from coinapi_ems_async import (
    DeadlineExceeded,
    EMSClient,
    ExecutionReport,
    InvalidRequest,
    NotRoutable,
    NotSent,
    NotSentReason,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrderStatus,
    RateLimited,
    Rejected,
    ServerFailed,
    Settings,
    Side,
    TimeInForce,
    TransportError,
    Unknown,
    UsageError,
)
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.resources.following import Following
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from ..conftest import ACCOUNT, EAST, SYMBOL, WEST, an_order
from .helpers import asked, until

REJECT: dict[str, Any] = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "no"}
IOC = TimeInForce.IMMEDIATE_OR_CANCEL


@pytest.mark.every_loop
async def test_slow_fills_up_to_the_end(sim: Simulator, ems: EMSClient) -> None:
    """Each report brings about the next: an outside trader takes from the order as it is seen."""
    order = an_order(price="10800", amount_order="1")
    await ems.orders.place(order)
    seen: list[ExecutionReport] = []

    def note(report: ExecutionReport) -> None:
        seen.append(report)
        if len(seen) <= 4:
            sim.trade(ACCOUNT, SYMBOL, Side.SELL, "0.25", "10800")

    final = await ems.orders.wait_final(order.client_order_id, exchange_id=ACCOUNT, on_report=note, timeout=20)
    assert final.status is OrderStatus.FILLED
    assert final.amount_filled == 1
    assert final is seen[-1]
    filled = [str(report.amount_filled) for report in seen]
    assert [float(one) for one in filled] == [0, 0.25, 0.5, 0.75, 1]
    reads = len(asked(sim, "order_status"))
    again = await ems.orders.wait_final(order.client_order_id)
    assert again == final
    assert len(asked(sim, "order_status")) == reads + 1, "what is final is read once"


async def test_a_slow_exchange(sim: Simulator) -> None:
    pace = Pace(reply=0, book=0.4, cancel=0)
    async with Simulator(sites={EAST: 0.0}, pace=pace, seed=7) as slow:
        async with EMSClient(slow.api_key, management_url=slow.management_url) as ems:
            order = an_order(price="20000", time_in_force=IOC)
            assert (await ems.orders.place(order)).status is OrderStatus.ROUTED
            final = await ems.orders.wait_final(order.client_order_id, timeout=20)
            assert final.status is OrderStatus.FILLED


async def test_a_canceled_order_has_ended(ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    waiting = asyncio.create_task(ems.orders.wait_final(order.client_order_id, timeout=20))
    await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert (await waiting).status is OrderStatus.CANCELED


async def test_a_rejected_order_has_ended(ems: EMSClient) -> None:
    order = an_order(amount_order="90000000")
    assert isinstance(await ems.orders.submit(order), Rejected)
    final = await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert final.is_rejected


async def test_an_unresolved_order_that_is_visible_late(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="order_new", status=504, body=REJECT, execute="before", hide=1.0))
    order = an_order(price="20000", time_in_force=IOC)
    assert isinstance(await ems.orders.submit(order), Unknown)
    with pytest.raises(OrderNotFound):
        await ems.orders.status(order.client_order_id)
    final = await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert final.status is OrderStatus.FILLED
    assert not ems.orders.unresolved
    assert sim.executions(order.client_order_id) == 1


async def test_failing_reads_are_survived(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(price="20000", time_in_force=IOC)
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_status", status=500, times=4))
    sim.inject(Injection(operation="order_status", body=b"<html>", times=3))
    sim.inject(Injection(operation="order_status", reset=True, times=3))
    sim.inject(Injection(operation="order_status", status=401, body={"error": "Invalid API key"}))
    final = await ems.orders.wait_final(order.client_order_id, timeout=30)
    assert final.status is OrderStatus.FILLED
    assert len(asked(sim, "order_status")) == 12


async def test_the_order_s_own_site_is_asked() -> None:
    pace = Pace(reply=0, book=0.2, cancel=0)
    sites = {EAST: 0.03, WEST: 0.0}
    async with Simulator(sites=sites, pace=pace, seed=7, shared_orders=False) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            await sim.stop_site(WEST)
            order = an_order(price="20000", time_in_force=IOC)
            await ems.orders.place(order)
            await sim.start_site(WEST)
            await ems.orders.wait_final(order.client_order_id, timeout=20)
            assert {record.site for record in sim.requests if record.operation == "order_status"} == {EAST}


async def test_a_time_that_is_over_carries_the_last_report(ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    began = monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        await ems.orders.wait_final(order.client_order_id, timeout=0.4)
    assert 0.3 < monotonic() - began < 5
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert error.report is not None
    assert error.report.status is OrderStatus.NEW
    assert error.client_order_id == order.client_order_id
    assert error.__cause__ is None
    assert "did not end within 0.4 s: its last status was NEW" in str(error)


async def test_a_time_that_is_over_without_any_report(sim: Simulator, ems: EMSClient) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await ems.orders.wait_final("nobody", timeout=0.4)
    assert caught.value.report is None
    assert isinstance(caught.value.__cause__, OrderNotFound)
    assert "no report of it was read; the last read failed" in str(caught.value)
    assert len(asked(sim, "order_status")) > 2


async def test_a_read_that_hangs_ends_with_the_time(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    await ems.orders.place(order)
    sim.inject(Injection(operation="order_status", hang=True, times=None))
    began = monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        await ems.orders.wait_final(order.client_order_id, timeout=0.3)
    assert monotonic() - began < 5
    assert isinstance(caught.value.__cause__, DeadlineExceeded)


async def test_a_late_refusal_ends_the_waiting(sim: Simulator) -> None:
    settings = Settings(late_answer=10)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
        sim.inject(Injection(operation="order_new", hang=True, status=400, body=REJECT))
        order = an_order()
        assert isinstance(await ems.orders.submit(order, timeout=0.1), Unknown)
        waiting = asyncio.create_task(ems.orders.wait_final(order.client_order_id, timeout=30))
        await until(lambda: bool(asked(sim, "order_status")), "a read of its status")
        sim.release()
        with pytest.raises(OrderRejected) as caught:
            await waiting
        assert caught.value.outcome is ems.orders.settled[order.client_order_id]


async def test_a_cancelled_caller_stops_reading(sim: Simulator, ems: EMSClient) -> None:
    await ems.orders.place(an_order(client_order_id="a"))
    waiting = asyncio.create_task(ems.orders.wait_final("a", timeout=30))
    await until(lambda: len(asked(sim, "order_status")) > 1, "two reads")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_client_that_closes_ends_the_waiting(ems: EMSClient) -> None:
    await ems.orders.place(an_order(client_order_id="a"))
    closing: list[asyncio.Task[None]] = []

    def note(_report: ExecutionReport) -> None:
        closing.append(asyncio.create_task(ems.aclose()))

    with pytest.raises(UsageError):
        await ems.orders.wait_final("a", timeout=30, on_report=note)
    await closing[0]


async def _awaited(_report: ExecutionReport) -> None:
    raise AssertionError("nobody awaits this")


@pytest.mark.parametrize(
    "arguments",
    [
        {"client_order_id": "a\n"},
        {"client_order_id": "a", "exchange_id": ""},
        {"client_order_id": "a", "timeout": 0},
        {"client_order_id": "a", "on_report": 5},
        {"client_order_id": "a", "on_report": _awaited},
    ],
    ids=lambda given: "-".join(getattr(one, "__name__", str(one)) for one in given.values()),
)
async def test_bad_arguments_are_refused_at_once(sim: Simulator, ems: EMSClient, arguments: Any) -> None:
    with pytest.raises(InvalidRequest):
        await ems.orders.wait_final(**arguments)
    assert asked(sim, "order_status") == []


# Without sockets: what the reads say is written down


Step = ExecutionReport | Exception


def a_report(status: OrderStatus = OrderStatus.NEW) -> ExecutionReport:
    return ExecutionReport(exchange_id=ACCOUNT, client_order_id="a", status=status)


class Script:
    """Reads that say one step after the other, the last one for ever."""

    def __init__(self, *steps: Step) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self._step = steps[0]
        self.times: list[float] = []

    async def read(self, _seconds: float) -> ExecutionReport:
        self.times.append(monotonic())
        self._step = next(self._steps, self._step)
        if isinstance(self._step, Exception):
            raise self._step
        return self._step

    def follow(
        self, ledger: OrderLedger | None = None, on_report: Callable[[ExecutionReport], object] | None = None
    ) -> Following:
        return Following("a", self.read, ledger or OrderLedger(10), on_report, unseen_for=0.2)


async def test_an_order_that_nobody_knows_for_long() -> None:
    script = Script(OrderNotFound("not known", status=404))
    with pytest.raises(OrderNotFound):
        await script.follow().final(60, 10)
    assert script.times[-1] - script.times[0] >= 0.15


async def test_an_order_that_is_unresolved_is_waited_for_all_the_same() -> None:
    ledger = OrderLedger(10)
    ledger.begin("a", again=False)
    ledger.doubt("a", exchange_id=None, site=None)
    script = Script(OrderNotFound("not known", status=404))
    with pytest.raises(DeadlineExceeded):
        await script.follow(ledger).final(0.8, 10)


async def test_an_order_that_was_seen_is_waited_for_all_the_same() -> None:
    script = Script(a_report(), OrderNotFound("not known any more", status=404))
    with pytest.raises(DeadlineExceeded) as caught:
        await script.follow().final(0.8, 10)
    assert caught.value.report == a_report()


FAILURE = ServerFailed("down", status=500)


@pytest.mark.parametrize(
    ("steps", "cause"),
    [([a_report()], None), ([a_report(), FAILURE], FAILURE), ([FAILURE, a_report()], None), ([FAILURE], FAILURE)],
)
async def test_a_read_that_the_end_cuts_short_hides_nothing(steps: list[Step], cause: Exception | None) -> None:
    left = list(steps)

    async def read(seconds: float) -> ExecutionReport:
        if not left:
            await asyncio.sleep(seconds)
            raise DeadlineExceeded("no answer in time")
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    with pytest.raises(DeadlineExceeded) as caught:
        await Following("a", read, OrderLedger(10), None).final(0.5, 10)
    assert caught.value.__cause__ is cause
    assert "no answer" not in str(caught.value)


async def test_the_first_final_report_is_the_last_word() -> None:
    script = Script(
        a_report(), a_report(), a_report(OrderStatus.PENDING_CANCEL), a_report(OrderStatus.CANCELED), a_report()
    )
    seen: list[OrderStatus] = []
    final = await script.follow(on_report=lambda report: seen.append(report.status)).final(60, 10)
    assert final.status is OrderStatus.CANCELED
    assert seen == [OrderStatus.NEW, OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED]


async def test_a_status_of_later_days_is_not_final() -> None:
    script = Script(a_report(OrderStatus("HIBERNATING")), a_report(OrderStatus.FILLED))
    assert (await script.follow().final(60, 10)).status is OrderStatus.FILLED


async def test_reads_become_rarer_until_something_changes() -> None:
    new, canceled = a_report(), a_report(OrderStatus.CANCELED)
    script = Script(new, new, new, new, a_report(OrderStatus.PENDING_CANCEL), canceled)
    await script.follow().final(60, 10)
    pauses = [later - earlier for earlier, later in pairwise(script.times)]
    assert [pause >= least for pause, least in zip(pauses, (0.045, 0.09, 0.18, 0.36, 0.045), strict=True)] == [
        True
    ] * 5
    assert len(script.times) == 6


async def test_the_pause_that_a_server_asks_for_is_made() -> None:
    script = Script(RateLimited("slowly", retry_after=0.5), a_report(OrderStatus.FILLED))
    await script.follow().final(60, 10)
    assert script.times[1] - script.times[0] >= 0.45


async def test_a_callback_that_turns_out_to_be_async_is_told_once(
    ems: EMSClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def note(report: ExecutionReport) -> None:
        raise AssertionError(report)

    with pytest.raises(InvalidRequest, match="on_report must be a plain function"):
        await ems.orders.wait_final("a", on_report=note)
    order = an_order(price="30000")
    await ems.orders.place(order)
    with caplog.at_level(logging.ERROR, "coinapi_ems_async.orders"):
        await ems.orders.wait_final(order.client_order_id, exchange_id=ACCOUNT, on_report=lambda one: note(one))
    said = "on_report must not be async: it returns a coroutine, which nobody awaits"
    assert [record.getMessage() for record in caplog.records] == [said]


async def test_a_callback_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def note(_report: ExecutionReport) -> None:
        raise ValueError("trouble")

    script = Script(ServerFailed("down", status=500), a_report(), a_report(OrderStatus.FILLED))
    with caplog.at_level(logging.ERROR, "coinapi_ems_async.orders"):
        final = await script.follow(on_report=note).final(60, 10)
    assert final.is_final
    assert [record.getMessage() for record in caplog.records] == ["on_report raised"] * 2


# Orders that were not sent


async def test_an_order_that_was_not_sent_is_not_waited_for(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(exchange_id="NOBODY")
    assert isinstance(await ems.orders.submit(order), NotSent)
    async with asyncio.timeout(5):
        with pytest.raises(OrderNotSent, match="not routable") as caught:
            await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert isinstance(caught.value.outcome, NotSent)
    assert caught.value.outcome.reason is NotSentReason.NOT_ROUTABLE
    assert isinstance(caught.value.__cause__, OrderNotFound)
    assert len(asked(sim, "order_status")) == 2, "both sites were asked, once"


async def test_nor_if_no_site_can_be_reached(sim: Simulator, ems: EMSClient) -> None:
    await sim.stop_site(EAST)
    await sim.stop_site(WEST)
    order = an_order()
    assert isinstance(await ems.orders.submit(order), NotSent)
    async with asyncio.timeout(15):
        with pytest.raises(OrderNotSent) as caught:
            await ems.orders.wait_final(order.client_order_id, timeout=60)
    assert isinstance(caught.value.__cause__, TransportError)


async def test_an_order_that_somebody_else_has_sent_is_followed_all_the_same(
    sim: Simulator, ems: EMSClient
) -> None:
    order = an_order(price="20000", time_in_force=IOC)
    unsent = an_order(exchange_id="NOBODY", client_order_id=order.client_order_id)
    assert isinstance(await ems.orders.submit(unsent), NotSent)
    async with EMSClient(sim.api_key, management_url=sim.management_url) as another:
        await another.orders.place(order)
    final = await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert final.status is OrderStatus.FILLED


async def test_and_so_is_one_that_was_sent_at_the_second_try(ems: EMSClient) -> None:
    order = an_order(price="20000", time_in_force=IOC)
    unsent = an_order(exchange_id="NOBODY", client_order_id=order.client_order_id)
    assert isinstance(await ems.orders.submit(unsent), NotSent)
    await ems.orders.place(order)
    final = await ems.orders.wait_final(order.client_order_id, timeout=20)
    assert final.status is OrderStatus.FILLED


async def test_nor_is_one_of_an_account_that_nobody_serves(sim: Simulator, ems: EMSClient) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NotRoutable, match="no known site serves NOWHERE"):
            await ems.orders.wait_final("somebody-s", exchange_id="NOWHERE", timeout=60)
    assert asked(sim, "order_status") == []


async def test_an_order_of_this_client_is_waited_for_though_its_account_is_gone() -> None:
    ledger = OrderLedger(10)
    ledger.spend("a")
    final = (
        await Script(NotRoutable("no known site serves it"), a_report(OrderStatus.FILLED))
        .follow(ledger)
        .final(10, 10)
    )
    assert final.status is OrderStatus.FILLED
