"""One server of the simulator: what listens, and the proxy before it if there is one."""

import ssl
from dataclasses import dataclass

from .blackhole import Blackhole
from .front import Front
from .kept_port import KeptPort
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
    _holder: Blackhole | KeptPort | None = None
    """Who has the port while it is down."""

    @property
    def port(self) -> int:
        """Where clients find it."""
        return self.listener.port if self.wire is None else self.wire.port

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen. Does nothing if it listens already.

        Raises OSError: if a port is taken.
        """
        self._let_go()
        await self.listener.start(tls)
        if self.wire is not None:
            self.wire.target = (self.listener.host, self.listener.port)
            await self.wire.start()

    async def stop(self) -> None:
        """Stop listening, and cut every connection. Does nothing if it does not listen."""
        self._let_go()
        if self.wire is not None:
            await self.wire.stop()
        await self.listener.stop()

    async def shut(self) -> None:
        """Stop, and keep the port, which refuses whoever comes."""
        await self.stop()
        if self.port:
            self._holder = KeptPort.keep(self.listener.host, self.port)

    async def vanish(self) -> None:
        """Cut every connection, and let those that are tried from now on hang.

        Raises OSError: if this system does not let them.
        """
        await self.stop()
        hole = Blackhole(self.listener.host, self.port)
        await hole.open()
        self._holder = hole

    def _let_go(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()
