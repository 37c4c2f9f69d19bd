"""The journal as the event loop sees it: it hands over, and waits for nothing but an order's own record."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ..doubts import Doubt
from ..errors import ConfigurationError, UsageError
from ..outcomes import Accepted, NotSent, Outcome, Rejected, Unknown
from ..redaction import NOTHING_HIDDEN, Redaction
from ..settings import Settings
from ..transport.watch import Watch
from .database import Row, fold, open_database, read_unresolved
from .entries import Ending, Entry, JournalHealth, Kept
from .files import FileLock, Whereabouts, check_path
from .writer import Kind, Work, Writer

__all__ = ["Intent", "Journal", "report_of"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

_MOST_RAW: Final = 4 * 1024
"""Of an answer's body: five times a report's usual size."""
_MOST_TEXT: Final = 500
_LAZY: Final = 0.05
"""Seconds for which an outcome may wait for company; a kill within them leaves the order unresolved."""

_ENDINGS: Final[dict[type[Outcome], Ending]] = {
    Accepted: Ending.ACCEPTED,
    Rejected: Ending.REJECTED,
    NotSent: Ending.NOT_SENT,
    Unknown: Ending.UNKNOWN,
}


class Intent(Work):
    """An order about to be sent; `until` is when its caller gives up, on the monotonic clock."""

    __slots__ = ("is_recorded", "number", "until", "waiter")

    def __init__(self, number: int, row: Row, until: float) -> None:
        super().__init__(Kind.ORDER, row, is_awaited=True)
        self.number = number
        self.until = until
        self.waiter: asyncio.Future[None] | None = None
        self.is_recorded = False

    def wake(self) -> None:
        """End the wait, recorded or not."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Question(Work):
    """Something asked of the file, once all that was put before is in it."""

    __slots__ = ("answer",)

    def __init__(self, last: int) -> None:
        super().__init__(Kind.READ, is_awaited=True, read=lambda connection: read_unresolved(connection, last))
        self.answer: asyncio.Future[list[Entry]] = asyncio.get_running_loop().create_future()


