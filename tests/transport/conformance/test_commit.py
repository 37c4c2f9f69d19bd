"""The commit point: what did not pass it was never sent, what passed it goes on alone."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from coinapi_ems_async import (
    Accepted,
    EMSClient,
    NewOrder,
    NotSent,
    NotSentReason,
    Phase,
    Rejected,
    RejectedReason,
    Settings,
    Unknown,
)

from ...conftest import an_order
from ...wire import Reply, Seen, Transport, answer, client_of, report, server_for
from .stage import EVERY_TRANSPORT, accepted, endpoints, stage, told

pytestmark = pytest.mark.every_loop


def late(seen: Seen) -> Reply:
    return accepted(seen).but(after=0.1)


@EVERY_TRANSPORT
async def test_the_mark_is_made_before_the_first_byte(transport: Transport) -> None:
    async with stage(transport) as play:
        past = datetime.now(UTC) - timedelta(seconds=1)
        outcome = await play.ems.orders.submit(an_order(), not_after=past)
        assert isinstance(outcome, NotSent)
        assert outcome.reason is NotSentReason.NOT_AFTER
        assert outcome.attempts[0].phase is Phase.WAITING
        assert play.server.seen == []
        future = datetime.now(UTC) + timedelta(seconds=60)
        assert isinstance(await play.ems.orders.submit(an_order(), not_after=future), Accepted)
        assert len(play.server.seen) == 1


@EVERY_TRANSPORT
async def test_what_is_sent_is_what_was_asked_for(transport: Transport) -> None:
    async with stage(transport) as play:
        order = an_order()
        assert await play.order(order) == "accepted"
        await play.ems.balances.get(exchange_id="KRAKEN/JOHN")
        first, second = play.server.seen
    sent = msgspec.json.decode(first.body)
    assert sent["client_order_id"] == order.client_order_id
    assert b'"amount_order":0.045' in first.body
    assert first.operation == "POST /v1/orders"
    assert first.headers["content-type"] == "application/json"
    assert int(first.headers["content-length"]) == len(first.body)
    assert second.target == "/v1/balances?exchange_id=KRAKEN%2FJOHN"
    assert second.body == b""
    assert all(seen.headers["user-agent"].startswith("coinapi-ems-async/") for seen in (first, second))


@EVERY_TRANSPORT
async def test_an_expired_deadline_never_sends(transport: Transport) -> None:
    async with stage(transport) as play:
        assert await play.order() == "accepted"  # a connection is warm now
        for _ in range(50):
            assert await play.order(timeout=1e-7) == "not sent: deadline"
        assert await play.order() == "accepted"
        assert len(play.server.seen) == 2


@EVERY_TRANSPORT
@pytest.mark.parametrize("warm", [0, 1], ids=["cold", "warm"])
async def test_a_caller_who_goes_away_before_the_mark_sends_nothing(transport: Transport, warm: int) -> None:
    """Cancelled after each of the first steps of the call: unless it is unresolved then, it never was sent."""
    async with stage(transport, late, late_answer=3, warm_connections=warm) as play:
        left: list[NewOrder] = []
        for steps in range(40):
            order = an_order()
            task = asyncio.create_task(play.ems.orders.submit(order))
            for _ in range(steps % 10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if order.client_order_id not in play.ems.orders.unresolved:
                left.append(order)
        async with asyncio.timeout(3):
            while play.ems.orders.unresolved:
                await asyncio.sleep(0.005)
        assert await play.order() == "accepted"  # whatever was on its way has arrived by now
        assert len(left) >= 4  # those that did not make one step
        assert [play.executions(order) for order in left] == [0] * len(left)
        assert len({seen.body for seen in play.server.seen}) == len(play.server.seen)


@EVERY_TRANSPORT
async def test_a_caller_who_goes_away_after_the_mark_leaves_the_order_to_its_answer(transport: Transport) -> None:
    async with stage(transport, late, late_answer=3) as play:
        order = an_order()
        task = asyncio.create_task(play.ems.orders.place(order))
        async with asyncio.timeout(3):
            while not play.server.seen:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert order.client_order_id in play.ems.orders.unresolved
        async with asyncio.timeout(3):
            while play.ems.orders.unresolved:
                await asyncio.sleep(0.005)
        assert play.executions(order) == 1


@EVERY_TRANSPORT
async def test_an_order_of_unknown_outcome_is_not_sent_again(transport: Transport) -> None:
    async with stage(transport, late, late_answer=3) as play:
        order = an_order()
        assert await play.order(order, timeout=0.05) == "unknown"
        assert order.client_order_id in play.ems.orders.unresolved
        assert await play.order(order) == "not sent: duplicate"
        async with asyncio.timeout(3):
            while play.ems.orders.unresolved:
                await asyncio.sleep(0.005)
        assert await play.order(order) == "not sent: duplicate"
        assert play.executions(order) == 1


@EVERY_TRANSPORT
async def test_closing_waits_for_what_was_sent(transport: Transport) -> None:
    async with stage(transport, late, close_wait=3) as play:
        tasks = [asyncio.create_task(play.order()) for _ in range(3)]
        async with asyncio.timeout(3):
            while len(play.server.seen) < 3:
                await asyncio.sleep(0.005)
            await play.ems.aclose()
        assert [await task for task in tasks] == ["accepted"] * 3


@EVERY_TRANSPORT
async def test_an_answer_about_another_order_is_unknown_and_ends_its_connection(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        return answer(report(seen, client_order_id="another") if len(play.server.seen) == 1 else report(seen))

    async with stage(transport) as play:
        outcome = await play.says(script).ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert "another" in outcome.message
        assert await play.order() == "accepted"
        assert play.server.seen[1].connection != play.server.seen[0].connection


@EVERY_TRANSPORT
async def test_an_unreadable_success_keeps_its_body(transport: Transport) -> None:
    async with stage(transport, lambda seen: answer(b"<html>fine</html>")) as play:
        outcome = await play.ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert outcome.raw == b"<html>fine</html>"
        assert "html" not in repr(outcome)


@EVERY_TRANSPORT
async def test_a_redirect_is_never_followed(transport: Transport) -> None:
    async with server_for(transport, accepted) as other:
        script = answer(b"", 307, f"Location: {other.url}/v1/orders")
        async with stage(transport, lambda seen: script) as play:
            outcome = await play.ems.orders.submit(an_order())
            assert isinstance(outcome, Rejected)
            assert outcome.reason is RejectedReason.NOT_FOLLOWED
            assert len(play.server.seen) == 1
        assert other.seen == []


@EVERY_TRANSPORT
async def test_a_name_that_does_not_resolve_sends_nothing(transport: Transport) -> None:
    async with client_of("https://nowhere.invalid", transport, open_within=0.3, open_after_first=0.3) as ems:
        assert (await told(ems.orders.submit(an_order(), timeout=5))).startswith("not sent")


@EVERY_TRANSPORT
async def test_a_refused_connection_sends_nothing(transport: Transport) -> None:
    async with server_for(transport, accepted) as server:
        url = server.url
    async with client_of(url, transport) as ems:
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, NotSent)
        assert outcome.reason is NotSentReason.NO_CONNECTION
        assert "refused" in outcome.message


@EVERY_TRANSPORT
async def test_a_site_that_cannot_be_reached_is_passed_over(transport: Transport) -> None:
    """What was never sent to the first may go to the second."""
    async with server_for(transport, accepted) as gone:
        url = gone.url
    async with (
        server_for(transport, accepted) as there,
        server_for(None, lambda seen: answer(endpoints(url, there.url))) as management,
    ):
        settings = Settings(open_within=0.3, open_after_first=0.1)
        async with EMSClient("key", management_url=management.url, settings=settings, transport=transport) as ems:
            assert [await told(ems.orders.submit(an_order())) for _ in range(3)] == ["accepted"] * 3
            assert len(there.operations("POST /v1/orders")) == 3


@EVERY_TRANSPORT
async def test_a_call_knows_when_it_passed_each_point(transport: Transport) -> None:
    async with stage(transport, lambda seen: accepted(seen).but(after=0.02)) as play:
        first = await play.ems.orders.submit(an_order())
        second = await play.ems.orders.submit(an_order())
    for outcome in (first, second):
        assert isinstance(outcome, Accepted)
        times = outcome.timing
        assert times is not None
        points = (
            times.started,
            times.connected,
            times.committed,
            times.first_byte,
            times.done,
            times.decoded,
        )
        assert None not in points
        assert list(points) == sorted(point for point in points if point is not None)
        assert times.round_trip is not None
        assert times.round_trip >= 0.015
    assert second.timing is not None
    assert second.timing.reused
    assert second.attempts[0].reused
