"""TLS on the server side, as a layer of our own: peers that are still shaking hands can be cut too."""

import asyncio
import contextlib
import ssl
from typing import Any, Final, Protocol, cast

from .door import Line
from .http1 import Host

_TIMEOUT: Final = 5.0  # s, for the handshake
_CHUNK: Final = 65_536


class SecureHost(Host, Protocol):
    """What this layer needs from the listener it belongs to."""

    def entered(self, line: Line) -> None:
        """Note a peer that starts shaking hands."""
        ...

    def speaker(self, language: str | None) -> asyncio.Protocol:
        """Return a new connection that speaks what was agreed on by ALPN."""
        ...


class SecureTransport(asyncio.Transport, asyncio.Protocol):
    """The protocol of a plain connection, and the transport of the connection it carries."""

    def __init__(self, host: SecureHost, context: ssl.SSLContext) -> None:
        super().__init__()
        self._host = host
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._connection: asyncio.Protocol | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the peer's first words."""
        self._plain = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._host.entered(self)
        self._timer = asyncio.get_running_loop().call_later(_TIMEOUT, self.abort)

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on."""
        self._incoming.write(data)
        try:
            if self._connection is None:
                self._shake()
            while self._connection is not None and (text := self._tls.read(_CHUNK)):
                self._connection.data_received(text)
            self.close()  # the peer has said good-bye
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._flush()  # with the alert that says why
            self._plain.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end."""
        self._shaken()
        if self._connection is not None:
            self._connection.connection_lost(exc)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt, and send; drop what comes after the good-bye, as every transport does."""
        if self._plain.is_closing():
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def close(self) -> None:
        """Say good-bye, and close when everything is sent."""
        if not self._plain.is_closing():
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
            self._plain.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._plain.abort()

    def can_write_eof(self) -> bool:
        """Whether one direction alone can be ended: not with TLS."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return the bytes not yet handed to the system."""
        return self._plain.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._plain.is_closing()

    def pause_writing(self) -> None:
        """Pass on that the peer reads too slowly."""
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it reads again."""
        if self._connection is not None:
            self._connection.resume_writing()

    def pause_reading(self) -> None:
        """Read no more."""
        self._plain.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._plain.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the peer's certificate, or what the plain connection knows."""
        if name == "peercert":
            return self._tls.getpeercert()
        return self._plain.get_extra_info(name, default)

    def _shake(self) -> None:
        self._tls.do_handshake()
        connection = self._host.speaker(self._tls.selected_alpn_protocol())
        connection.connection_made(self)
        self._connection = connection
        self._shaken()

    def _shaken(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._host.gone(self)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._plain.is_closing():
            self._plain.write(data)
