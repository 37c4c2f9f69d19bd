"""The journal as an SQLite database: what stands in it, and whether a file is one. Blocking, for threads."""

import contextlib
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError
from .entries import Entry, Kept
from .files import companions, head_of, make_private, sync_directory

__all__ = ["Row", "add_endings", "add_orders", "checkpoint", "fold", "open_database", "read_unresolved"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

Row = tuple[Any, ...]

APPLICATION_ID: Final = 0x454D534A  # "EMSJ"
VERSION: Final = 1

_UNRESOLVED: Final = "(outcome IS NULL OR outcome = 'unknown')"

# `endings` takes many outcomes in one statement, as SQLite itself only takes rows: each call into it gives up
# the interpreter's lock, and has to win it back from the event loop.
_SCHEMA: Final = f"""
PRAGMA synchronous = FULL;
PRAGMA application_id = {APPLICATION_ID};
BEGIN;
CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    client_order_id TEXT NOT NULL,
    exchange_id TEXT,
    first_site TEXT,
    intended_at REAL NOT NULL,
    body BLOB,
    generation INTEGER NOT NULL DEFAULT 1,
    outcome TEXT,
    site TEXT,
    status INTEGER,
    reason TEXT,
    message TEXT,
    ended_at REAL,
    raw BLOB
);
CREATE INDEX by_id ON orders (client_order_id, generation);
CREATE INDEX unresolved ON orders (client_order_id) WHERE {_UNRESOLVED};
CREATE TRIGGER again AFTER INSERT ON orders
WHEN EXISTS (SELECT 1 FROM orders WHERE client_order_id = NEW.client_order_id AND number < NEW.number)
BEGIN
    UPDATE orders SET generation = 1 + (
        SELECT generation FROM orders WHERE client_order_id = NEW.client_order_id AND number < NEW.number
        ORDER BY generation DESC LIMIT 1
    ) WHERE number = NEW.number;
END;
CREATE VIEW endings AS SELECT number, outcome, site, status, reason, message, ended_at, raw FROM orders;
CREATE TRIGGER ended INSTEAD OF INSERT ON endings
BEGIN
    UPDATE orders SET outcome = NEW.outcome, site = NEW.site, status = NEW.status, reason = NEW.reason,
        message = NEW.message, ended_at = NEW.ended_at, raw = NEW.raw
    WHERE number = NEW.number AND {_UNRESOLVED};
END;
PRAGMA user_version = {VERSION};
COMMIT;
"""  # noqa: S608  # a constant

_INTO_ORDERS: Final = (
    "INSERT INTO orders (number, client_order_id, exchange_id, first_site, intended_at, body) VALUES "
)
_INTO_ENDINGS: Final = (
    "INSERT INTO endings (number, outcome, site, status, reason, message, ended_at, raw) VALUES "
)
_OTHER: Final = """
EXISTS (
    SELECT 1 FROM orders AS other WHERE other.client_order_id = orders.client_order_id
    AND other.number <> orders.number AND other.outcome
"""
_READ: Final = f"""
SELECT number, client_order_id, generation, exchange_id, coalesce(site, first_site), intended_at,
    coalesce(body, x''), {_OTHER} IS NOT 'not sent'), {_OTHER} IN ('accepted', 'forgotten'))
FROM orders WHERE {_UNRESOLVED} AND (outcome = 'unknown' OR number <= ?) ORDER BY number
"""  # noqa: S608  # a constant
_SENT: Final = """
SELECT client_order_id, outcome = 'rejected' FROM orders WHERE outcome IN ('accepted', 'forgotten', 'rejected')
ORDER BY number DESC LIMIT ?
"""
_PRUNE: Final = f"""
DELETE FROM orders WHERE number < ? AND NOT {_UNRESOLVED} AND ended_at < ?
AND client_order_id NOT IN (SELECT client_order_id FROM orders WHERE {_UNRESOLVED})
"""  # noqa: S608  # a constant

_MAGIC: Final = b"SQLite format 3\0"
_LOG_MAGIC: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_MOST_CHECKED: Final = 64 * 1024 * 1024
"""Larger files are checked where they are read only: reading all of one would hold up opening."""
_MOST_ROWS: Final = 64
"""In one statement: SQLite before 3.32 takes 999 values at most."""
_BUSY: Final = 1.0  # s, for a stranger who reads the file to let go of it


def open_database(path: Path, *, is_synced: bool, keep: float, most_sent: int) -> tuple[sqlite3.Connection, Kept]:
    """Open the file, or make it, prune it and return what it holds; its lock must be held.

    is_synced: every transaction survives a loss of power.
    Raises ConfigurationError: if it is not a journal, or torn, or cannot be written; then it is as it was.
    """
    try:
        _prepare(path)
        _check(path)
        connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'OFF'}")
            _prune(connection, keep)
            checkpoint(connection, is_synced=is_synced)
            return connection, _kept(connection, most_sent)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise ConfigurationError(f"the journal {path} cannot be opened: {error.strerror}") from None
    except sqlite3.Error as error:
        raise ConfigurationError(f"the journal {path} cannot be used: {error}; it is as it was") from None


