"""The journal's files: private, no symlinks, one owner at a time. Blocking, so to be used in a thread."""

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError

__all__ = ["FileLock", "check_path", "companions", "head_of", "make_private", "sync_directory"]

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


class FileLock:
    """One owner at a time: held until `release`, or the end of the process, however it ends.

    Raises ConfigurationError: if another client holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        beside = companions(path)[0]
        try:
            self._handle = make_private(beside)
        except OSError as error:
            raise ConfigurationError(f"the journal {path} cannot be locked: {beside}: {error.strerror}") from None
        try:
            _lock(self._handle)
        except OSError as error:
            os.close(self._handle)
            if isinstance(error, BlockingIOError | PermissionError):
                raise ConfigurationError(f"the journal {path} is in use by another client") from None
            raise ConfigurationError(f"the journal {path} cannot be locked: {error.strerror}") from None

    def release(self) -> None:
        """Let another client have it; to be called once."""
        with contextlib.suppress(OSError):
            os.close(self._handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
