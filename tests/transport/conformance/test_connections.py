"""Connections between calls: kept, ended by the server, talked on out of turn, shared by orders and reads."""

import asyncio
from typing import Any

import pytest
from h2.settings import SettingCodes

from coinapi_ems_async import Accepted, EMSClient, Settings
from coinapi_ems_async.matrix import Row

from ...conftest import an_order
from ...wire import Reply, Seen, Transport, answer, server_for
from . import authority
from .forms import Frames, serialized
from .forms import data as data_frame
from .forms import head as head_frame
from .stage import EVERY_TRANSPORT, OURS, accepted, endpoints, order_id, stage, told

pytestmark = pytest.mark.every_loop


@EVERY_TRANSPORT
async def test_a_connection_is_kept(transport: Transport) -> None:
    async with stage(transport) as play:
        for _ in range(10):
            assert await play.order() == "accepted"
        assert len({seen.connection for seen in play.server.seen}) == 1


@EVERY_TRANSPORT
async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(transport: Transport) -> None:
    async with stage(transport) as play:
        orders = [an_order() for _ in range(10)]
        for order in orders:
            assert await play.order(order) == "accepted"
            await play.server.close_idle()
        assert [play.executions(order) for order in orders] == [1] * 10


@EVERY_TRANSPORT
async def test_a_read_on_a_kept_connection_that_drops_is_repeated(transport: Transport) -> None:
    cut = [False, True, False]

    def script(seen: Seen) -> Reply:
        return Reply(end="fin") if cut.pop(0) else accepted(seen)

    async with stage(transport, script) as play:
        assert await play.read() == "value"
        assert await play.read() == "value"
        first, second, third = play.server.seen
        assert first.connection == second.connection != third.connection


# HTTP/1.1 has no other way than to end the connection; HTTP/2 names the stream that nobody opened.
STRAYS: dict[str, tuple[bytes, Frames]] = {
    "a refusal": (
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        [head_frame(101, (":status", "408"), ends=True)],
    ),
    "misdirected": (
        b"HTTP/1.1 421 Misdirected\r\nContent-Length: 0\r\n\r\n",
        [head_frame(103, (":status", "421"), ends=True)],
    ),
    "a success": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"message":"Ok"}',
        [head_frame(101, (":status", "200")), data_frame(101, b'{"message":"Ok"}')],
    ),
    "half an answer": (b"HTTP/1.1 200 O", [head_frame(101, (":status", "200")).serialize()[:12]]),
    "a line end": (b"\r\n", [b"\r\n" * 6]),
    "garbage": (b"\0\0", [b"\0" * 40]),
}


@EVERY_TRANSPORT
@pytest.mark.parametrize("stray", STRAYS)
async def test_bytes_nobody_asked_for_are_never_an_answer(transport: Transport, stray: str) -> None:
    http1, frames = STRAYS[stray]
    async with stage(transport) as play:
        assert await play.order() == "accepted"
        play.server.write_to_all(serialized(frames) if transport == "http2" else http1)
        await asyncio.sleep(0.02)  # nothing shows that they have arrived
        orders = [an_order() for _ in range(3)]
        for order in orders:
            outcome = await play.ems.orders.submit(order)
            assert isinstance(outcome, Accepted), outcome
            assert outcome.report is not None
            assert outcome.report.client_order_id == order.client_order_id
        assert len(play.server.seen) == 4
        assert play.server.seen[1].connection != play.server.seen[0].connection


async def test_an_answer_to_a_stream_that_comes_next_is_not_its_answer() -> None:
    async with stage("http2") as play:
        assert await play.order() == "accepted"
        play.server.write_to_all(head_frame(3, (":status", "421"), ends=True).serialize())
        await asyncio.sleep(0.02)
        assert await play.order() == "accepted"
        assert play.server.seen[1].connection != play.server.seen[0].connection


@EVERY_TRANSPORT
@pytest.mark.parametrize("stray", STRAYS)
async def test_bytes_that_are_there_already_are_never_an_answer(transport: Transport, stray: str) -> None:
    """They are in the socket when the order is sent, and the loop has not told of them."""
    http1, frames = STRAYS[stray]
    async with stage(transport) as play:
        assert await play.order() == "accepted"
        play.server.write_to_all(serialized(frames) if transport == "http2" else http1)
        for _ in range(3):
            order = an_order()
            assert await play.order(order) in ("accepted", "unknown")
            assert play.executions(order) <= 1
        assert await play.order() == "accepted"


