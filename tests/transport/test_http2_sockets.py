"""HTTP/2 over real sockets: what a descriptor knows, what a held-up loop misses, and many requests at a time."""

import asyncio
import gc
import select
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import cast

import pytest
from h2.events import RequestReceived

from coinapi_ems_async import Settings
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.transport.base import Attempt
from coinapi_ems_async.transport.http2 import Http2Connection

from .peer import (
    READ,
    Keeper,
    Line,
    data_frame,
    goaway,
    order,
    ping,
    report,
    row,
    settings_frame,
    until,
    witness,
)

pytestmark = pytest.mark.every_loop


@asynccontextmanager
async def wired(**numbers: float) -> AsyncIterator[tuple[Http2Connection, socket.socket, Keeper]]:
    """A connection to a socket that does only what the test does with it."""
    owner = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Http2Connection(owner, 0, "http://127.0.0.1", Credentials(), Settings(**numbers)),  # type: ignore[arg-type]  # numbers of every setting
            *listener.getsockname(),
        )
        server, _ = listener.accept()
    with server:
        server.sendall(settings_frame())
        await connection.ready
        yield connection, server, owner
        connection.kill("the test is over")
        await until(lambda: owner.ends)


def arrived(server: socket.socket, connection: Http2Connection) -> None:
    """Wait until what the server did has reached the client's descriptor, without giving the loop a turn."""
    transport = cast(asyncio.Transport, connection._transport)
    client = transport.get_extra_info("socket")
    assert select.select([client.fileno()], [], [], 5)[0]


async def after_a_silence() -> None:
    silence = monotonic()
    await until(lambda: monotonic() - silence > 0.12)


async def test_a_connection_that_the_server_has_ended_is_not_used() -> None:
    async with wired() as (connection, server, _owner):
        assert connection.is_usable()
        server.shutdown(socket.SHUT_WR)
        arrived(server, connection)
        assert not connection.is_usable()


async def test_not_even_in_the_midst_of_traffic() -> None:
    async with wired() as (connection, server, _owner):
        attempt = Attempt(order(), "site", until=float("inf"))
        connection.exchange(attempt)
        server.sendall(ping())
        server.shutdown(socket.SHUT_WR)
        arrived(server, connection)
        assert not connection.is_usable()


async def test_unread_bytes_are_read_first_after_a_silence() -> None:
    async with wired() as (connection, server, owner):
        await after_a_silence()
        server.sendall(ping())
        arrived(server, connection)
        assert not connection.is_usable()
        await until(lambda: owner.roomier_at)
        assert connection.is_usable()


async def test_what_a_new_connection_has_not_read_yet_comes_before_any_request() -> None:
    """It could be an answer that nobody asked for."""
    async with wired() as (connection, server, owner):
        server.sendall(ping())
        arrived(server, connection)
        assert not connection.is_usable()
        await until(lambda: owner.roomier_at)
        assert connection.is_usable()


async def test_unread_bytes_of_a_new_connection_are_read_first() -> None:
    async with wired() as (connection, server, owner):
        server.sendall(goaway(0))
        arrived(server, connection)
        assert not connection.is_usable()
        await until(lambda: owner.ends)
        assert owner.roomier_at == []


async def test_unread_bytes_are_what_is_to_be_expected_of_traffic() -> None:
    async with wired() as (connection, server, owner):
        connection.served = 1
        server.sendall(ping())
        arrived(server, connection)
        assert connection.is_usable()
        connection.exchange(Attempt(order(), "site", until=float("inf")))
        await after_a_silence()
        server.sendall(ping())
        arrived(server, connection)
        assert connection.is_usable()
        assert owner.roomier_at == []


