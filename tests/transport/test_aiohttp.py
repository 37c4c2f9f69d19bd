"""What aiohttp does behind our back, and what becomes of it."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import pytest

from coinapi_ems_async import (
    Accepted,
    ConnectionLost,
    DeadlineExceeded,
    EMSClient,
    NotSent,
    NotSentReason,
    Phase,
    Rejected,
    RejectedReason,
    Settings,
    Unknown,
)
from coinapi_ems_async.operations import LOCATIONS, plain_read
from coinapi_ems_async.simulator import Pace, Simulator
from coinapi_ems_async.transport.aiohttp import _Handler, _nothing_due
from coinapi_ems_async.transport.base import Attempt

from ..conftest import an_order
from ..wire import End, Reply, ScriptedServer, Seen, a_listener_that_never_accepts, answer, report, served

pytestmark = pytest.mark.every_loop


def accept(seen: Seen) -> Reply:
    return answer(report(seen))


async def test_the_mark_is_made_before_the_first_byte() -> None:
    async with served(accept) as (server, ems):
        past = datetime.now(UTC) - timedelta(seconds=1)
        outcome = await ems.orders.submit(an_order(), not_after=past)
        assert isinstance(outcome, NotSent)
        assert outcome.reason is NotSentReason.NOT_AFTER
        assert outcome.attempts[0].phase is Phase.WAITING
        assert server.seen == []
        future = datetime.now(UTC) + timedelta(seconds=60)
        assert isinstance(await ems.orders.submit(an_order(), not_after=future), Accepted)
        assert len(server.seen) == 1


async def test_a_delete_on_a_kept_connection_that_drops_is_sent_once() -> None:
    def script(seen: Seen) -> Reply:
        if seen.operation == "GET /v1/endpoints":
            return answer(b'[{"exchange_id":"K","location_id":"L","endpoint_url":"%s"}]' % url.encode())
        if seen.method == "GET":
            return answer(b"[]")
        return Reply(end="fin")  # read whole, so executed, then the line is cut

    async with ScriptedServer(script) as server:
        url = server.url
        async with EMSClient("key", management_url=url, settings=Settings(open_within=0.3)) as ems:
            with pytest.raises(ConnectionLost) as caught:
                await ems.accounts.delete_all()
        deletes = server.operations("DELETE /v1/accounts/all")
        assert len(deletes) == 1
        assert deletes[0].turn > 0  # the connection really was a kept one
        assert caught.value.phase is Phase.COMMITTED


async def test_a_delete_through_a_session_of_the_users_own_is_sent_once_too() -> None:
    def script(seen: Seen) -> Reply:
        if seen.operation == "GET /v1/endpoints":
            return answer(b'[{"exchange_id":"K","location_id":"L","endpoint_url":"%s"}]' % url.encode())
        return answer(b"[]") if seen.method == "GET" else Reply(end="fin")

    async with ScriptedServer(script) as server, aiohttp.ClientSession() as session:
        url = server.url
        client = EMSClient(
            "key", management_url=url, management_session=session, settings=Settings(open_within=0.3)
        )
        async with client as ems:
            with pytest.raises(ConnectionLost):
                await ems.accounts.delete_all()
        assert len(server.operations("DELETE /v1/accounts/all")) == 1


async def test_a_read_on_a_kept_connection_that_drops_is_ours_to_repeat() -> None:
    cut = [False, True, False]

    def script(seen: Seen) -> Reply:
        return Reply(end="fin") if cut.pop(0) else answer(b"[]")

    async with served(script) as (server, ems):
        await ems.balances.get()
        assert await ems.balances.get() == []
        assert server.seen[0].connection == server.seen[1].connection
        assert server.seen[2].connection != server.seen[1].connection


ORDER = b'{"exchange_id":"KRAKEN/JOHN","client_order_id":"id-1","status":"ROUTED"}'
LENGTH = b"Content-Length: %d\r\n" % len(ORDER)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "no http at all": b"hello\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Content-Length: 5\r\n\r\n" + ORDER,
    "a bad chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"zz\r\n" + ORDER + b"\r\n0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + ORDER,
    "a status of letters": b"HTTP/1.1 abc OK\r\n" + LENGTH + b"\r\n" + ORDER,
    "a head without end": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\n" + LENGTH + CHUNKED + b"0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_never_a_rejection(data: bytes) -> None:
    async with served(lambda seen: Reply(data, "fin")) as (server, ems):
        outcome = await ems.orders.submit(an_order(client_order_id="id-1"))
        assert isinstance(outcome, Unknown), outcome
        assert outcome.attempts[0].phase in (Phase.COMMITTED, Phase.ANSWERING)
        assert len(server.seen) == 1


CUTS = {
    "before any answer": b"",
    "inside the status line": b"HTTP/1.1 20",
    "inside the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "before the body": b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n",
    "inside the body": b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + ORDER[:-1],
    "inside a chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"ff\r\n" + ORDER,
    "before the last chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"%x\r\n%s\r\n" % (len(ORDER), ORDER),
}


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("data", CUTS.values(), ids=CUTS.keys())
async def test_a_cut_answer_is_unknown_and_nothing_is_sent_again(data: bytes, end: End) -> None:
    async with served(lambda seen: Reply(data, end)) as (server, ems):
        outcome = await ems.orders.submit(an_order(client_order_id="id-1"))
        assert isinstance(outcome, Unknown), outcome
        assert "id-1" in ems.orders.unresolved
        everything = await ems.orders.submit_cancel_all(exchange_id="KRAKEN/JOHN")
        assert isinstance(everything, Unknown)
        assert [seen.operation for seen in server.seen] == ["POST /v1/orders", "POST /v1/orders/cancel/all"]


async def test_a_whole_answer_survives_whatever_way_it_is_framed() -> None:
    chunked = b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(ORDER), ORDER)
    packed = gzip.compress(ORDER)
    forms = [
        Reply(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + ORDER),
        Reply(chunked),
        Reply(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Connection: close\r\n\r\n" + ORDER, "fin"),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed),
        Reply(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + ORDER),
    ]
    async with served(lambda seen: forms.pop(0)) as (_, ems):
        while forms:
            outcome = await ems.orders.submit(an_order(client_order_id="id-1"), allow_duplicate_id=True)
            assert isinstance(outcome, Accepted), outcome


async def test_an_answer_that_never_ends_is_not_read_for_ever() -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with served(lambda seen: Reply(head + bomb), max_body=1_000_000) as (server, ems):
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert "larger than" in outcome.message
        assert len(server.seen) == 1


async def test_an_answer_that_stops_arriving_is_given_up_before_the_deadline() -> None:
    reply = Reply(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + ORDER[:10], "hang")
    async with served(lambda seen: reply, stall_timeout=0.1) as (_, ems):
        async with asyncio.timeout(5):
            outcome = await ems.orders.submit(an_order(client_order_id="id-1"))
        assert isinstance(outcome, Unknown)
        assert "stopped arriving" in outcome.message


async def test_a_redirect_is_never_followed() -> None:
    async with served(lambda seen: answer(b"", 307, "Location: http://127.0.0.1:1/stolen")) as (server, ems):
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Rejected)
        assert outcome.reason is RejectedReason.NOT_FOLLOWED
        assert len(server.seen) == 1


async def test_no_answer_in_time_is_unknown_until_a_late_one_settles_it() -> None:
    async with served(lambda seen: answer_later(seen)) as (server, ems):
        order = an_order()
        outcome = await ems.orders.submit(order, timeout=0.1)
        assert isinstance(outcome, Unknown)
        assert order.client_order_id in ems.orders.unresolved
        twice = await ems.orders.submit(order)
        assert isinstance(twice, NotSent)
        assert twice.reason is NotSentReason.DUPLICATE
        async with asyncio.timeout(5):
            while order.client_order_id in ems.orders.unresolved:
                await asyncio.sleep(0.01)
        assert len(server.seen) == 1


def answer_later(seen: Seen) -> Reply:
    reply = accept(seen)
    reply.after = 0.3
    return reply


async def test_a_caller_who_goes_away_after_the_mark_leaves_the_order_to_its_answer() -> None:
    async with served(answer_later) as (server, ems):
        order = an_order()
        task = asyncio.create_task(ems.orders.place(order))
        async with asyncio.timeout(5):
            while not server.seen:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert order.client_order_id in ems.orders.unresolved
        async with asyncio.timeout(5):
            while ems.orders.unresolved:
                await asyncio.sleep(0.01)
        assert len(server.seen) == 1


async def test_a_caller_who_goes_away_before_the_mark_sends_nothing() -> None:
    async with ScriptedServer(accept) as server, EMSClient.self_hosted(server.url) as ems:
        for _ in range(20):  # cancelled at each of the first steps of the call
            task = asyncio.create_task(ems.orders.submit(an_order()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.sleep(0.05)
        assert server.seen == []
        assert not ems.orders.unresolved


async def test_the_deadline_before_a_connection_is_proof_that_nothing_was_sent() -> None:
    with a_listener_that_never_accepts() as url:
        async with EMSClient.self_hosted(url, settings=Settings(open_within=0.1)) as ems:
            outcome = await ems.orders.submit(an_order(), timeout=0.1)
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DEADLINE


async def test_a_connect_that_hangs_is_given_up_in_time() -> None:
    with a_listener_that_never_accepts() as url:
        settings = Settings(open_within=0.1, connect_timeout=0.2)
        async with EMSClient.self_hosted(url, settings=settings) as ems:
            outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.NO_CONNECTION
            assert outcome.attempts[0].failure is not None
            assert "in time" in outcome.attempts[0].failure


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with served(accept) as (server, ems):
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
        for _ in range(10):
            await server.close_idle()
            order = an_order()
            outcome = await ems.orders.submit(order)
            assert isinstance(outcome, Accepted), outcome
        bodies = [seen.body for seen in server.seen]
        assert len(bodies) == len(set(bodies)) == 11


async def test_an_answer_about_another_order_is_unknown_and_ends_its_connection() -> None:
    def script(seen: Seen) -> Reply:
        return answer(report(seen, client_order_id="another") if len(server.seen) == 1 else report(seen))

    async with served(script) as (server, ems):
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert "another" in outcome.message
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
        assert server.seen[1].connection != server.seen[0].connection


async def test_an_unreadable_success_keeps_its_body() -> None:
    async with served(lambda seen: answer(b"<html>fine</html>")) as (_, ems):
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert outcome.raw == b"<html>fine</html>"
        assert "html" not in repr(outcome)


async def test_orders_never_wait_behind_reads() -> None:
    def script(seen: Seen) -> Reply:
        return accept(seen) if seen.method == "POST" else Reply(end="hang")

    async with served(script, pool_size=4, order_share=1) as (server, ems):
        reads = [asyncio.create_task(ems.balances.get(timeout=20)) for _ in range(10)]
        async with asyncio.timeout(5):
            while len(server.operations("GET /v1/balances")) < 3:
                await asyncio.sleep(0.01)
        assert isinstance(await ems.orders.submit(an_order(), timeout=5), Accepted)
        assert len(server.operations("GET /v1/balances")) == 3
        with pytest.raises(DeadlineExceeded):
            await ems.balances.get(timeout=0.05)
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)


async def test_cancellation_leaks_no_slot() -> None:
    hanging = True

    def script(seen: Seen) -> Reply:
        if hanging:
            return Reply(end="hang")
        reply = answer(b"[]") if seen.method == "GET" else accept(seen)
        reply.after = 0.1
        return reply

    async with served(script, pool_size=3, order_share=1) as (server, ems):
        for _ in range(12):
            with pytest.raises(DeadlineExceeded):
                await ems.balances.get(timeout=0.02)
        hanging, before = False, len(server.seen)
        async with asyncio.timeout(5):  # both read slots and the one of orders, all at the same time
            two = [asyncio.create_task(ems.balances.get()) for _ in range(2)]
            outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, Accepted)
            assert await asyncio.gather(*two) == [[], []]
        assert len({seen.connection for seen in server.seen[before:]}) == 3


async def test_a_certificate_that_nobody_vouches_for_sends_nothing() -> None:
    async with Simulator(sites={"a": 0.0}, tls=True, pace=Pace(reply=0)) as sim:
        async with EMSClient.self_hosted(sim.site_urls["a"]) as ems:  # the default trust store
            outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.NO_CONNECTION
            assert "certificate" in outcome.message
        assert [record for record in sim.requests if record.operation == "order_new"] == []


async def test_a_port_that_speaks_no_tls_sends_nothing() -> None:
    async with ScriptedServer(accept) as server:
        url = server.url.replace("http:", "https:")
        settings = Settings(open_within=0.1, connect_timeout=0.2)
        async with EMSClient.self_hosted(url, settings=settings) as ems:
            outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, NotSent)
        assert server.seen == []


async def test_a_name_that_does_not_resolve_sends_nothing() -> None:
    async with EMSClient.self_hosted("https://nowhere.invalid", settings=Settings(open_within=0.5)) as ems:
        outcome = await ems.orders.submit(an_order(), timeout=5)
        assert isinstance(outcome, NotSent), outcome


async def test_a_refused_connection_sends_nothing() -> None:
    async with ScriptedServer(accept) as server:
        url = server.url
    async with EMSClient.self_hosted(url) as ems:
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, NotSent)
        assert outcome.reason is NotSentReason.NO_CONNECTION
        assert "refused" in outcome.message


STRAYS = {
    "a refusal": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "misdirected": b"HTTP/1.1 421 Misdirected\r\nContent-Length: 0\r\n\r\n",
    "a success": b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"message":"Ok"}',
    "half an answer": b"HTTP/1.1 200 O",
}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
async def test_bytes_nobody_asked_for_are_never_an_answer(stray: bytes) -> None:
    async with served(accept) as (server, ems):
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
        server.write_to_all(stray)
        await asyncio.sleep(0.05)
        orders = [an_order() for _ in range(3)]
        for order in orders:
            outcome = await ems.orders.submit(order)
            assert isinstance(outcome, Accepted), outcome
            assert outcome.report is not None
            assert outcome.report.client_order_id == order.client_order_id
        assert len(server.seen) == 4
        assert server.seen[1].connection != server.seen[0].connection


UNFRAMED = {
    "a refusal cut short": b'HTTP/1.1 400 Bad\r\n\r\n{"reject_reason":"EXCHANGE_RESP',
    "no body at all": b"HTTP/1.1 200 OK\r\n\r\n",
    "a report cut short": b"HTTP/1.1 200 OK\r\n\r\n" + ORDER[:-1],
    "a packed body cut short": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    + gzip.compress(b'{"message":"Ok"}')[:5],
}


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("data", UNFRAMED.values(), ids=UNFRAMED.keys())
async def test_a_body_that_may_not_be_whole_proves_nothing(data: bytes, end: End) -> None:
    async with served(lambda seen: Reply(data, end)) as (_, ems):
        assert isinstance(await ems.orders.submit(an_order(client_order_id="id-1")), Unknown)
        assert isinstance(await ems.orders.submit_cancel_all(exchange_id="KRAKEN/JOHN"), Unknown)


async def test_a_body_that_ends_with_the_connection_counts_if_it_is_whole() -> None:
    async with served(lambda seen: Reply(b"HTTP/1.1 200 OK\r\n\r\n" + ORDER, "fin")) as (_, ems):
        assert isinstance(await ems.orders.submit(an_order(client_order_id="id-1")), Accepted)


async def test_an_expired_deadline_never_sends() -> None:
    async with served(accept) as (server, ems):
        assert isinstance(await ems.orders.submit(an_order()), Accepted)  # a connection is warm now
        for _ in range(50):
            outcome = await ems.orders.submit(an_order(), timeout=1e-7)
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DEADLINE
        await asyncio.sleep(0.05)
        assert len(server.seen) == 1


async def test_a_site_whose_connections_are_all_taken_is_passed_over() -> None:
    async with (
        ScriptedServer(lambda seen: Reply(end="hang")) as near,
        ScriptedServer(accept) as far,
        ScriptedServer(lambda seen: answer(_endpoints(near.url, far.url))) as management,
    ):
        settings = Settings(pool_size=2, order_share=1, pool_timeout=0.1, late_answer=0.1, close_wait=0.1)
        async with EMSClient("key", management_url=management.url, settings=settings) as ems:
            first = next(site for site in ems.sites if site.url == near.url)
            assert first.exchanges == ("KRAKEN/JOHN",)
            hanging = [asyncio.create_task(ems.orders.submit(an_order(), timeout=2)) for _ in range(8)]
            outcomes = await asyncio.gather(*hanging)
            assert {type(one) for one in outcomes} <= {Accepted, Unknown}
            assert sum(isinstance(one, Unknown) for one in outcomes) == len(near.seen) <= 2
            assert len(far.seen) == 8 - len(near.seen)


def _endpoints(*urls: str) -> bytes:
    return msgspec.json.encode(
        [{"exchange_id": "KRAKEN/JOHN", "location_id": "L", "endpoint_url": url} for url in urls]
    )


async def test_two_clients_share_a_session() -> None:
    def script(seen: Seen) -> Reply:
        return answer(_endpoints(url)) if seen.operation == "GET /v1/endpoints" else answer(b"[]")

    async with ScriptedServer(script) as server, aiohttp.ClientSession() as session:
        url = server.url
        settings = Settings(open_within=0.3)
        clients = [
            EMSClient("key", management_url=url, management_session=session, settings=settings) for _ in range(2)
        ]
        async with clients[0] as one:
            async with clients[1] as two:
                await one.accounts.delete_all()
                await two.accounts.delete_all()
            await one.accounts.delete_all()
            assert len(session.trace_configs) == 1
        assert session.trace_configs == []
        assert len(server.operations("DELETE /v1/accounts/all")) == 3


async def test_only_the_attempt_whose_answer_is_due_may_say_that_it_came() -> None:
    """aiohttp hands a connection on before the attempt that used it has run to its end."""
    handler = _Handler(asyncio.get_running_loop())
    carrier = Carrier(handler)
    first, second = (Attempt(plain_read(LOCATIONS), "a", until=0.0) for _ in range(2))
    first.transport = second.transport = carrier
    handler.due = second
    due: list[Attempt | None] = []
    for attempt in (first, second):
        _nothing_due(attempt)
        due.append(handler.due)
    assert due == [second, None]
    handler.transport = carrier
    handler.data_received(b"HTTP/1.1 200 OK")
    assert carrier.aborted


class Carrier(asyncio.Transport):
    """A transport that carries nothing."""

    aborted = False

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def abort(self) -> None:
        self.aborted = True
