"""A listening socket that carries one service function."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Final

from .http1 import Connection
from .messages import Service
from .secure import SecureTransport

_ACCEPT_TURNS: Final = 4
"""Turns of the loop within which a connection it has already accepted reaches its protocol."""


class Listener:
    """One server: start and stop as often as you like, the port stays the same.

    `numbers` gives each accepted connection its number.
    """

    def __init__(self, service: Service, host: str, port: int, numbers: Iterator[int]) -> None:
        self.service = service
        self.connections: set[Connection] = set()
        self.handshakes: set[SecureTransport] = set()
        self.hung: dict[Connection, Callable[[], None]] = {}
        self.host = host
        self.port = port
        self._numbers = numbers
        self._server: asyncio.Server | None = None
        self.open = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def joined(self, connection: Connection) -> int:
        """Note a new connection and return its number."""
        self.connections.add(connection)
        self._check()
        if not self.open:  # accepted while we were closing
            asyncio.get_running_loop().call_soon(connection.abort)
        return next(self._numbers)

    def left(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        self.hung.pop(connection, None)
        self._check()

    def began(self, handshake: SecureTransport) -> None:
        """Note a peer that starts shaking hands."""
        self.handshakes.add(handshake)
        self._check()

    def ended(self, handshake: SecureTransport) -> None:
        """Note that it has finished, either way."""
        self.handshakes.discard(handshake)
        self._check()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen; a port of 0 becomes the one the system chose. Does nothing if it listens already.

        Raises OSError: if the port is taken.
        """
        if self._server is not None:
            return
        self._empty = asyncio.Event()
        self._empty.set()
        loop = asyncio.get_running_loop()
        self.open = True
        self._server = await loop.create_server(
            lambda: Connection(self) if tls is None else SecureTransport(self, tls),
            self.host,
            self.port,
            backlog=1024,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection. Does nothing if it does not listen."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self.open = False
        # asyncio leaks a connection that it accepted but had not yet attached when its server was closed:
        # accept no more, let the accepted ones arrive, then close.
        loop = asyncio.get_running_loop()
        for sock in server.sockets:
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(sock.fileno())
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()
        for connection in list(self.connections):
            connection.abort()
        for handshake in list(self.handshakes):
            handshake.abort()
        await server.wait_closed()
        await self._empty.wait()

    def _check(self) -> None:
        if self.connections or self.handshakes:
            self._empty.clear()
        else:
            self._empty.set()

    def release(self) -> None:
        """Answer every request that hangs."""
        waiting = list(self.hung.values())
        self.hung.clear()
        for answer in waiting:
            answer()
