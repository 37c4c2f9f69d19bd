"""Opening a connection: name, socket, TLS, protocol; each step fails with a row of its own."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Final, Literal, cast
from urllib.parse import urlsplit

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType as AddrInfo

from ..auth import Credentials
from ..matrix import Row
from ..settings import Settings
from .base import Connection, Owner, TransportFailure
from .http1 import BufferedHttp1Connection, Http1Connection, RequestHeads
from .tls import for_http2

__all__ = ["HTTP2_STREAMS", "Connector"]

log: Final = logging.getLogger("coinapi_ems_async.transport")

HTTP2_STREAMS: Final = 100
"""Requests that one HTTP/2 connection is to carry at a time (RFC 9113, 6.5.2: servers should allow 100)."""

_FAMILIES_APART: Final = 0.25
"""Seconds before the next address is tried beside the first (RFC 8305: 250 ms)."""
_READ_SIZE: Final = 256 * 1024
"""Bytes read at a time; asyncio: as many."""
_CLOSE_NOTIFY_WITHIN: Final = 1.0
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A peer that is gone without a word is noticed after 35 s; the system's default is two hours."""


class Connector:
    """Opens connections to one base URL, normalised.

    protocol: "http1", or "http2": over TLS the server may still choose HTTP/1.1 (ALPN), over plain TCP it must
    speak HTTP/2 (prior knowledge). without_http2: URLs of servers that did not offer it, told once each.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        settings: Settings,
        *,
        tls: ssl.SSLContext | None,
        protocol: Literal["http1", "http2"],
        without_http2: set[str] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        self._base_url = base_url
        self._credentials = credentials
        self._settings = settings
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._literal = _literal(self._host, self._port)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = tls if tls is not None else ssl.create_default_context()
            if protocol == "http2":
                self._tls = for_http2(self._tls)
        self._protocol = protocol
        self._heads = RequestHeads(base_url, credentials)
        self._without_http2 = set() if without_http2 is None else without_http2
        self._buffer: bytearray | None = None

    def __repr__(self) -> str:
        return f"<Connector {self._base_url} {self._protocol}>"

    async def __call__(self, owner: Owner, generation: int) -> Connection:
        """Return an open connection that is ready for a request, within the connect time-out.

        Raises TransportFailure: NAME_LOOKUP, REFUSED, CONNECT_TIMEOUT, TLS_VERIFICATION, TLS_HANDSHAKE.
        """
        end = monotonic() + self._settings.connect_timeout
        sock = await self._socket(end)
        choice, loop = _Choice(self, owner, generation), asyncio.get_running_loop()
        try:
            async with asyncio.timeout(end - monotonic()):
                await self._begin(loop, sock, choice)
                await choice.until_ready()
        except BaseException as error:
            choice.kill()
            if _is_shared(loop):
                _close(sock)
            if isinstance(error, TransportFailure) or not isinstance(error, Exception):
                raise
            raise self._failure(error) from None
        finally:
            if not _is_shared(loop):
                sock.detach()
        assert choice.connection is not None  # noqa: S101  # there is a transport, so it was chosen
        return choice.connection

    async def _socket(self, end: float) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(end - monotonic()):
                try:
                    found = self._literal or await loop.getaddrinfo(
                        self._host, self._port, type=socket.SOCK_STREAM
                    )
                except (socket.gaierror, UnicodeError) as error:
                    raise TransportFailure(Row.NAME_LOOKUP, _said(Row.NAME_LOOKUP, error)) from None
                sock = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=_FAMILIES_APART, interleave=1, loop=loop
                )
        except TimeoutError:
            raise TransportFailure(Row.CONNECT_TIMEOUT) from None
        except OSError as error:
            raise TransportFailure(Row.REFUSED, _said(Row.REFUSED, error)) from None
        _set_options(sock)
        return sock

    async def _begin(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, choice: "_Choice") -> None:
        """Hand the socket to the loop, and let `choice` have its transport, after TLS if there is any."""
        if self._tls is None or _is_shared(loop):
            await loop.create_connection(
                lambda: choice,
                sock=sock,
                ssl=self._tls,
                server_hostname=self._host if self._tls is not None else None,
                ssl_shutdown_timeout=_CLOSE_NOTIFY_WITHIN if self._tls is not None else None,
            )
            return
        # uvloop would wait for the transport and then for TLS, each with a future of its own. If it is cancelled
        # at the first, a reset that comes becomes an error of the second, which nobody asks for: it is logged.
        bare, _ = await loop.create_connection(_Bare, sock=sock)
        try:
            if bare.is_closing():
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            above = await loop.start_tls(
                bare,
                choice,
                self._tls,
                server_hostname=self._host,
                ssl_shutdown_timeout=_CLOSE_NOTIFY_WITHIN,
            )
            assert above is not None  # noqa: S101  # only a transport that is closing has none
        except BaseException:
            bare.abort()
            raise
        choice.connection_made(above)

    def _failure(self, error: Exception) -> TransportFailure:
        if isinstance(error, ssl.SSLCertVerificationError):
            said = f"{Row.TLS_VERIFICATION.value} ({error.verify_message})"
            return TransportFailure(Row.TLS_VERIFICATION, said)
        if self._tls is None:
            row = Row.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else Row.REFUSED
        else:
            row = Row.TLS_HANDSHAKE
        return TransportFailure(row, _said(row, error))

    def choose(self, transport: asyncio.BaseTransport, owner: Owner, generation: int) -> Connection:
        """Return the connection for what was agreed on with the server."""
        tls = transport.get_extra_info("ssl_object")
        if self._protocol == "http2" and (tls is None or tls.selected_alpn_protocol() == "h2"):
            from .http2 import Http2Connection

            return Http2Connection(owner, generation, self._base_url, self._credentials, self._settings)
        if self._protocol == "http2" and self._base_url not in self._without_http2:
            self._without_http2.add(self._base_url)
            log.info("%s does not offer HTTP/2: going on with HTTP/1.1", self._base_url)
        if tls is None and isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
            self._buffer = self._buffer or bytearray(_READ_SIZE)
            return BufferedHttp1Connection(owner, generation, self._heads, self._settings, self._buffer)
        return Http1Connection(owner, generation, self._heads, self._settings)


class _Bare(asyncio.Protocol):
    """What a connection is before TLS begins: the server has nothing to say yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember it."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """End a connection on which something else than TLS is spoken."""
        self._transport.abort()


class _Choice(asyncio.Protocol):
    """Stands in until TLS has agreed on a protocol: before that nobody knows who is to read."""

    def __init__(self, connector: Connector, owner: Owner, generation: int) -> None:
        self._connector = connector
        self._owner = owner
        self._generation = generation
        self._transport: asyncio.Transport | None = None
        self.connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the transport to the connection that fits it."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.connection = self._connector.choose(transport, self._owner, self._generation)
        protocol = cast(asyncio.Protocol, self.connection)
        self._transport.set_protocol(protocol)
        protocol.connection_made(transport)

    async def until_ready(self) -> None:
        """Wait for what the server must say first: nothing in HTTP/1.1, its SETTINGS in HTTP/2."""
        ready: asyncio.Future[None] | None = getattr(self.connection, "ready", None)
        if ready is not None:
            await ready

    def kill(self) -> None:
        """End what there is."""
        if self.connection is not None:
            self.connection.kill("not ready in time")
        elif self._transport is not None:
            self._transport.abort()


def _literal(host: str, port: int) -> Sequence[AddrInfo]:
    """An address needs no look-up, and no thread for one."""
    with contextlib.suppress(socket.gaierror):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return cast(Sequence[AddrInfo], found)
    return ()


def _set_options(sock: socket.socket) -> None:
    """No waiting for more to send, and a sign of life now and then; what a system lacks it goes without."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_shared(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop's transport uses the very socket that it was given, so that either may close it.

    Others, such as uvloop's, take its descriptor as theirs before they first wait, and close it themselves. If a
    reset comes with the handshake they do so without a word to the socket, which would close the same number once
    more later on, and that may be another connection's by then.
    """
    return isinstance(loop, asyncio.BaseEventLoop)


def _close(sock: socket.socket) -> None:
    """Close a socket that no transport took over; closing one that a transport has closed does nothing."""
    with contextlib.suppress(OSError):
        sock.close()


def _said(row: Row, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ssl.SSLError):
        return f"{row.value} ({error.reason or type(error).__name__})"
    said = os.strerror(number) if number is not None and number > 0 else type(error).__name__
    return f"{row.value} ({said})"
