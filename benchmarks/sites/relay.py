"""A relay before a server that ends connections nobody uses, as gateways do: in order, and without warning."""

import asyncio
from typing import cast

__all__ = ["IdleRelay"]


class IdleRelay:
    """Moves bytes both ways; `idle` seconds after the last answer it closes the connection."""

    def __init__(self, host: str, port: int, idle: float) -> None:
        self.target = (host, port)
        self.idle = idle
        self.closed = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), host, port, backlog=1024)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def stop(self) -> None:
        """Let nobody in any more."""
        if self._server is not None:
            self._server.close()


class _Side(asyncio.Protocol):
    """One of the two connections of a pair."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Server(_Side):
    def __init__(self, client: "_Client") -> None:
        super().__init__()
        self.other = client

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cast(_Client, self.other).rest()


class _Client(_Side):
    def __init__(self, relay: IdleRelay) -> None:
        super().__init__()
        self._relay = relay
        self._held = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(loop.create_connection(lambda: _Server(self), *self._relay.target))
        self._task.add_done_callback(self._reached)

    def _reached(self, task: "asyncio.Task[tuple[asyncio.Transport, _Server]]") -> None:
        if task.cancelled() or task.exception() is not None or self.transport is None:
            if not task.cancelled() and task.exception() is None:
                task.result()[0].close()
            if self.transport is not None:
                self.transport.abort()
            return
        transport, self.other = task.result()
        transport.write(bytes(self._held))
        self._held.clear()

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.other is None:
            self._held += data
        else:
            super().data_received(data)

    def rest(self) -> None:
        """An answer went by: from now on the connection is idle."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._relay.idle, self._end)

    def _end(self) -> None:
        self._relay.closed += 1
        for side in (self, self.other):
            if side is not None and side.transport is not None:
                side.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
