"""The connections to one site, whatever protocol they speak.

Connections are opened by tasks of the pool, never by a caller's: whoever is cancelled while it waits leaves
nothing behind but a connection for the next. What a caller holds is a slot, counted here when the lease is handed
out and given back when the connection says that the exchange is over.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from ..matrix import Kind, Row
from ..settings import Settings
from .base import Attempt, Connection, Lease, Owner, Pool, TransportFailure
from .idle import IdleLimit
from .watch import Watch

__all__ = ["Connect", "SitePool"]

log: Final = logging.getLogger("coinapi_ems_async.transport")

Connect = Callable[[Owner, int], Awaitable[Connection]]
"""Opens a connection for an owner and its generation; raises TransportFailure."""

_HANDSHAKES: Final = 2
"""At once to one site (MongoDB's drivers: 2): more would only queue behind each other at the server."""
_TRIES: Final = 2
"""Connections that a call takes and finds closed before it gives up."""
_TURNS: Final = 5
"""Of the loop, for a new connection to take in what came with its handshake: TLS sends session tickets."""
_RENEW_AT: Final = 0.75
"""Share of the idle limit after which a warm connection's successor is opened."""
_SHORTEST_WARM_PAUSE: Final = 0.25
_LEAST_WARM_PAUSE: Final = 1.0
_MOST_WARM_PAUSE: Final = 30.0
_CLOSED: Final = "the client is closed"


class _Waiter:
    """Somebody who waits for a connection."""

    __slots__ = ("for_order", "give_up", "until", "waiter")

    def __init__(self, for_order: bool, until: float, give_up: Callable[["_Waiter"], None]) -> None:
        self.for_order = for_order
        self.until = until
        self.give_up = give_up
        self.waiter: asyncio.Future[Connection] | None = None

    def wake(self) -> None:
        """Its time is over."""
        self.give_up(self)

    def tell(self, connection: Connection) -> bool:
        """Hand it a connection; returns whether it still wants one."""
        if self.waiter is None or self.waiter.done():  # cancelled, and not yet gone from the queue
            return False
        self.waiter.set_result(connection)
        return True

    def refuse(self, row: Row, message: str = "") -> bool:
        """Tell it that there is none; returns whether it still wanted one."""
        if self.waiter is None or self.waiter.done():
            return False
        self.waiter.set_exception(TransportFailure(row, message))
        return True


class SitePool(Pool):
    """Connections are reused last in, first out; who waits is served first in, first out, orders before reads.

    connect: opens one connection. size: exchanges at a time. order_share: how many of them reads may not use.
    per_connection: exchanges that one connection is expected to carry, so that no more are opened than needed.
    """

    def __init__(
        self, connect: Connect, settings: Settings, *, size: int, order_share: int, per_connection: int = 1
    ) -> None:
        self._connect = connect
        self._per_connection = per_connection
        self._size = size
        self._read_size = max(1, size - order_share)
        self._idle = IdleLimit(settings.idle_timeout)
        self._connections: set[Connection] = set()
        self._ready: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._orders: deque[_Waiter] = deque()
        self._reads: deque[_Waiter] = deque()
        self._taken = 0
        self._taken_by_reads = 0
        self._generation = 0
        self._warm = 0
        self._warm_after = 0.0
        self._warm_pause = _LEAST_WARM_PAUSE
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch: Watch[_Waiter] = Watch()
        self._watchers: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<SitePool connections={self.connections} taken={self._taken} waiting={self._waiting}>"

    @property
    def connections(self) -> int:
        """Connections open now, those in use included."""
        return len(self._connections)

    @property
    def _waiting(self) -> int:
        return len(self._orders) + len(self._reads)

    # Taking

    def take(self, *, for_order: bool, now: float) -> Connection | None:
        """Return a lease if there is one at hand and nobody waits for it."""
        if self._taken >= self._size or self._orders or self._closed:
            return None
        if not for_order and (self._reads or self._taken_by_reads >= self._read_size):
            return None
        connection = self._pop(now)
        if connection is not None:
            self._taken += 1
            if not for_order:
                self._taken_by_reads += 1
        return connection

    async def acquire(self, *, for_order: bool, until: float, patience: float | None = None) -> Lease:
        """Return a lease; see `Pool.acquire`."""
        if self._closed:
            raise TransportFailure(Row.ABANDONED, _CLOSED)
        if (at_hand := self.take(for_order=for_order, now=monotonic())) is not None:
            return at_hand
        for _ in range(_TRIES):
            end = until
            if patience is not None and not self._has_slot(for_order):
                end = min(until, monotonic() + patience)
            waiter = _Waiter(for_order, end, self._give_up)
            waiting = self._watch.enter(waiter)
            (self._orders if for_order else self._reads).append(waiter)
            if self._has_slot(for_order):
                self._serve()
            try:
                connection: Connection = await waiting
            except asyncio.CancelledError:
                self._leave(waiter, waiting)
                raise
            finally:
                self._watch.leave(waiter)
            try:
                is_good = connection.is_usable() or await _is_good(connection)
            except asyncio.CancelledError:
                self._put_back(connection, for_order)
                raise
            if is_good:
                return connection
            connection.close()
            self._uncount(for_order)
        raise TransportFailure(Row.STALE_CONNECTION)

    def _leave(self, waiter: _Waiter, waiting: "asyncio.Future[Connection]") -> None:
        """Its caller is cancelled: give back what it was handed at that very moment, if anything."""
        with contextlib.suppress(ValueError):
            (self._orders if waiter.for_order else self._reads).remove(waiter)
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self._put_back(waiting.result(), waiter.for_order)

    def _give_up(self, waiter: _Waiter) -> None:
        row = Row.CONNECT_TIMEOUT if self._has_slot(waiter.for_order) else Row.POOL_WAIT
        if waiter.refuse(row):
            (self._orders if waiter.for_order else self._reads).remove(waiter)

    def _has_slot(self, for_order: bool) -> bool:
        return self._taken < self._size and (for_order or self._taken_by_reads < self._read_size)

    def _count(self, for_order: bool) -> None:
        self._taken += 1
        if not for_order:
            self._taken_by_reads += 1

    def _uncount(self, for_order: bool) -> None:
        self._taken -= 1
        if not for_order:
            self._taken_by_reads -= 1

    def _put_back(self, connection: Connection, for_order: bool) -> None:
        self._uncount(for_order)
        if connection.room > 0:
            self._list(connection)
        self._serve()

    def _pop(self, now: float) -> Connection | None:
        """Return the connection used last that may be used again; close those that may not."""
        while self._ready:
            connection = self._ready[-1]
            if connection.is_shared:
                if connection.room > 0 and connection.is_usable():
                    return connection
                self._unlist(connection)
                continue
            self._ready.pop()
            connection.is_listed = False
            if now - connection.idle_since < self._idle.limit and connection.is_usable():
                return connection
            connection.close()
        return None

    # What connections tell

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        """Take back the slot, and the connection if it can go on."""
        self._taken -= 1
        if attempt.request.operation.kind is Kind.READ:
            self._taken_by_reads -= 1
        if not connection.is_listed and connection.room > 0:
            self._list(connection)
        if self._orders or self._reads:
            self._serve()
        if self._watchers and not self._taken:
            self._tell()

    def roomier(self, connection: Connection) -> None:
        """Serve whoever waits: a shared connection takes more."""
        if connection.room > 0:
            self._list(connection)
        self._serve()

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        """Forget the connection; learn from a server that ended it while it was idle."""
        self._connections.discard(connection)
        self._unlist(connection)
        now = monotonic()
        if by_peer and connection.served:
            self._idle.closed_by_peer(now - connection.idle_since, now)
        if not self._closed:
            self._open_more()
        if self._watchers and not self._connections:
            self._tell()

    def _list(self, connection: Connection) -> None:
        if connection.generation != self._generation or self._closed:
            connection.close()
        elif not connection.is_listed:
            connection.is_listed = True
            if connection.keep_alive is not None:
                self._idle.told_by_peer(connection.keep_alive)
            self._ready.append(connection)

    def _unlist(self, connection: Connection) -> None:
        if connection.is_listed:
            connection.is_listed = False
            self._ready.remove(connection)

    def _serve(self) -> None:
        """Hand connections to those who wait, orders first."""
        for queue, for_order in ((self._orders, True), (self._reads, False)):
            while queue and self._has_slot(for_order):
                connection = self._pop(monotonic())
                if connection is None:
                    self._open_more()
                    return
                if queue.popleft().tell(connection):
                    self._count(for_order)
                else:
                    self._list(connection)

    # Opening

    def _open_more(self) -> None:
        """Open what those who wait need, then what is to be kept warm; never more than two at once."""
        if self._closed:
            return
        room = self._size - len(self._connections)
        waiting = min(self._waiting, self._size - self._taken)
        while len(self._opening) < min(_HANDSHAKES, room):
            expected = len(self._opening) * self._per_connection
            if waiting <= expected and not self._lacks_warmth():
                break
            task = asyncio.get_running_loop().create_task(self._open(), name="coinapi-ems: connecting")
            self._opening.add(task)
            task.add_done_callback(self._opened)
        if self._reaper is None and (self._warm or self._connections):
            self._watch_idle()

    def _lacks_warmth(self) -> bool:
        if not self._warm:
            return False
        now = monotonic()
        limit = _RENEW_AT * self._idle.limit
        # What is in use was idle a moment ago at most.
        good = sum(
            one.room > 0 if one.is_shared else one.running > 0 or now - one.idle_since < limit
            for one in self._connections
        )
        return good + len(self._opening) < self._warm and now >= self._warm_after

    async def _open(self) -> None:
        try:
            connection = await self._connect(self, self._generation)
        except TransportFailure as failure:
            self._failed(failure)
            return
        except Exception as error:
            log.exception("opening a connection failed in a way that was not foreseen")
            self._failed(TransportFailure(Row.REFUSED, f"{Row.REFUSED.value} ({type(error).__name__})"))
            return
        try:
            is_good = await _is_good(connection)
        except asyncio.CancelledError:
            connection.kill(_CLOSED)
            raise
        if not is_good:
            # Some proxies take every connection, and close those for which they have no server.
            connection.kill("it ended as soon as it was open")
            self._failed(TransportFailure(Row.STALE_CONNECTION, "the connection ended as soon as it was open"))
            return
        self._connections.add(connection)
        self._warm_pause = _LEAST_WARM_PAUSE
        self._warm_after = monotonic() + max(_SHORTEST_WARM_PAUSE, min(_LEAST_WARM_PAUSE, self._idle.limit / 4))
        self._list(connection)
        self._serve()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not self._closed:
            self._serve()
            self._open_more()
        if self._watchers:
            self._tell()

    def _failed(self, failure: TransportFailure) -> None:
        """Tell who waited for it: one, or all if there is nothing left for them to wait for."""
        self._warm_after = monotonic() + self._warm_pause
        self._warm_pause = min(2 * self._warm_pause, _MOST_WARM_PAUSE)
        others = len(self._opening) > 1 or self._connections
        for queue in (self._orders, self._reads):
            while queue:
                if queue.popleft().refuse(failure.row, failure.message) and others:
                    return

    # Keeping

    def keep_warm(self, connections: int) -> None:
        """Keep so many connections open and fresh, so that no order pays for a handshake."""
        connections = min(connections, self._size)
        if connections != self._warm:
            self._warm = connections
            self._warm_after = 0.0
            self._open_more()

    def _watch_idle(self) -> None:
        """Close what has been idle for too long, and open successors before that."""
        self._reaper = None
        now = monotonic()
        self._idle.relax(now)
        limit = self._idle.limit
        for connection in [one for one in self._ready if now - one.idle_since >= limit]:
            if not connection.is_shared or len(self._connections) > max(1, self._warm):
                self._unlist(connection)
                connection.close()
        if self._connections or self._warm:
            pause = max(0.05, min(limit / 8, _LEAST_WARM_PAUSE if self._warm else limit))
            self._reaper = asyncio.get_running_loop().call_later(pause, self._watch_idle)
            self._open_more()

    def clear(self) -> None:
        """Begin a new generation: close idle connections, later those in use; fail whoever waits."""
        self._generation += 1
        self._fail_waiters(TransportFailure(Row.GIVEN_UP))
        for connection in list(self._connections):
            self._unlist(connection)
            connection.close()

    def _fail_waiters(self, failure: TransportFailure) -> None:
        for queue in (self._orders, self._reads):
            while queue:
                queue.popleft().refuse(failure.row, failure.message)

    async def until_warm(self, within: float) -> None:
        """Wait until the warm connections are open or one could not be opened, so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._opening and not self._closed:
                    await self._change()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._taken:
            await self._change()

    async def aclose(self) -> None:
        """Abort what is under way and close every connection."""
        self._closed = True
        self._fail_waiters(TransportFailure(Row.ABANDONED, _CLOSED))
        self._watch.close()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._opening:
            for task in list(self._opening):
                task.cancel()
            await asyncio.wait(list(self._opening))
        for connection in list(self._connections):
            connection.kill(_CLOSED)
        while self._connections:
            await self._change()

    async def _change(self) -> None:
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    def _tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)


async def _is_good(connection: Connection) -> bool:
    """Whether it can be used, now or when it has taken in what came with its handshake.

    A shared one needs no more than room: it lets requests wait by itself.
    """
    for _ in range(_TURNS):
        if connection.room <= 0:
            return False
        if connection.is_shared or connection.is_usable():
            return True
        await asyncio.sleep(0)
    return False
