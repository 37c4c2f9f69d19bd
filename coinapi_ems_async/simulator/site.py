"""One server of the simulator: what listens, and the proxy before it if there is one."""

import ssl
from dataclasses import dataclass

from .blackhole import Blackhole
from .front import Front
from .proxy import FaultProxy
from .server import Listener
from .site_faults import CertificateKind


@dataclass
class Site:
    """The management server, or the gateway of a location; clients come to `port`."""

    front: Front
    listener: Listener
    wire: FaultProxy | None = None
    certificate: CertificateKind = "valid"
    _hole: Blackhole | None = None

    @property
    def port(self) -> int:
        """Where clients find it."""
        return self.listener.port if self.wire is None else self.wire.port

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen. Does nothing if it listens already.

        Raises OSError: if a port is taken.
        """
        self._fill()
        await self.listener.start(tls)
        if self.wire is not None:
            self.wire.target = (self.listener.host, self.listener.port)
            await self.wire.start()

    async def stop(self) -> None:
        """Stop listening, and cut every connection. Does nothing if it does not listen."""
        self._fill()
        if self.wire is not None:
            await self.wire.stop()
        await self.listener.stop()

    async def vanish(self) -> None:
        """Cut every connection, and let those that are tried from now on hang.

        Raises OSError: if this system does not let them.
        """
        await self.stop()
        hole = Blackhole(self.listener.host, self.port)
        await hole.open()
        self._hole = hole

    def _fill(self) -> None:
        hole, self._hole = self._hole, None
        if hole is not None:
            hole.close()
