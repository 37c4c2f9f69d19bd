"""The journal's files: private, no symlinks, one owner at a time. Blocking, so to be used in a thread."""

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError

__all__ = ["FileLock", "Whereabouts", "check_path", "companions", "head_of", "make_private", "sync_directory"]

_HEAD: Final = 100  # bytes of a database's header (SQLite file format, 1.3)
_OURS_ALONE: Final = 0o600
_FLAGS: Final = os.O_RDWR | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))


def companions(path: Path) -> tuple[Path, Path, Path]:
    """Return the lock, the write-ahead log and its index, which lie beside the file."""
    lock, log, index = (path.with_name(path.name + ending) for ending in (".lock", "-wal", "-shm"))
    return lock, log, index


def check_path(path: Path) -> None:
    """Raise ConfigurationError: if there is no such directory, or something there is not a plain file."""
    if not path.parent.is_dir():
        raise ConfigurationError(f"the journal {path} needs a directory: there is no {path.parent}")
    for one in (path, *companions(path)):
        try:
            mode = one.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigurationError(f"the journal {path} cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(mode):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
            raise ConfigurationError(f"the journal {path} cannot be used: {one} is {what}")


def head_of(path: Path) -> bytes | None:
    """Return the first bytes of the file, None if there is none. Changes nothing.

    To be called before SQLite opens it: closing any descriptor of a file ends the process's locks on it.
    """
    try:
        with open(os.open(path, _FLAGS), "rb") as file:  # read only, but it must be writable
            return file.read(_HEAD)
    except FileNotFoundError:
        return None


def make_private(path: Path) -> int:
    """Make a file for its owner alone, whatever the umask is, unless it exists; returns an open descriptor."""
    try:
        handle = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _OURS_ALONE)
    except FileExistsError:
        return os.open(path, _FLAGS)
    if hasattr(os, "fchmod"):
        os.fchmod(handle, _OURS_ALONE)
    return handle


def sync_directory(path: Path) -> None:
    """Make names in a directory survive a loss of power, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Whereabouts:
    """Which files stood at the paths of the journal and its log when they were opened: to be made just then."""

    def __init__(self, path: Path) -> None:
        path = path.absolute()  # as SQLite has it, wherever the process goes
        self._file, self._log = os.fspath(path), os.fspath(companions(path)[1])
        self._opened = self._there()

    def _there(self) -> tuple[int, int, int, int]:
        file, beside = os.lstat(self._file), os.lstat(self._log)
        return file.st_dev, file.st_ino, beside.st_dev, beside.st_ino

    def lost(self) -> str | None:
        """Return why what is written now is not in the files at those paths, None if it is."""
        try:
            if self._there() == self._opened:
                return None
            why = "another is in its place"
        except OSError as error:
            why = error.strerror or type(error).__name__
        return f"the journal's file is gone or was replaced: {self._file}, or its log: {why}"


class FileLock:
    """One owner at a time: held until `release`, or the end of the process, however it ends.

    Raises ConfigurationError: if another client holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._beside = companions(path)[0]
        self._is_new = not self._beside.exists()
        try:
            self._handle = make_private(self._beside)
            while not self._take(path):  # it was removed before we had it: whoever comes next takes another
                self._handle = make_private(self._beside)
        except OSError as error:
            why = error.strerror
            raise ConfigurationError(f"the journal {path} cannot be locked: {self._beside}: {why}") from None

    def _take(self, path: Path) -> bool:
        """Lock the file; returns whether it is the one that others find. It is closed otherwise."""
        try:
            _lock(self._handle)
            if self._is_found():
                return True
        except (BlockingIOError, PermissionError):
            os.close(self._handle)
            raise ConfigurationError(f"the journal {path} is in use by another client") from None
        except BaseException:
            os.close(self._handle)
            raise
        os.close(self._handle)
        return False

    def _is_found(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), os.lstat(self._beside))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another client have it; to be called once, as an alternative to `undo`."""
        with contextlib.suppress(OSError):
            os.close(self._handle)

    def undo(self) -> None:
        """Let go of it and leave no file behind that was not there before.

        It is removed while we hold it: who has opened it meanwhile sees then that it is not the one to hold.
        """
        if self._is_new:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                self._beside.unlink()
        self.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