@EVERY_TRANSPORT
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_what_is_there_before_the_first_request_is_never_an_answer(
    transport: Transport, secure: bool
) -> None:
    """Some servers tell a connection that asks nothing: 408, and that may be a warm one."""
    options: dict[str, Any] = {"warm_connections": 1}
    server: dict[str, Any] = {}
    if secure:
        server["tls"] = authority.server_context(transport)
        options["ssl_context"] = authority.client_context()
    http1, _ = STRAYS["a refusal"]
    frames = head_frame(1, (":status", "408"), ends=True).serialize()
    async with stage(transport, server=server, **options) as play:
        for _ in range(10):
            play.server.write_to_all(frames if transport == "http2" else http1)
            assert await play.order() in ("accepted", "unknown")
            await play.server.close_idle()


@EVERY_TRANSPORT
async def test_a_kept_tls_connection_that_was_closed_meanwhile_is_not_used(transport: Transport) -> None:
    server = {"tls": authority.server_context(transport)}
    async with stage(transport, server=server, ssl_context=authority.client_context()) as play:
        orders = [an_order() for _ in range(10)]
        for order in orders:
            assert await play.order(order) == "accepted"
            await play.server.close_idle()
        assert [play.executions(order) for order in orders] == [1] * 10


async def test_one_stream_at_a_time_serves_everybody() -> None:
    server = {"settings": {SettingCodes.MAX_CONCURRENT_STREAMS: 1}}
    async with stage("http2", lambda seen: accepted(seen).but(after=0.002), server=server) as play:
        ended = await asyncio.gather(*(play.order() for _ in range(30)))
        assert list(ended) == ["accepted"] * 30


async def test_an_order_that_does_not_fit_the_servers_window_is_not_sent() -> None:
    server = {"settings": {SettingCodes.INITIAL_WINDOW_SIZE: 10}}
    async with stage("http2", server=server) as play:
        assert await play.read() == "value"
        assert await play.order(timeout=0.1) == "not sent: deadline"
        assert await play.read() == "value"
        assert [seen.method for seen in play.server.seen] == ["GET", "GET"]


@EVERY_TRANSPORT
async def test_orders_never_wait_behind_reads(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        return accepted(seen) if seen.method == "POST" else Reply(end="hang")

    async with stage(transport, script, pool_size=4, order_share=1, pool_timeout=20) as play:
        reads = [asyncio.create_task(play.read(timeout=20)) for _ in range(10)]
        async with asyncio.timeout(5):
            while len(play.server.operations("GET /v1/balances")) < 3:
                await asyncio.sleep(0.005)
            for _ in range(5):
                assert await play.order(timeout=5) == "accepted"
        assert len(play.server.operations("GET /v1/balances")) == 3
        assert await play.read(timeout=0.05) == "DeadlineExceeded"
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)


@EVERY_TRANSPORT
async def test_no_more_run_at_a_time_than_the_pool_allows(transport: Transport) -> None:
    """What waits is served in the order in which it came."""

    def script(seen: Seen) -> Reply:
        return accepted(seen).but(after=0.01)

    async with stage(transport, script, pool_size=4, order_share=1) as play:
        orders = [an_order() for _ in range(40)]
        ended: list[str] = []

        async def one(index: int) -> None:
            assert await play.order(orders[index]) == "accepted"
            ended.append(orders[index].client_order_id)

        async with asyncio.timeout(10):
            await asyncio.gather(*map(one, range(40)))
        places = {order_id(seen): place for place, seen in enumerate(play.server.seen)}
        assert all(abs(places[order.client_order_id] - index) < 4 for index, order in enumerate(orders))
        assert play.server.connections <= 4 + 1  # and one for probes


