"""Sockets for libraries that hand them to the event loop and never look at them again."""

import os
import socket

from aiohttp.connector import AddrInfoType

__all__ = ["LentSocket", "lent_socket"]


class LentSocket(socket.socket):
    """Leaves its descriptor to whoever has it, if anybody has, or had it and has closed it.

    uvloop's transports close the descriptor by themselves. If a reset comes with the handshake, or, before uvloop
    0.23, if connecting is cancelled, they do so before they know of the socket, which would close the same number
    once more when it is collected; by then that may be another connection's.
    """

    lent: int | None = None
    """What its number stands for, as long as it is this socket's."""

    def __del__(self) -> None:
        if getattr(self, "_io_refs", 0) or (self.lent and _identity(self.fileno()) != self.lent):
            self.detach()
        super().__del__()  # type: ignore[misc]  # typeshed does not tell of it


def _identity(number: int) -> int | None:
    """What tells the file under a descriptor's number from others; None if there is none, or nothing tells it."""
    try:
        return os.fstat(number).st_ino or None
    except OSError:
        return None


def lent_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket for an address, as `aiohttp.TCPConnector` wants it."""
    family, kind, protocol, _, _ = address
    sock = LentSocket(family, kind, protocol)
    sock.lent = _identity(sock.fileno())
    return sock
