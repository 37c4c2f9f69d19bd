"""What may listen in a site's place: nobody who accepts, a server with wrong papers, one that shakes no hands."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

__all__ = ["KINDS", "Kind", "StandIn"]

Kind = Literal["hole", "expired", "wrong-host", "stall"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_FILL_WAIT: Final = 0.05
_MOST_FILLERS: Final = 16


class StandIn:
    """Listens where a site listened. `heard` is called with what a client sends it once it is trusted: never."""

    def __init__(
        self, kind: Kind, host: str, port: int, authority: tuple[bytes, bytes], heard: Callable[[int], None]
    ) -> None:
        self.kind = kind
        self._where = (host, port)
        self._authority = authority
        self._heard = heard
        self._server: asyncio.Server | None = None
        self._sockets: list[socket.socket] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Take the place. Raises OSError: if it is taken."""
        if self.kind == "hole":
            await self._dig()
            return
        tls = None if self.kind == "stall" else _context(self.kind, self._where[0], self._authority)
        self._server = await asyncio.start_server(self._serve, *self._where, ssl=tls, backlog=1024)

    async def stop(self) -> None:
        """Give the place back, and cut whoever came."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := await reader.read(65_536):
                    if self.kind != "stall":
                        self._heard(len(data))
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _dig(self) -> None:
        """Listen with no room, and fill that by connecting until a connect hangs: from then on all do."""
        listener = socket.create_server(self._where, backlog=0)
        self._sockets.append(listener)
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            self._sockets.append(filler)
            try:
                await asyncio.wait_for(loop.sock_connect(filler, self._where), _FILL_WAIT)
            except TimeoutError:
                return


def _context(kind: Kind, host: str, authority: tuple[bytes, bytes]) -> ssl.SSLContext:
    import trustme

    issuer = trustme.CA.from_pem(*authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if kind == "expired":
        past = datetime.now(UTC) - timedelta(days=2)
        issued = issuer.issue_cert(host, not_before=past - timedelta(days=30), not_after=past)
    else:
        issued = issuer.issue_cert("elsewhere.invalid")
    issued.configure_cert(context)
    return context
