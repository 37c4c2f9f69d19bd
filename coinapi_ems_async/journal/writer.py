"""The thread that writes the journal: orders that are queued when it comes round share one transaction."""

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic
from typing import Any, Final

from .database import Row, add_endings, add_orders, checkpoint
from .files import FileLock, Whereabouts

__all__ = ["Kind", "Landed", "Work", "Writer"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

_MOST: Final = 1_000
"""Orders in one transaction, so that the first of many waits for a bounded time."""
_COMPANY: Final = 64
"""How many other works are too many to wait until they are due."""
_PORTION: Final = 16
"""Of them in one transaction: an order that comes meanwhile waits for no more than that."""
_CROWD: Final = 128
"""How many of them go along with orders, so that orders without a pause do not hold them up for ever."""
_FOUND_FOR: Final = 0.01
"""Seconds for which the files are taken to be where they were seen: a look gives up the interpreter's lock,
which in a burst has to be won back from the event loop."""
_FOLDED_EVERY: Final = 1_000
"""Works after which the log is folded into the file: 4 to 8 MB of log. A thread of its own does it, for it ends in
fsyncs, and no order is to wait for those."""
_FOLDED_WHOLE: Final = 16
"""Every so many times this thread does it: then nobody writes meanwhile, and the log begins anew for certain."""


class Kind(Enum):
    """What a piece of work is."""

    ORDER = "an order about to be sent"
    ENDING = "the outcome of one order"
    READ = "a question"


class Work:
    """One thing to do; `row` is what to write, `read` what to ask; `error` is set if it could not be done.

    is_awaited: whether somebody wants to know when it is done.
    """

    __slots__ = ("error", "is_awaited", "kind", "read", "row", "value")

    def __init__(
        self,
        kind: Kind,
        row: Row = (),
        *,
        is_awaited: bool = False,
        read: Callable[[sqlite3.Connection], Any] | None = None,
    ) -> None:
        self.kind = kind
        self.row = row
        self.is_awaited = is_awaited
        self.read = read
        self.value: Any = None
        self.error: Exception | None = None


Landed = Callable[[Sequence[Work]], None]
"""Called in the event loop with works of a transaction that is over: those awaited, and those that failed."""


class Writer:
    """Owns the database and its lock from now on. All but the thread itself is for one event loop.

    place: where the database's files stand, looked at for every transaction of orders. fold: folds the log into
    the file, over a connection of its own.

    The hand-over takes no lock that the loop could wait for: deques, and a lock that is free if the thread has
    something to do. One call back into the loop answers for a whole transaction.
    Orders go first and alone: somebody waits for them, and each statement more costs as much again. Where every
    transaction costs an fsync, though, the others go with them.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: FileLock,
        landed: Landed,
        *,
        place: Whereabouts,
        fold: Callable[[], None],
        is_synced: bool,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._landed = landed
        self._place = place
        self._found_until = 0.0
        self._fold_beside = fold
        self._is_synced = is_synced
        self._loop = asyncio.get_running_loop()
        self._orders: deque[Work] = deque()
        self._others: deque[Work] = deque()
        self._doing: list[Work] = []
        self._is_due = False
        self._news = threading.Lock()
        self._news.acquire()
        self._is_closing = False
        self._since_folded = 0
        self._folds = 0
        self._folding: threading.Thread | None = None
        self._ended = self._loop.create_future()
        self.transactions = 0
        self._thread = threading.Thread(target=self._run, name="coinapi-ems: journal", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How much is queued."""
        return len(self._orders) + len(self._others)

    @property
    def is_over(self) -> bool:
        """Whether nothing is written any more."""
        return self._is_closing or not self._thread.is_alive()

    def put(self, work: Work) -> None:
        """Queue an order, which is written at once, or something else, which may wait until it is `due`."""
        if work.kind is not Kind.ORDER:
            self._others.append(work)
            return
        self._orders.append(work)
        self._wake()

    def due(self) -> None:
        """Have everything done that is queued."""
        self._is_due = True
        self._wake()

    def _wake(self) -> None:
        if self._news.locked():  # nobody else ever frees it
            self._news.release()

    async def aclose(self, within: float) -> bool:
        """Do what is queued, fold the log into the file and close; returns False if that takes longer."""
        self._is_closing = True
        self.due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.shield(self._ended)
        return self._ended.done()

    # In the thread

    def _run(self) -> None:
        try:
            while not (self._is_closing and not self.waiting):
                self._news.acquire()
                self._work_off()
        except BaseException:
            log.exception("the journal's thread has crashed; no order is sent any more")
        finally:
            self._end()

    def _work_off(self) -> None:
        is_due = False
        while True:
            if self._is_due:  # reset before the queues are looked at: what is put later is due anew
                self._is_due, is_due = False, True
            is_due = is_due or len(self._others) >= _COMPANY
            if not self._orders and not (self._others and is_due):
                return
            self._do(self._some())

    def _some(self) -> list[Work]:
        """Whatever was among the others before the orders were taken depends on none that is still queued."""
        company = min(len(self._others), _CROWD)
        works = [self._orders.popleft() for _ in range(min(len(self._orders), _MOST))]
        if not self._is_synced and company < _CROWD:
            company = 0 if works else min(company, _PORTION)
        if len(works) < _MOST:
            works += [self._others.popleft() for _ in range(company)]
        return works

    def _do(self, works: list[Work]) -> None:
        self._doing = works
        error = self._transact(works)
        if error is not None and len(works) > 1 and not isinstance(error, sqlite3.OperationalError):
            for (
                work
            ) in works:  # one row must not be the ruin of all, while of a full disk there is no more to learn
                work.error = self._transact([work])
        else:
            for work in works:
                work.error = error
        self._check_place(works)
        self._doing = []
        self._since_folded += len(works)
        if heard := [work for work in works if work.is_awaited or work.error is not None]:
            self._tell(self._landed, heard)
        if self._since_folded >= _FOLDED_EVERY:
            self._fold()

    def _check_place(self, works: list[Work]) -> None:
        """Refuse the orders if their files are not those that the next start will find.

        After the commit, not before it: then the record of an order that is told as recorded was in the files at
        these paths at some moment, or 10 ms before it, and what removes them later could as well come after the
        order is sent. Those refused here stand in the old file, wherever it is, and get their ending there.
        """
        orders = [work for work in works if work.kind is Kind.ORDER and work.error is None]
        if not orders or monotonic() < self._found_until:
            return
        lost = self._place.lost()
        if lost is None:
            self._found_until = monotonic() + _FOUND_FOR
            return
        error = FileNotFoundError(lost)
        for work in orders:
            work.error = error

    def _transact(self, works: list[Work]) -> Exception | None:
        connection = self._connection
        try:
            if len(works) == 1:
                self._write(works)  # one statement is a transaction of its own
            else:
                connection.execute("BEGIN IMMEDIATE")
                self._write(works)
                connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return error
        self.transactions += 1
        return None

    def _write(self, works: list[Work]) -> None:
        """Orders first: they depend on nothing, and what depends on them was queued after them."""
        if orders := [work.row for work in works if work.kind is Kind.ORDER]:
            add_orders(self._connection, orders)
        endings: list[Row] = []
        for work in works:
            if work.kind is Kind.ENDING:
                endings.append(work.row)
            elif work.read is not None:
                add_endings(self._connection, endings)
                endings = []
                work.value = work.read(self._connection)
        add_endings(self._connection, endings)

    def _fold(self) -> None:
        self._since_folded = 0
        self._folds += 1
        if self._folds % _FOLDED_WHOLE == 0:
            if self._folding is not None:
                self._folding.join()
            self._try(lambda: checkpoint(self._connection, is_synced=self._is_synced))
            return
        if (self._folding is not None and self._folding.is_alive()) or self._place.lost() is not None:
            return  # it would open, or make, whatever is there now
        self._folding = threading.Thread(
            target=self._try, args=(self._fold_beside,), name="coinapi-ems: folding the journal", daemon=True
        )
        self._folding.start()

    @staticmethod
    def _try(fold: Callable[[], None]) -> None:
        try:
            fold()
        except sqlite3.Error as error:
            log.warning("the journal's log could not be folded into its file: %s", error)

    def _end(self) -> None:
        self._is_closing = True
        if self._folding is not None:
            self._folding.join()
        with contextlib.suppress(sqlite3.Error):
            checkpoint(self._connection, is_synced=self._is_synced, mode="TRUNCATE")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._lock.release()
        left = [*self._doing, *self._orders, *self._others]
        for work in left:
            work.error = RuntimeError("the journal is closed")
        self._tell(self._landed, left)
        self._tell(self._over)

    def _over(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(callback, *arguments)
