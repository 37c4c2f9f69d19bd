"""A listening socket that carries one service function."""

import asyncio
import ssl
from collections.abc import Callable, Hashable, Iterator

from . import http1
from .door import Door, Line
from .greeting import Greeting
from .messages import Service
from .secure import SecureTransport
from .variants import Http2


class Listener(Door):
    """One server.

    `numbers` gives each connection its number when it starts to speak; `http2`: how HTTP/2 is spoken, None:
    not at all. `tls` may be replaced while it listens, for new connections.
    """

    def __init__(
        self, service: Service, host: str, port: int, numbers: Iterator[int], http2: Http2 | None = None
    ) -> None:
        super().__init__(host, port)
        self.service = service
        self.http2 = http2
        self.tls: ssl.SSLContext | None = None
        self.hung: dict[Hashable, Callable[[], None]] = {}
        self._numbers = numbers

    def joined(self, connection: Line) -> int:
        """Note a new connection and return its number."""
        self.entered(connection)
        return next(self._numbers)

    def speaker(self, language: str | None) -> asyncio.Protocol:
        """Return a new connection that speaks `language`, by its name in ALPN; None: HTTP/1.1."""
        if language != "h2" or self.http2 is None:
            return http1.Connection(self)
        from . import http2  # imports h2, which takes its time

        return http2.Connection(self, self.http2)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen. Does nothing if it listens already.

        Raises OSError: if the port is taken.
        """
        self.tls = tls
        await self.listen(self._accept)

    def release(self) -> None:
        """Answer every request that hangs."""
        waiting = list(self.hung.values())
        self.hung.clear()
        for answer in waiting:
            answer()

    def _accept(self) -> asyncio.Protocol:
        if self.tls is not None:
            return SecureTransport(self, self.tls)
        return http1.Connection(self) if self.http2 is None else Greeting(self)
