"""The thread, with a database that fails when it is told to."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from coinapi_ems_async.journal.database import fold, open_database
from coinapi_ems_async.journal.files import FileLock, Whereabouts
from coinapi_ems_async.journal.writer import Kind, Work, Writer

from .helpers import rows, until


class Database:
    """A connection that notes what is asked of it, and raises `failure` when a statement holds `fails_at`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.asked: list[str] = []
        self.fails_at = "nothing"
        self.failure: BaseException = sqlite3.OperationalError("database or disk is full")

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        self.asked.append(statement.split("VALUES")[0].strip())
        if self.fails_at in statement:
            raise self.failure
        return self._connection.execute(statement, parameters)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()

    def transactions(self, word: str) -> int:
        return sum(statement.startswith(word) for statement in self.asked)


class Rig:
    def __init__(self, path: Path, *, is_synced: bool = False) -> None:
        lock = FileLock(path)
        connection, _ = open_database(path, is_synced=is_synced, keep=1.0, most_sent=1)
        self.path = path
        self.database = Database(connection)
        self.landed: list[Work] = []
        self.failure: sqlite3.Error | None = None
        self.writer = Writer(
            cast(Any, self.database),
            lock,
            self._landed,
            place=Whereabouts(path),
            fold=self._fold,
            is_synced=is_synced,
        )

    def _fold(self) -> None:
        if self.failure is not None:
            raise self.failure
        fold(self.path)

    def _landed(self, works: Sequence[Work]) -> None:
        self.landed += works

    def order(self, number: int, name: str | None = None) -> Work:
        row = (number, name or f"order-{number}", "KRAKEN", "site", 1e9, b"x" * 300)
        work = Work(Kind.ORDER, row, is_awaited=True)
        self.writer.put(work)
        return work

    def ending(self, number: int) -> Work:
        work = Work(Kind.ENDING, (number, "accepted", "site", 200, None, None, 1e9, b""))
        self.writer.put(work)
        return work

    async def all_landed(self, count: int) -> list[Work]:
        await until(lambda: len(self.landed) >= count, f"the end of {count} works")
        return self.landed


def is_folding() -> bool:
    """Whether a thread folds, which ends in fsyncs: the file has grown long before it is over."""
    return any("folding" in thread.name for thread in threading.enumerate())


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "j")
    yield made
    await made.writer.aclose(5.0)


async def test_outcomes_wait_for_company_and_lose_their_patience(rig: Rig) -> None:
    rig.order(1)
    await rig.all_landed(1)
    rig.ending(1)
    rig.order(2)
    await rig.all_landed(2)
    assert rig.writer.waiting == 1
    rig.writer.due()
    await until(lambda: not rig.writer.waiting, "the outcome")
    for number in range(3, 67):
        rig.order(number)
    await rig.all_landed(66)
    for number in range(3, 67):
        rig.ending(number)
    rig.order(67)  # 64 outcomes are company enough
    await until(lambda: not rig.writer.waiting, "the outcomes")


async def test_an_outcome_queued_before_its_order_is_written_comes_after_it(rig: Rig) -> None:
    for number in range(1, 3001):
        rig.order(number)
        rig.ending(number)
    await rig.all_landed(3000)
    assert await rig.writer.aclose(10.0)
    assert rows(rig.path, "DISTINCT outcome") == [("accepted",)]
    assert len(rows(rig.path)) == 3000


@pytest.mark.parametrize("fails_at", ["INTO orders", "COMMIT", "BEGIN"])
async def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(rig: Rig, fails_at: str) -> None:
    rig.database.fails_at = fails_at
    orders = [rig.order(number) for number in range(1, 200)]
    await rig.all_landed(199)
    failed = [order for order in orders if order.error is not None]
    assert all("disk is full" in str(order.error) for order in failed)
    written = {name for name, _ in rows(rig.path)}
    assert written == {order.row[1] for order in orders} - {order.row[1] for order in failed}
    rig.database.fails_at = "nothing"
    again = rig.order(1000)
    await rig.all_landed(200)
    assert again.error is None
    assert await rig.writer.aclose(5.0)


async def test_a_value_that_cannot_be_stored_spoils_only_its_own_order(rig: Rig) -> None:
    orders = [rig.order(number, "\ud800" if number == 50 else None) for number in range(1, 100)]
    await rig.all_landed(99)
    assert [order.row[0] for order in orders if order.error is not None] == [50]
    assert len(rows(rig.path)) == 98


async def test_a_thread_that_crashes_says_so_and_answers_everybody(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.database.fails_at, rig.database.failure = "INTO orders", SystemError("a bug")
    first = rig.order(1)
    await rig.all_landed(1)
    assert isinstance(first.error, SystemError)  # an Exception is only the order's own
    rig.database.failure = BaseException("worse")
    second = rig.order(2)
    await rig.all_landed(2)
    assert rig.writer.is_over
    assert "the journal's thread has crashed" in caplog.text
    assert str(second.error) == "the journal is closed"
    assert await rig.writer.aclose(5.0)
    assert rows(rig.path) == []


async def test_the_log_is_folded_into_the_file_while_orders_go_on(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 1000):
            rig.order(number)

    before = rig.path.stat().st_size
    write(1)
    await until(lambda: rig.path.stat().st_size > before + 100_000, "folding")
    await rig.all_landed(1000)
    await until(lambda: not is_folding(), "the end of folding")  # while it lasts, no other is begun
    rig.failure = sqlite3.OperationalError("disk I/O error")
    write(1001)
    await until(lambda: "could not be folded into its file: disk I/O error" in caplog.text, "the failure")
    rig.failure = None
    for first in range(2001, 20_001, 1000):
        write(first)
        await rig.all_landed(first + 999)
    assert rig.database.transactions("PRAGMA wal_checkpoint") == 1  # once in sixteen times by the thread itself
    assert rig.database.asked.count("PRAGMA synchronous = OFF") == 1
    assert not any(work.error for work in rig.landed)


async def test_a_disk_that_hangs_does_not_hold_up_closing_for_ever(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "j")
    holder = sqlite3.connect(rig.path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        rig.order(1)
        assert not await rig.writer.aclose(0.05)
        holder.execute("ROLLBACK")
        await until(lambda: bool(rig.landed), "the order")
        assert await rig.writer.aclose(5.0)
    finally:
        holder.close()


@pytest.mark.parametrize("is_synced", [True, False])
async def test_in_mode_disk_every_transaction_is_synced(tmp_path: Path, is_synced: bool) -> None:
    rig = Rig(tmp_path / "j", is_synced=is_synced)
    read = Work(
        Kind.READ, is_awaited=True, read=lambda database: database.execute("PRAGMA synchronous").fetchone()[0]
    )
    rig.writer.put(read)
    rig.writer.due()
    await rig.all_landed(1)
    assert read.value == (2 if is_synced else 0)
    assert asyncio.get_running_loop().is_running()
    assert await rig.writer.aclose(5.0)
