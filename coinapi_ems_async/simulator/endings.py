"""How a TCP connection is made to end: cut by a reset, at once or when all that was written is on its way."""

import asyncio
import os
import socket
import struct
import sys
from typing import Final

_TICK: Final = 0.0005  # s, between two looks at what is still to be sent
_LOOKS: Final = 2_000  # after which a peer that does not read is cut all the same
_UNSENT: Final = 0x894B  # SIOCOUTQNSD: bytes that the kernel has not yet sent


def set_option(transport: asyncio.BaseTransport, level: int, name: int, value: bytes) -> None:
    """Set an option of the socket below; does nothing if that is gone."""
    # Through a copy of the descriptor: the sockets that loops hand out need not know all options.
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with socket.socket(fileno=os.dup(sock.fileno())) as twin:
            twin.setsockopt(level, name, value)


def send_at_once(transport: asyncio.BaseTransport) -> None:
    """Let small writes go without waiting for acknowledgements."""
    set_option(transport, socket.IPPROTO_TCP, socket.TCP_NODELAY, struct.pack("i", 1))


def cut(transport: asyncio.WriteTransport) -> None:
    """Cut with a reset; what was written and is not yet sent is lost."""
    set_option(transport, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def cut_when_sent(loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport, looks: int = _LOOKS) -> None:
    """Cut with a reset as soon as everything that was written is on its way, or after about a second."""
    if transport.is_closing():
        return
    if looks and (transport.get_write_buffer_size() or _unsent(transport)):
        loop.call_later(_TICK, cut_when_sent, loop, transport, looks - 1)
    else:
        cut(transport)


def _unsent(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or sock.fileno() < 0:
        return 0
    import fcntl

    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _UNSENT, b"\0\0\0\0"))[0])
