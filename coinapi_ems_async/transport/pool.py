"""The connections to one site, whatever protocol they speak.

Connections are opened by tasks of the pool, never by a caller's: whoever is cancelled while it waits leaves
nothing behind but a connection for the next. An attempt that has to wait stands in a queue here, and the
connection that becomes free takes it at once, without its caller's help. What it holds then is a slot, counted
here when it begins and given back when the connection says that the exchange is over.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Final

from ..matrix import READ, Row
from ..operations import Request
from ..settings import Settings
from .base import Attempt, Connection, Owner, Pool, TransportFailure
from .idle import IdleLimit

__all__ = ["Connect", "SitePool"]

log: Final = logging.getLogger("coinapi_ems_async.transport")

Connect = Callable[[Owner, int], Awaitable[Connection]]
"""Opens a connection for an owner and its generation; raises TransportFailure."""

_HANDSHAKES: Final = 2
"""At once to one site (MongoDB's drivers: 2): more would only queue behind each other at the server."""
_TURNS: Final = 5
"""Of the loop, for a new connection to take in what came with its handshake: TLS sends session tickets."""
_RENEW_AT: Final = 0.75
"""Share of the idle limit after which a warm connection's successor is opened."""
_SHORTEST_WARM_PAUSE: Final = 0.25
_LEAST_WARM_PAUSE: Final = 1.0
_MOST_WARM_PAUSE: Final = 30.0
_CLOSED: Final = "the client is closed"


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
        self._orders: OrderedDict[Attempt, None] = OrderedDict()
        self._reads: OrderedDict[Attempt, None] = OrderedDict()
        self._is_serving = False
        self._taken = 0
        self._taken_by_reads = 0
        self._most_taken = 0
        self._generation = 0
        self._warm = 0
        self._warm_after = 0.0
        self._warm_pause = _LEAST_WARM_PAUSE
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._watchers: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<SitePool connections={self.connections} taken={self._taken} waiting={self._waiting}>"

    @property
    def connections(self) -> int:
        """Connections open now, those in use included."""
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """Exchanges under way."""
        return self._taken

    @property
    def _waiting(self) -> int:
        return len(self._orders) + len(self._reads)

    # Taking

    def carry(self, attempt: Attempt) -> None:
        """Carry the attempt, at once or in its turn; see `Pool.carry`."""
        for_order = attempt.request.operation.kind is not READ
        is_next = not self._orders and (for_order or not self._reads)
        if is_next and self._ready and self._has_slot(for_order) and not self._closed:
            connection = self._pop(attempt.started)
            if connection is not None:
                self._begin(connection, attempt, for_order)
                return
        if self._closed:
            attempt.fail(TransportFailure(Row.ABANDONED, _CLOSED))
            return
        attempt.carrier = self
        (self._orders if for_order else self._reads)[attempt] = None
        if self._has_slot(for_order):
            self._serve()

    def abort(self, attempt: Attempt) -> None:
        """Take an attempt out of the queue; see `Pool.abort`."""
        for queue, for_order in ((self._orders, True), (self._reads, False)):
            if attempt in queue:
                del queue[attempt]
                row = Row.CONNECT_TIMEOUT if self._has_slot(for_order) else Row.POOL_WAIT
                attempt.fail(TransportFailure(row))

    def is_full(self, request: Request) -> bool:
        """Whether such a request has to wait until another one has ended."""
        return not self._has_slot(request.operation.kind is not READ)

    def is_at_hand(self) -> bool:
        """Whether a request could go out at once; asks the descriptors themselves."""
        return any(one.room() > 0 and one.is_usable() for one in self._ready)

    def is_outdated(self, attempt: Attempt) -> bool:
        """Whether the attempt's connection is older than the last `clear`."""
        carrier = attempt.carrier
        return isinstance(carrier, Connection) and carrier.generation != self._generation

    def rested(self, attempt: Attempt) -> float:
        """Return for how long the attempt's connection had not been used before; see `Pool.rested`."""
        carrier = attempt.carrier
        if not isinstance(carrier, Connection) or attempt.committed is None:
            return inf
        since = carrier.idle_since if attempt.unused_since is None else attempt.unused_since
        return attempt.committed - since

    def _begin(self, connection: Connection, attempt: Attempt, for_order: bool) -> None:
        self._taken += 1
        if self._taken > self._most_taken:
            self._most_taken = self._taken
        if not for_order:
            self._taken_by_reads += 1
        attempt.carrier = connection
        connection.exchange(attempt)

    def _has_slot(self, for_order: bool) -> bool:
        return self._taken < self._size and (for_order or self._taken_by_reads < self._read_size)

    def _pop(self, now: float) -> Connection | None:
        """Return the connection used last that may be used again; close those that may not."""
        while self._ready:
            connection = self._ready[-1]
            if connection.is_shared:
                if connection.room() > 0 and connection.is_usable():
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
        if attempt.request.operation.kind is READ:
            self._taken_by_reads -= 1
        queue = self._orders or self._reads
        if not connection.is_listed and connection.room() > 0:
            # A shared one may have room for many now, and whoever has to wait for it would find it unlisted.
            if queue and not connection.is_shared and self._hand_on(connection, queue):
                return
            self._list(connection)
        elif not connection.is_shared and attempt.given_up and self._warm_pause == _LEAST_WARM_PAUSE:
            # We end it ourselves, which says nothing against opening its successor at once. Each read that is
            # hedged costs a connection: with a pause there would be none left when another site's calls come.
            self._warm_after = 0.0
        if queue:
            self._serve()
        if self._watchers and not self._taken:
            self._tell()

    def roomier(self, connection: Connection) -> None:
        """Serve whoever waits: a shared connection takes more."""
        if connection.room() > 0:
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

    def _hand_on(self, connection: Connection, queue: OrderedDict[Attempt, None]) -> bool:
        """Let who is next begin where an exchange ended just now, without the detour over the connections listed.

        Returns whether that could be.
        """
        if self._is_serving or self._closed or connection.generation != self._generation:
            return False
        for_order = queue is self._orders
        if not self._has_slot(for_order) or not connection.is_usable():
            return False
        attempt, _ = queue.popitem(last=False)
        attempt.connected = monotonic()
        self._is_serving = True
        try:
            self._begin(connection, attempt, for_order)
        finally:
            self._is_serving = False
        if attempt.done is not None or self._taken < self._size:
            self._serve()
        return True

    def _serve(self) -> None:
        """Let those begin who wait, orders first, as far as there are slots and connections."""
        if self._is_serving:  # an exchange that ends as it begins comes back here
            return
        self._is_serving = True
        try:
            while (queue := self._orders or self._reads) and self._has_slot(queue is self._orders):
                now = monotonic()
                connection = self._pop(now)
                if connection is None:
                    self._open_more()
                    return
                attempt, _ = queue.popitem(last=False)
                attempt.connected = now
                self._begin(connection, attempt, queue is self._orders)
        finally:
            self._is_serving = False

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
            one.room() > 0 if one.is_shared else one.running > 0 or now - one.idle_since < limit
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
                queue.popitem(last=False)[0].fail(TransportFailure(failure.row, failure.message))
                if others:
                    return

    # Keeping

    def most_in_flight(self) -> int:
        """Return how many exchanges were under way at a time since this was last asked."""
        most, self._most_taken = self._most_taken, self._taken
        return most

    def keep_warm(self, connections: int, *, exchanges: int = 0) -> None:
        """Keep connections open and fresh, so that no order pays for a handshake; see `Pool.keep_warm`."""
        connections = min(max(connections, -(-exchanges // self._per_connection)), self._size)
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
        """Begin a new generation: close idle connections, later those in use; fail whoever waits.

        What is being opened is given up as well: it may hang for long, and would be closed when it came.
        """
        self._generation += 1
        for task in self._opening:
            task.cancel()
        self._fail_waiters(TransportFailure(Row.GIVEN_UP))
        for connection in list(self._connections):
            self._unlist(connection)
            connection.close()

    def _fail_waiters(self, failure: TransportFailure) -> None:
        for queue in (self._orders, self._reads):
            while queue:
                queue.popitem(last=False)[0].fail(TransportFailure(failure.row, failure.message))

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
        if connection.room() <= 0:
            return False
        if connection.is_shared or connection.is_usable():
            return True
        await asyncio.sleep(0)
    return False
