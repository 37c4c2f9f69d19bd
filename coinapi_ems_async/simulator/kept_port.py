"""The port of a server that is down for a while: it refuses everybody, and nobody else can have it."""

import contextlib
import socket
from typing import Self


class KeptPort:
    """Bound and not listening.

    Otherwise somebody else's server, or another test's, may get the port and answer for the one that is down.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def keep(cls, host: str, port: int) -> Self:
        """Keep the port until `close`; without effect if it is taken."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            # Connections of before may linger; once bound, the system must not lend the port to others.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return cls(sock)

    def close(self) -> None:
        """Give the port back."""
        self._sock.close()
