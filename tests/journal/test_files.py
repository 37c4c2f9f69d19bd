"""Which files are a journal, who owns one, and who may read it."""

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from coinapi_ems_async import ConfigurationError, Settings
from coinapi_ems_async.journal import database, files
from coinapi_ems_async.journal.entries import Ending
from coinapi_ems_async.journal.journal import Intent, Journal

from .helpers import change, rows

Spoil = Callable[[Path], object]


async def opened(path: Path, sync: str = "process") -> Journal:
    settings = Settings(journal_sync="disk" if sync == "disk" else "process")
    return await Journal.open(path, settings)


async def note(journal: Journal, name: str, ending: Ending | None = None) -> Intent:
    intent = await journal.record((name, "KRAKEN", "site", 1e9, b"{}"), asyncio.get_running_loop().time() + 10)
    assert intent.is_recorded
    if ending is not None:
        journal.end(intent, ending)
    return intent


async def a_journal(path: Path, orders: int = 200) -> None:
    journal = await opened(path)
    for number in range(orders):
        await note(journal, f"order-{number}", Ending.ACCEPTED)
    await journal.aclose(5.0)


def snapshot(folder: Path) -> dict[str, bytes]:
    """What every file holds but the index of the log, which holds nothing of its own."""
    held = {one.name: one.read_bytes() for one in folder.iterdir() if not one.name.endswith(("-shm", ".lock"))}
    return {name: data for name, data in held.items() if data or not name.endswith("-wal")}


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def overwrite(path: Path, at: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(what)


def another_application(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY)")


SPOILS: list[tuple[Spoil, str]] = [
    (lambda path: cut(path, 0), "not a journal, or torn"),
    (lambda path: cut(path, 60), "not a journal, or torn"),
    (lambda path: cut(path, 4096), "malformed"),
    (lambda path: cut(path, path.stat().st_size // 2), "malformed|torn"),
    (lambda path: cut(path, path.stat().st_size - 4096), "malformed|torn"),
    (lambda path: overwrite(path, 4096, b"\xff" * 4096), "malformed|torn"),
    (lambda path: overwrite(path, 5 * 4096, b"\0" * 4096), "malformed|torn"),
    (lambda path: overwrite(path, 0, b"plain text, no database"), "not a journal, or torn"),
    (lambda path: path.write_bytes(b"client_order_id,outcome\n" * 100), "not a journal, or torn"),
    (another_application, "another application's SQLite file"),
    (lambda path: change(path, "PRAGMA user_version = 2"), "version 2, and this package knows 1"),
    (lambda path: change(path, "PRAGMA user_version = 0"), "version 0"),
    (lambda path: change(path, "DROP VIEW endings", "ALTER TABLE orders RENAME TO others"), "no such table"),
    (lambda path: Path(f"{path}-wal").write_bytes(b"no log at all" * 1000), "is not its log"),
    (lambda path: path.rename(f"{path}-wal"), "is missing, but there is its"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILS)
async def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, spoil: Spoil, said: str) -> None:
    path = tmp_path / "j"
    await a_journal(path)
    spoil(path)
    lock_of(path).unlink()
    before = snapshot(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        await opened(path)
    assert str(path) in str(caught.value)
    assert snapshot(tmp_path) == before
    assert not lock_of(path).exists()


async def test_a_torn_file_is_left_as_it_is_together_with_its_log(tmp_path: Path) -> None:
    path, copy = tmp_path / "j", tmp_path / "copy" / "j"
    copy.parent.mkdir()
    await a_journal(path)
    journal = await opened(path)
    late = await note(journal, "late")
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    journal.end(late, Ending.UNKNOWN)
    await journal.aclose(5.0)
    overwrite(copy, 5 * 4096, b"\0" * 4096)
    before = snapshot(copy.parent)
    assert len(before["j-wal"]) > 4096
    with pytest.raises(ConfigurationError, match="it is as it was"):
        await opened(copy)
    assert snapshot(copy.parent) == before


@pytest.mark.parametrize("sync", ["process", "disk"])
async def test_a_log_left_by_a_killed_process_is_read(tmp_path: Path, sync: str) -> None:
    path, copy = tmp_path / "j", tmp_path / "copy" / "j"
    copy.parent.mkdir()
    journal = await opened(path, sync)
    intents = [await note(journal, f"order-{n}", Ending.ACCEPTED if n % 2 else None) for n in range(300)]
    await journal.unresolved()
    for ending in ("", "-wal"):  # as a kill leaves them: nothing is folded, the index is worth nothing
        shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    for intent in intents[::2]:
        journal.end(intent, Ending.UNKNOWN)
    await journal.aclose(5.0)
    again = await opened(copy, sync)
    assert again.kept.last == 300
    assert [entry.client_order_id for entry in again.kept.unresolved] == [f"order-{n}" for n in range(0, 300, 2)]
    assert again.kept.taken == [f"order-{n}" for n in range(1, 300, 2)]
    assert again.kept.refused == []
    await again.aclose(5.0)


async def test_a_half_made_journal_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    (tmp_path / "j.new").write_bytes(b"half")
    (tmp_path / "j.new-journal").write_bytes(b"half")
    await a_journal(path, 1)
    assert set(modes_in(tmp_path)) == {"j", "j.lock"}
    assert rows(path) == [("order-0", "accepted")]


# Owners


async def test_one_client_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = await opened(path)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=f"{path} is in use by another client"):
            await opened(path)
    await note(first, "still-works", Ending.REJECTED)
    await first.aclose(5.0)
    second = await opened(path)
    await second.aclose(5.0)
    assert rows(path) == [("still-works", "rejected")]


async def test_a_lock_that_was_there_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"no journal at all")
    lock_of(path).touch()
    with pytest.raises(ConfigurationError, match="not a journal"):
        await opened(path)
    assert lock_of(path).exists()


async def test_a_lock_removed_under_its_next_owner_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    first = files.FileLock(path)
    take = files.FileLock._take
    left: list[bool] = []

    def slow(lock: files.FileLock, of: Path) -> bool:
        if not left:
            left.append(True)
            first.undo()  # between the other's opening of the file and its locking it
        return take(lock, of)

    monkeypatch.setattr(files.FileLock, "_take", slow)
    second = files.FileLock(path)
    assert os.path.samestat(os.fstat(second._handle), os.stat(f"{path}.lock"))
    with pytest.raises(ConfigurationError, match="in use by another client"):
        files.FileLock(path)
    second.release()


async def test_opening_that_is_given_up_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "j"
    opening = asyncio.create_task(opened(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            try:
                journal = await opened(path)
                break
            except ConfigurationError:
                await asyncio.sleep(0.01)
    await journal.aclose(5.0)


# Places


async def test_no_directory_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no"):
        await opened(tmp_path / "no" / "j")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("ending", ["", ".lock", "-wal", "-shm"])
@pytest.mark.parametrize("dangling", [True, False])
async def test_symbolic_links_are_not_followed(tmp_path: Path, ending: str, dangling: bool) -> None:
    target = tmp_path / "target"
    if not dangling:
        target.write_bytes(b"precious")
    (tmp_path / f"j{ending}").symlink_to(target)
    with pytest.raises(ConfigurationError, match="a symbolic link"):
        await opened(tmp_path / "j")
    assert target.exists() is not dangling
    assert dangling or target.read_bytes() == b"precious"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
async def test_only_plain_files_will_do(tmp_path: Path, make: Spoil) -> None:
    make(tmp_path / "j")
    with pytest.raises(ConfigurationError, match="not a plain file"):
        await opened(tmp_path / "j")


async def test_a_path_through_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="there is no"):
        await opened(tmp_path / "file" / "j")


async def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """Nobody is forbidden to write who runs as root, so the length of names stands in for it."""
    with pytest.raises(ConfigurationError, match="cannot be"):
        await opened(tmp_path / ("j" * 252))  # there is no room for .lock


async def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    await a_journal(path)
    path.chmod(0o400)
    with (
        running_as_nobody(tmp_path),
        pytest.raises(ConfigurationError, match="cannot be opened: Permission denied"),
    ):
        database.open_database(path, is_synced=False, keep=1.0, most_sent=1)
    path.chmod(0o600)
    assert len(rows(path)) == 200


@contextmanager
def running_as_nobody(folder: Path) -> Iterator[None]:
    """Whoever is not root is nobody special already."""
    if os.geteuid():
        yield
        return
    shown = [one for one in folder.parents if not one.stat().st_mode & stat.S_IXOTH]
    for one in (folder, *shown):
        one.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for one in (folder, *shown):
            one.chmod(0o700)


# Privacy


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_every_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        journal = await opened(tmp_path / "j")
        await note(journal, "order", Ending.ACCEPTED)
        modes = modes_in(tmp_path)
        await journal.aclose(5.0)
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("j", "j.lock", "j-wal", "j-shm"), 0o600)
    assert modes_in(tmp_path) == dict.fromkeys(("j", "j.lock"), 0o600)


async def test_a_file_that_others_can_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j"
    await a_journal(path, 1)
    path.chmod(0o644)
    await a_journal(path, 1)
    assert f"{path} can be read by others than its owner" in caplog.text


def lock_of(path: Path) -> Path:
    return Path(f"{path}.lock")


def modes_in(folder: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}
