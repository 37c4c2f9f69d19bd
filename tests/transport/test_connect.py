"""A descriptor has one owner: whatever becomes of a connection, its number is closed once."""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

import aiohttp
import pytest

from coinapi_ems_async import Settings
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.transport.aiohttp import AiohttpPool
from coinapi_ems_async.transport.base import Attempt, Connection, TransportFailure
from coinapi_ems_async.transport.connect import Connector
from coinapi_ems_async.transport.lent import lent_socket

from .conformance import authority

pytestmark = pytest.mark.every_loop


class Nobody:
    """Owns connections, and does nothing with them."""

    def finished(self, connection: Connection, attempt: Attempt) -> None: ...

    def roomier(self, connection: Connection) -> None: ...

    def ended(self, connection: Connection, *, by_peer: bool) -> None: ...


def reset(listener: socket.socket) -> None:
    """Cut the next connection that has come."""
    peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class Interrupted(Connector):
    """The server resets, or says nothing, when TCP has connected and nothing else has happened."""

    listener: socket.socket
    resets = True
    number = -1

    async def _socket(self, end: float) -> socket.socket:
        sock = await super()._socket(end)
        self.number = sock.fileno()
        if self.resets:
            reset(self.listener)
        return sock


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((authority.HERE, 0)) as one:
        yield one


def interrupted(
    listener: socket.socket, scheme: str, protocol: Literal["http1", "http2"], connect_timeout: float = 5.0
) -> Interrupted:
    found = Interrupted(
        f"{scheme}://{authority.HERE}:{listener.getsockname()[1]}",
        Credentials(),
        Settings(connect_timeout=connect_timeout),
        tls=authority.client_context() if scheme == "https" else None,
        protocol=protocol,
    )
    found.listener = listener
    return found


def occupy(number: int) -> list[int]:
    """Open descriptors until one of them has the number."""
    found: list[int] = []
    while number not in found:
        found.append(os.dup(0))
        assert found[-1] <= number, "the number was not free: nobody has closed it"
    return found


def is_left_alone(number: int) -> bool:
    """Whether the next that gets the number keeps it when all that is left of the connection is gone."""
    taken = occupy(number)
    before = os.fstat(number).st_ino
    gc.collect()
    try:
        return os.fstat(number).st_ino == before
    except OSError:
        return False
    finally:
        for one in taken:
            try:
                os.close(one)
            except OSError:
                assert one == number  # the one that was closed behind our back


async def until_closed() -> None:
    """Let the loop close what it has been told to close."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_reset_before_the_first_byte_closes_the_descriptor_once(
    listener: socket.socket, scheme: str, protocol: Literal["http1", "http2"]
) -> None:
    connector = interrupted(listener, scheme, protocol)
    try:
        connection = await connector(Nobody(), 0)
    except TransportFailure as failure:
        assert failure.row in (Row.REFUSED, Row.TLS_HANDSHAKE)  # noqa: PT017  # where it fails, this is how
    else:
        assert (scheme, protocol) == ("http", "http1")  # which writes nothing of its own
        connection.kill("that was all")
        del connection
    await until_closed()
    assert is_left_alone(connector.number)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("ends", ["cancelled", "timed out"])
async def test_a_handshake_that_is_given_up_closes_the_descriptor_once(
    listener: socket.socket, protocol: Literal["http1", "http2"], ends: str
) -> None:
    connector = interrupted(listener, "https", protocol, 0.3 if ends == "timed out" else 5.0)
    connector.resets = False
    opening = asyncio.create_task(connector(Nobody(), 0))
    if ends == "cancelled":
        while connector.number < 0:
            await asyncio.sleep(0)
        opening.cancel()
    with pytest.raises(asyncio.CancelledError if ends == "cancelled" else TransportFailure):
        await opening
    await until_closed()
    assert is_left_alone(connector.number)


@pytest.mark.parametrize("turns", range(6))
async def test_it_does_not_matter_when_a_handshake_is_given_up(listener: socket.socket, turns: int) -> None:
    connector = interrupted(listener, "https", "http1")
    opening = asyncio.create_task(connector(Nobody(), 0))
    while connector.number < 0:
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises((asyncio.CancelledError, TransportFailure)):
        await opening
    await until_closed()
    assert is_left_alone(connector.number)


def close(listener: socket.socket) -> None:
    peer, _ = listener.accept()
    peer.close()


def speak_something_else(listener: socket.socket) -> None:
    peer, _ = listener.accept()
    with peer:
        peer.sendall(b"220 ready when you are\r\n")


@pytest.mark.parametrize("fail", [reset, close, speak_something_else])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_a_failure_about_the_time_of_giving_up_is_no_error_of_the_loop(
    listener: socket.socket, protocol: Literal["http1", "http2"], fail: Callable[[socket.socket], None]
) -> None:
    """A future whose error nobody asks for would be told to the loop when it is collected."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    for fails, given_up in product(range(6), range(8)):
        connector = interrupted(listener, "https", protocol)
        connector.resets = False
        opening = asyncio.create_task(connector(Nobody(), 0))
        while connector.number < 0:
            await asyncio.sleep(0)
        for turn in range(8):
            if turn == fails:
                fail(listener)
            if turn == given_up:
                opening.cancel()
            await asyncio.sleep(0)
        with pytest.raises((asyncio.CancelledError, TransportFailure)):
            await opening
        await until_closed()
    gc.collect()
    assert told == []


async def lent_and_connected(listener: socket.socket) -> socket.socket:
    address = listener.getsockname()
    sock = lent_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_socket_that_is_lent_is_not_closed_twice(listener: socket.socket, is_reset: bool) -> None:
    """As aiohttp does: it gives the socket to the loop, and forgets it whatever comes of that."""
    loop = asyncio.get_running_loop()
    sock = await lent_and_connected(listener)
    number = sock.fileno()
    if is_reset:
        reset(listener)
        context = authority.client_context()
        with pytest.raises(OSError):
            await loop.create_connection(asyncio.Protocol, sock=sock, ssl=context, server_hostname=authority.HERE)
    else:
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        transport.abort()
    await until_closed()
    del sock
    gc.collect()
    assert is_left_alone(number)


@pytest.mark.parametrize("turns", [1, 2])
async def test_a_socket_that_is_lent_is_not_closed_twice_if_it_is_given_up(
    listener: socket.socket, turns: int
) -> None:
    loop = asyncio.get_running_loop()
    sock = await lent_and_connected(listener)
    number = sock.fileno()
    opening = asyncio.create_task(loop.create_connection(asyncio.Protocol, sock=sock))
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until_closed()
    left: list[object] = [sock]
    left.append(left)  # so that it is not gone before its number is another's
    del sock, opening, left
    assert is_left_alone(number)


def test_a_socket_that_nobody_took_is_closed() -> None:
    sock = lent_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("", 0)))
    number = sock.fileno()
    sockets = [sock]
    del sock
    with pytest.warns(ResourceWarning):
        sockets.clear()
    with pytest.raises(OSError):
        os.fstat(number)


async def test_the_sockets_of_aiohttp_are_lent() -> None:
    pool = AiohttpPool("http://127.0.0.1:1", Credentials(), Settings())
    connector = pool._session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    assert connector._socket_factory is lent_socket
    await pool.aclose()