@EVERY_TRANSPORT
async def test_cancellation_leaks_no_slot(transport: Transport) -> None:
    hanging = True

    def script(seen: Seen) -> Reply:
        return Reply(end="hang") if hanging else accepted(seen).but(after=0.05)

    async with stage(transport, script, pool_size=3, order_share=1) as play:
        for _ in range(12):
            assert await play.read(timeout=0.02) == "DeadlineExceeded"
        hanging, before = False, len(play.server.seen)
        async with asyncio.timeout(5):  # both read slots and the one of orders, all at the same time
            got = await asyncio.gather(play.read(), play.read(), play.order())
        assert list(got) == ["value", "value", "accepted"]
        if transport != "http2":
            assert len({seen.connection for seen in play.server.seen[before:]}) == 3


@EVERY_TRANSPORT
async def test_a_site_whose_connections_are_all_taken_is_passed_over(transport: Transport) -> None:
    async with (
        server_for(transport, lambda seen: Reply(end="hang")) as near,
        server_for(transport, accepted) as far,
        server_for(None, lambda seen: answer(endpoints(near.url, far.url))) as management,
    ):
        settings = Settings(pool_size=2, order_share=1, pool_timeout=0.1, late_answer=0.05, close_wait=0.05)
        client = EMSClient("key", management_url=management.url, settings=settings, transport=transport)
        async with client as ems:
            calls = [told(ems.orders.submit(an_order(), timeout=0.3)) for _ in range(8)]
            ended = await asyncio.gather(*calls)
            assert set(ended) <= {"accepted", "unknown"}
            assert ended.count("unknown") == len(near.seen) <= 2
            assert len(far.seen) == 8 - len(near.seen)


@OURS
async def test_what_waits_while_every_site_is_ejected_is_asked_once_more(transport: Transport) -> None:
    """None of them has refused it a connection: it waited for one, all of them being taken."""

    def slow(seen: Seen) -> Reply:
        return accepted(seen).but(after=0.5)

    async with (
        server_for(transport, slow) as near,
        server_for(transport, slow) as far,
        server_for(None, lambda seen: answer(endpoints(near.url, far.url))) as management,
    ):
        settings = Settings(pool_size=2, order_share=1, pool_timeout=0.05)
        client = EMSClient("key", management_url=management.url, settings=settings, transport=transport)
        async with client as ems, asyncio.timeout(10):
            taken = [asyncio.create_task(told(ems.orders.submit(an_order()))) for _ in range(4)]
            while len(near.seen) + len(far.seen) < 4:
                await asyncio.sleep(0.001)
            order = an_order()
            waiting = asyncio.create_task(ems.orders.submit(order))
            roster = ems._ready().roster
            while any("waiting=0" in repr(entry.pool) for entry in roster.entries.values()):
                await asyncio.sleep(0.001)
            for entry in roster.entries.values():
                roster.bad(entry, "no answer")
                roster.bad(entry, "no answer")
                assert entry.is_lost
            outcome = await waiting
            assert isinstance(outcome, Accepted), outcome
            assert await asyncio.gather(*taken) == ["accepted"] * 4
        given_up = [one for one in outcome.attempts if one.failure == Row.GIVEN_UP.value]
        assert len(given_up) == 2
        assert sum(order_id(seen) == order.client_order_id for seen in near.seen + far.seen) == 1


@OURS
async def test_warm_connections_are_there_before_the_first_order(transport: Transport) -> None:
    async with stage(transport) as play:
        before = play.server.connections
        outcome = await play.ems.orders.submit(an_order())
        assert play.server.connections == before
        assert outcome.timing is not None
        assert outcome.timing.queued is not None
        assert outcome.timing.queued < 0.05


@OURS
async def test_closing_leaves_no_connection_and_no_task_behind(transport: Transport) -> None:
    async with server_for(transport, accepted) as server:
        tasks = asyncio.all_tasks()
        client = EMSClient.self_hosted(server.url, transport=transport)
        async with client as ems:
            await asyncio.gather(*(told(ems.orders.submit(an_order())) for _ in range(20)))
            hanging = asyncio.create_task(told(ems.balances.get()))
            await asyncio.sleep(0)
        await hanging
        async with asyncio.timeout(3):
            while server.open_connections:
                await asyncio.sleep(0.005)
            while asyncio.all_tasks() - tasks:
                await asyncio.sleep(0.005)
        assert (server.open_connections, asyncio.all_tasks() - tasks) == (0, set())