async def test_a_loop_that_was_held_up_does_not_blame_the_server() -> None:
    async with wired(http2_ping=0.05, http2_ping_timeout=0.05, stall_timeout=0.05) as (connection, server, owner):
        attempt = Attempt(order(), "site", until=float("inf"))
        connection.exchange(attempt)
        line = Line()
        server.sendall(line.head(1))
        await until(lambda: attempt.first_byte is not None)
        server.settimeout(5)
        body = report(attempt.request)
        for at in range(5):
            server.sendall(data_frame(1, body[at : at + 1]))
            arrived(server, connection)
            time.sleep(0.12)  # noqa: ASYNC251  # both timers are overdue, and what they wait for is there
            await asyncio.sleep(0)
        server.sendall(data_frame(1, body[5:], "END_STREAM"))
        await until(lambda: attempt.settled)
        assert row(attempt) is Row.SUCCESS
        assert owner.ends == []


async def test_nothing_holds_on_to_it_when_it_is_over() -> None:
    gc.collect()
    gc.disable()
    try:
        async with wired() as (connection, server, _owner):
            machine = weakref.ref(connection._h2)
            late = Attempt(order(), "site", until=0)
            attempts = [Attempt(order(), "site", until=float("inf")) for _ in range(3)]
            for attempt in (late, *attempts):
                connection.exchange(attempt)
            server.sendall(Line().head(1, b"101") + Line().head(3))
            await until(lambda: attempts[1].first_byte is not None)
            gone = weakref.ref(connection)
            del attempt
        del connection
        await until(lambda: gone() is None and machine() is None)
        assert (gone(), machine()) == (None, None)
    finally:
        gc.enable()


class Site(asyncio.Protocol):
    """Answers every request, eight streams at a time, the last first; with `most` of them it says goodbye."""

    def __init__(self, most: float = float("inf")) -> None:
        self.left = most
        self.h2 = witness()
        self.line = Line()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(settings_frame({3: 8}))

    def data_received(self, data: bytes) -> None:
        numbers = [event.stream_id for event in self.h2.receive_data(data) if isinstance(event, RequestReceived)]
        if not numbers or not self.left:
            return
        self.left -= len(numbers)
        said = [self.line.answer(number, b"[]") for number in reversed(numbers) if number is not None]
        if self.left <= 0:
            self.left = 0
            said.append(goaway(self.h2.highest_inbound_stream_id))
        self.transport.write(b"".join(said))


@asynccontextmanager
async def connections_to(
    site: Callable[[], Site],
) -> AsyncIterator[Callable[[Keeper], Awaitable[Http2Connection]]]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(site, "127.0.0.1", 0)

    async def connect(owner: Keeper) -> Http2Connection:
        _, connection = await loop.create_connection(
            lambda: Http2Connection(owner, 0, "http://127.0.0.1", Credentials(), Settings()),
            *server.sockets[0].getsockname(),
        )
        await connection.ready
        return connection

    try:
        yield connect
    finally:
        server.close()


def reads(count: int) -> list[Attempt]:
    return [Attempt(READ, "site", until=float("inf")) for _ in range(count)]


async def test_many_requests_share_a_few_streams() -> None:
    owner = Keeper()
    async with connections_to(Site) as connect:
        connection = await connect(owner)
        attempts = reads(300)
        for attempt in attempts:
            connection.exchange(attempt)
        assert connection.running == 300
        await until(lambda: len(owner.finished_with) == 300)
        assert {row(one) for one in attempts} == {Row.SUCCESS}
        assert (connection.running, connection.room()) == (0, 8)
        assert not connection._h2.streams  # h2 would keep them until it walks over all
        connection.close()
        await until(lambda: owner.ends)


async def test_goodbyes_beside_answers_lose_nothing() -> None:
    served = opened = 0
    async with connections_to(lambda: Site(20)) as connect:
        while served < 200:
            owner = Keeper()
            connection = await connect(owner)
            opened += 1
            attempts = reads(200 - served)
            for attempt in attempts:
                connection.exchange(attempt)
            await until(lambda owner=owner, sent=attempts: len(owner.finished_with) == len(sent))  # type: ignore[misc]
            connection.close()
            await until(owner.ends.copy)
            rows = [row(one) for one in attempts]
            assert set(rows) <= {Row.SUCCESS, Row.STALE_CONNECTION, Row.GOAWAY_UNPROCESSED}
            assert set(owner.finished_with) == set(attempts)
            served += rows.count(Row.SUCCESS)
    assert opened > 5