class Journal:
    """An open journal. Made by `Journal.open`."""

    def __init__(
        self,
        path: Path,
        opened: tuple[sqlite3.Connection, FileLock, Kept, Whereabouts],
        settings: Settings,
        redaction: Redaction,
    ) -> None:
        connection, lock, self.kept, place = opened
        self._path = path
        self._redaction = redaction
        self._number = self.kept.last
        self._watch: Watch[Intent] = Watch()
        self._lazy: asyncio.TimerHandle | None = None
        self._unended = 0
        self._all_ended = asyncio.Event()
        self._failures = 0
        self._last_error: str | None = None
        self._said: set[tuple[Kind, str]] = set()
        self._is_closing = False
        is_synced = settings.journal_sync == "disk"
        self._writer = Writer(
            connection, lock, self._landed, place=place, fold=partial(fold, path), is_synced=is_synced
        )

    @classmethod
    async def open(cls, path: Path, settings: Settings, redaction: Redaction = NOTHING_HIDDEN) -> "Journal":
        """Open the file, or make it. redaction: what must never stand in it, though a server may say it.

        Raises ConfigurationError: if there is no such directory; if the file is no journal, torn, of a newer
        version, or a symbolic link; if another client has it; if it cannot be written. Nothing is changed then.
        """
        opening = asyncio.get_running_loop().run_in_executor(None, _open, path, settings)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_drop)
            raise
        return cls(path, opened, settings, redaction)

    def __repr__(self) -> str:
        return f"<Journal {self._path} {'closed' if self._writer.is_over else 'open'}>"

    @property
    def is_closing(self) -> bool:
        """Whether it takes no more orders."""
        return self._is_closing

    # An order's way

    async def record(self, row: Row, until: float) -> Intent:
        """Write that an order is about to be sent: `row` is what `database.add_orders` takes, less the number.

        Returns when that is in the file, or cannot be (`error`), or it is too late, or the journal is closing.
        An order that is not `is_recorded` must not be sent. Each is to be told an ending, whatever happens.
        """
        self._number += 1
        intent = Intent(self._number, (self._number, *row), until)
        self._unended += 1
        try:
            if self._is_closing or self._writer.is_over:
                self._failed(intent, RuntimeError("the journal is closed"))
                return intent
            waiting = self._watch.enter(intent)
            self._writer.put(intent)
            try:
                await waiting
            finally:
                self._watch.leave(intent)
        except BaseException:
            self.end(intent, Ending.NOT_SENT, reason="abandoned")
            raise
        return intent

    def end(
        self,
        intent: Intent,
        ending: Ending,
        *,
        site: str | None = None,
        status: int | None = None,
        reason: str | None = None,
        message: str = "",
        raw: bytes = b"",
    ) -> None:
        """Note what became of an order: soon in the file, and never before its intent. To be called once."""
        self._unended -= 1
        if not self._unended:
            self._all_ended.set()
        # A server's words stand in its answer, whole.
        said = None if raw else self._text(message)
        row = (intent.number, ending.value, site, status, reason, said, time.time(), self._raw(raw))
        self._later(Work(Kind.ENDING, row))

    def resolved(self, doubt: Doubt, outcome: Outcome | None) -> None:
        """Note what became of an unresolved order; None: the user forgot it."""
        ending, site, status, raw = Ending.FORGOTTEN, doubt.site, None, b""
        if outcome is not None:
            ending, site, raw = _ENDINGS[type(outcome)], outcome.site or doubt.site, report_of(outcome)
            status = getattr(outcome, "status", None)
        row = (doubt.number, ending.value, site, status, "told later", None, time.time(), self._raw(raw))
        self._later(Work(Kind.ENDING, row))

    def _later(self, work: Work) -> None:
        if self._writer.is_over:
            self._failed(work, RuntimeError("the journal is closed"))
            return
        self._writer.put(work)
        if self._lazy is None:
            self._lazy = asyncio.get_running_loop().call_later(_LAZY, self._press)

    def _press(self) -> None:
        self._lazy = None
        self._writer.due()

    def _text(self, message: str) -> str | None:
        return self._raw(message.encode("utf-8", "replace")).decode("utf-8", "replace")[:_MOST_TEXT] or None

    def _raw(self, body: bytes) -> bytes:
        return self._redaction.raw(body)[:_MOST_RAW]

    # What the thread tells

    def _landed(self, works: Sequence[Work]) -> None:
        for work in works:
            if work.error is not None:
                self._failed(work, work.error)
            elif isinstance(work, Intent):
                work.is_recorded = True
                if self._said:
                    self._said.clear()
                    log.warning("the journal %s can be written again", self._path)
            if isinstance(work, Intent):
                work.wake()
            elif isinstance(work, Question) and not work.answer.done():
                if work.error is None:
                    work.answer.set_result(work.value)
                else:
                    said = f"the journal {self._path} cannot be read: {work.error}"
                    work.answer.set_exception(ConfigurationError(said))

    def _failed(self, work: Work, error: Exception) -> None:
        work.error = error
        self._failures += 1
        self._last_error = str(error)
        said = (work.kind, str(error))
        if said in self._said:
            return  # once for all of a full disk, which may be every order there is
        self._said.add(said)
        what = "an order is not sent" if work.kind is Kind.ORDER else "an entry stays unresolved"
        log.error("the journal %s could not be written: %s: %s", self._path, error, what)

    # Looking at it

    async def unresolved(self) -> list[Entry]:
        """Return what the file holds unresolved, but for orders in flight, once all outcomes so far are in it.

        Raises ConfigurationError: if it cannot be read. UsageError: if it is closed.
        """
        if self._writer.is_over:
            raise UsageError(f"the journal {self._path} is closed")
        question = Question(self.kept.last)
        self._writer.put(question)
        self._writer.due()
        return await question.answer

    def health(self) -> JournalHealth:
        """Return its state."""
        return JournalHealth(
            path=str(self._path),
            waiting=self._writer.waiting,
            transactions=self._writer.transactions,
            failures=self._failures,
            last_error=self._last_error,
        )

    async def aclose(self, within: float) -> None:
        """Refuse what is not recorded yet, wait for the endings of what is, write them and close the file."""
        if self._is_closing:
            return
        self._is_closing = True
        until = time.monotonic() + within
        for intent in list(self._watch):
            intent.wake()
        if self._unended:
            self._all_ended.clear()
            try:
                async with asyncio.timeout(within):
                    await self._all_ended.wait()
            except TimeoutError:
                log.warning("closing the journal with %d orders that nobody has told the end of", self._unended)
        if self._lazy is not None:
            self._lazy.cancel()
        self._watch.close()
        if not await self._writer.aclose(max(1.0, until - time.monotonic())):
            log.error("the journal %s is still being written; it closes by itself", self._path)


def report_of(outcome: Outcome) -> bytes:
    """Return its answer's body if that is a report: an error page could quote a bearer token of long ago."""
    return outcome.raw if getattr(outcome, "report", None) is not None else b""


def _open(path: Path, settings: Settings) -> tuple[sqlite3.Connection, FileLock, Kept, Whereabouts]:
    check_path(path)
    lock = FileLock(path)
    try:
        connection, kept = open_database(
            path,
            is_synced=settings.journal_sync == "disk",
            keep=settings.journal_keep,
            most_sent=settings.remembered_orders,
        )
        return connection, lock, kept, _place(path, connection)
    except BaseException:
        lock.undo()
        raise


def _place(path: Path, connection: sqlite3.Connection) -> Whereabouts:
    try:
        return Whereabouts(path)
    except OSError as error:
        connection.close()
        raise ConfigurationError(f"the journal {path} cannot be used: {error.strerror}") from None


def _drop(opening: "asyncio.Future[tuple[sqlite3.Connection, FileLock, Kept, Whereabouts]]") -> None:
    """Close what nobody waits for any more."""
    if opening.cancelled() or opening.exception() is not None:
        return
    connection, lock, *_ = opening.result()
    connection.close()
    lock.release()
