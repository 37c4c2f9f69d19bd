"""A listening socket: it opens and closes as often as one likes, and leaves nothing behind."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

_ACCEPT_TURNS: Final = 4
"""Turns of the loop within which a connection it has already accepted reaches its protocol."""


class Line(Protocol):
    """What a door needs from what it has let in."""

    def abort(self) -> None:
        """Cut it."""
        ...


class Door:
    """One port, the same each time it is opened; a port of 0 becomes the one the system chose."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.open = False
        self.lines: set[Line] = set()
        self._server: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def entered(self, line: Line) -> None:
        """Note what came in."""
        self.lines.add(line)
        self._empty.clear()
        if not self.open:  # accepted while we were closing
            asyncio.get_running_loop().call_soon(line.abort)

    def gone(self, line: Line) -> None:
        """Note that it is no more."""
        self.lines.discard(line)
        if not self.lines:
            self._empty.set()

    async def listen(self, accept: Callable[[], asyncio.Protocol]) -> None:
        """Open, and give each connection the protocol that `accept` returns. Does nothing if it is open.

        Raises OSError: if the port is taken.
        """
        if self._server is not None:
            return
        self._empty = asyncio.Event()
        self._empty.set()
        self.open = True
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(accept, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close, and cut every connection. Does nothing if it is closed."""
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
        for line in list(self.lines):
            line.abort()
        await server.wait_closed()
        await self._empty.wait()