def _prepare(path: Path) -> None:
    """See whether the file is a journal before SQLite may touch it, and make it if it is missing."""
    beside = companions(path)[1]
    log_head = head_of(beside)
    head = head_of(path)
    if head is None:
        if log_head:
            raise ConfigurationError(f"the journal {path} is missing, but there is its {beside.name}: put it back")
        _make(path)
        return
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise ConfigurationError(f"{path} is not a journal, or torn: it does not begin as an SQLite file")
    version, application = (struct.unpack(">i", head[at : at + 4])[0] for at in (60, 68))
    if application != APPLICATION_ID:
        raise ConfigurationError(f"{path} is not a journal, but another application's SQLite file")
    if not 0 < version <= VERSION:
        raise ConfigurationError(
            f"the journal {path} is of version {version}, and this package knows {VERSION}: use a newer one"
        )
    if path.stat().st_mode & 0o077:
        log.warning("%s can be read by others than its owner; chmod 600 it", path)
    if log_head and log_head[:4] not in _LOG_MAGIC:
        raise ConfigurationError(
            f"the journal {path} is torn: {beside} is not its log; move that away to do without what it held"
        )


def _make(path: Path) -> None:
    """Make a new journal whole, under another name: no journal is ever half made."""
    new = path.with_name(path.name + ".new")
    for stale in (new, new.with_name(new.name + "-journal")):
        stale.unlink(missing_ok=True)
    os.close(make_private(new))
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.executescript(_SCHEMA)
    new.replace(path)
    sync_directory(path.parent)


def _check(path: Path) -> None:
    """Read the file without the right to change it: even to close a writable one folds the log into it."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY)) as connection:
        connection.execute("SELECT number, generation, raw FROM orders ORDER BY number DESC LIMIT 1").fetchall()
        if path.stat().st_size <= _MOST_CHECKED:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise sqlite3.DatabaseError(f"torn: {said}")


def _prune(connection: sqlite3.Connection, keep: float) -> None:
    """Delete what was finished long ago; whatever is not finished stays, and all that was under its id before."""
    oldest = time.time() - keep
    kept = connection.execute(
        "SELECT number FROM orders WHERE intended_at >= ? ORDER BY number LIMIT 1", (oldest,)
    ).fetchone()
    (last,) = connection.execute("SELECT max(number) FROM orders").fetchone()
    if last is not None:
        # The last entry stays whatever it is, so that no number is used twice.
        connection.execute(_PRUNE, (min(last, kept[0]) if kept else last, oldest))


def _kept(connection: sqlite3.Connection, most_sent: int) -> Kept:
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()
    sent = connection.execute(_SENT, (most_sent,)).fetchall()[::-1]
    taken = dict.fromkeys(name for name, was_refused in sent if not was_refused)
    refused = dict.fromkeys(name for name, was_refused in sent if was_refused and name not in taken)
    unresolved = read_unresolved(connection, last)
    return Kept(last=last, unresolved=unresolved, taken=list(taken), refused=list(refused))


def read_unresolved(connection: sqlite3.Connection, last: int) -> list[Entry]:
    """Return the orders without an outcome up to number `last`, and those of unknown outcome, oldest first."""
    return [
        Entry(
            number=number,
            client_order_id=name,
            generation=generation,
            exchange_id=exchange,
            site=site,
            sent_at=at,
            body=body,
            is_reused=bool(is_reused),
            is_spent=bool(is_spent),
        )
        for number, name, generation, exchange, site, at, body, is_reused, is_spent in connection.execute(
            _READ, (last,)
        )
    ]


def add_orders(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add orders about to be sent, in as few statements as SQLite allows."""
    _insert(connection, _INTO_ORDERS, rows)


def add_endings(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add what became of orders by their number; what is resolved stays as it is."""
    _insert(connection, _INTO_ENDINGS, rows)


def _insert(connection: sqlite3.Connection, into: str, rows: Sequence[Row]) -> None:
    """By powers of two, so that the statements are few and stay prepared."""
    done = 0
    while (left := len(rows) - done) > 0:
        size = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        some = rows[done : done + size]
        marks = "(" + ",".join("?" * len(some[0])) + ")"
        connection.execute(into + ",".join([marks] * size), _flat(some))
        done += size


def _flat(rows: Iterable[Row]) -> list[Any]:
    return [value for row in rows for value in row]


def fold(path: Path) -> None:
    """Fold the log into the file while somebody else writes, who does not wait for it (SQLite, WAL, 3.3)."""
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # synced, as is SQLite's own way


def checkpoint(connection: sqlite3.Connection, *, is_synced: bool, mode: str = "PASSIVE") -> None:
    """Fold the log into the file so that no loss of power tears it; what comes after is as synced as before."""
    if is_synced:
        connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        return
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
    finally:
        connection.execute("PRAGMA synchronous = OFF")
