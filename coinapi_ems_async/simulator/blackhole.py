"""A port on which nobody answers: whoever connects to it hangs, as before a firewall that drops."""

import asyncio
import contextlib
import socket
from typing import Final

_TRIES: Final = 16  # connections after which the queue must be full: Linux takes one more than is asked for
_HANGS: Final = 0.1  # s, after which a connection on this machine is taken to hang


class Blackhole:
    """Listens with no room in its queue, accepts nobody, and fills the queue itself."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._sockets: list[socket.socket] = []

    async def open(self) -> None:
        """Take the port; from then on connections hang.

        Raises OSError: if the port is taken, or this system lets a queue grow as it likes.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = self._socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(0)
            for _ in range(_TRIES):
                if await self._hangs(self._socket(family)):
                    return
            raise OSError("this system lets connections in although nobody accepts them")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the port back; what hung is refused, or finds who listens then."""
        while self._sockets:
            self._sockets.pop().close()

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(sock)
        sock.setblocking(False)
        return sock

    async def _hangs(self, sock: socket.socket) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HANGS):
                await asyncio.get_running_loop().sock_connect(sock, (self._host, self._port))
            return False
        return True
