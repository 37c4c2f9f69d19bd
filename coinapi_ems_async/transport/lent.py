"""Sockets for libraries that hand them to the event loop and never look at them again."""

import socket

from aiohttp.connector import AddrInfoType

__all__ = ["LentSocket", "lent_socket"]


class LentSocket(socket.socket):
    """Leaves its descriptor to whoever has it, if anybody has.

    uvloop's transports close the descriptor by themselves. If a reset comes with the handshake they do so before
    they know of the socket, which would close the same number once more when it is collected; by then that may be
    another connection's.
    """

    def __del__(self) -> None:
        if getattr(self, "_io_refs", 0):
            self.detach()
        super().__del__()  # type: ignore[misc]  # typeshed does not tell of it


def lent_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket for an address, as `aiohttp.TCPConnector` wants it."""
    family, kind, protocol, _, _ = address
    return LentSocket(family, kind, protocol)
