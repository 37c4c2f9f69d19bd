"""The site table of an earlier run, kept in a file for a start at which the management API is away.

The file decides which hosts are shown the key. So it is believed only if nobody but its owner can have written
it, if it is whole, and if it is of the same management API and the same key; the key itself is not in it.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from threading import Lock
from time import time
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..models.cloud import Endpoint, ExchangeLogin, Location
from ..models.reading import Answer
from ..settings import Settings
from ..transport.tls import write_private
from .urls import is_loopback

__all__ = ["Kept", "Table", "TableCache", "cache_of"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_SCHEMA: Final = 1
_MOST_BYTES: Final = 4 * 1024 * 1024
"""A table of a thousand endpoints takes 200 kB."""
_HOUR: Final = 3600.0
_TURN_WAIT: Final = 0.5
"""How long a write waits for the one before: if the disk hangs, they must not use up the threads of the loop,
which name look-ups need too."""
_CLOCK_SLACK: Final = 24 * _HOUR
"""How far a file may be dated in the future: clocks are set back, but not by days."""

_Row = TypeVar("_Row", bound=Answer)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the management API said of the sites; `read_at` is when that was, seconds since 1970."""

    endpoints: Sequence[Endpoint]
    locations: Sequence[Location] = ()
    exchanges: Sequence[ExchangeLogin] = ()
    read_at: float


class Kept(NamedTuple):
    """A table from a file, and the last estimates of its sites, seconds by URL."""

    table: Table
    estimates: Mapping[str, float]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    schema: int
    saved_at: float
    base_url: str
    key_sha256: str
    endpoints: list[dict[str, Any]]
    locations: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    estimates: dict[str, float]
    digest: str = ""
    """SHA-256 of the rest: a letter of a host name that changed on the disk must not lead the key astray."""

    def sealed(self) -> "_File":
        """Return it with its digest."""
        bare = replace(self, digest="")
        return replace(self, digest=sha256(msgspec.json.encode(bare)).hexdigest())


class _Head(msgspec.Struct, frozen=True):
    schema: int


class _Unusable(Exception):
    """Why a file is ignored."""


_NOT_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)


class TableCache:
    """The file of one environment: one management API, one key. Its methods block: call them in a thread.

    now: seconds since 1970.
    """

    def __init__(
        self,
        directory: Path,
        base_url: str,
        key: str,
        settings: Settings,
        *,
        now: Callable[[], float] = time,
    ) -> None:
        self._base_url = base_url
        self._key_sha256 = sha256(key.encode()).hexdigest()[:16]
        self._settings = settings
        self._now = now
        self._turn = Lock()
        self._is_failing = False
        name = sha256(f"{base_url} {self._key_sha256}".encode()).hexdigest()[:16]
        self.path = directory / f"sites-{name}.json"

    def __repr__(self) -> str:
        return f"<TableCache {self.path}>"

    def read(self) -> Kept | None:
        """Return what is kept; None if there is nothing, or, with a line of log, nothing that may be used."""
        try:
            file, table = self._read()
        except FileNotFoundError:
            return None
        except (OSError, _Unusable) as error:
            log.warning("the kept site table %s is ignored: %s", self.path, _why(error))
            return None
        if (age := self._age(file)) > self._settings.cache_warn_age:
            log.warning("the kept site table %s is %.0f hours old", self.path, age / _HOUR)
        return Kept(table, file.estimates)

    def write(self, table: Table, estimates: Mapping[str, float]) -> None:
        """Keep a table, unless another process has kept a newer one; a failure is a line of log, once."""
        if not self._turn.acquire(timeout=_TURN_WAIT):
            self._tell("the write before has not ended yet")
            return
        try:
            if not self._has_newer(table.read_at):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(self.path, self._encode(table, estimates))
            self._is_failing = False
        except (OSError, _Unusable, *_NOT_JSON) as error:
            self._tell(_why(error))
        finally:
            self._turn.release()

    def remove(self) -> None:
        """Keep nothing any more; a failure is a line of log."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the kept site table %s is out of date and cannot be removed: %s", self.path, _why(error))

    def _tell(self, why: str) -> None:
        if not self._is_failing:
            log.warning("the site table cannot be kept in %s: %s", self.path, why)
        self._is_failing = True

    def _encode(self, table: Table, estimates: Mapping[str, float]) -> str:
        file = _File(
            schema=_SCHEMA,
            saved_at=table.read_at,
            base_url=self._base_url,
            key_sha256=self._key_sha256,
            endpoints=_plain(table.endpoints),
            locations=_plain(table.locations),
            exchanges=_plain(table.exchanges),
            estimates={url: seconds for url, seconds in estimates.items() if _is_duration(seconds)},
        )
        data = msgspec.json.encode(file.sealed())
        if len(data) > _MOST_BYTES:
            raise _Unusable("it is too large")
        return data.decode()

    def _has_newer(self, read_at: float) -> bool:
        try:
            file, _ = self._read()
            return read_at < file.saved_at <= self._now()
        except (OSError, _Unusable):
            return False

    def _read(self) -> tuple[_File, Table]:
        file = _decode(_read_own(self.path))
        if file.base_url != self._base_url:
            raise _Unusable("it is of another management API")
        if file.key_sha256 != self._key_sha256:
            raise _Unusable("it is of another API key")
        if (age := self._age(file)) > self._settings.cache_max_age:
            raise _Unusable(f"it is {age / _HOUR / 24:.0f} days old, and Settings.cache_max_age allows less")
        if age < -_CLOCK_SLACK:
            raise _Unusable("it is dated in the future")
        return file, _table(file)

    def _age(self, file: _File) -> float:
        return self._now() - file.saved_at


def cache_of(management_url: str, key: str, settings: Settings) -> TableCache | None:
    """Return the cache of an environment as the settings want it; None if there is to be none.

    management_url: normalised.
    """
    directory: Path | None = None
    try:
        if settings.cache_dir is UNSET:
            directory = None if is_loopback(management_url) else _users_directory()
        elif settings.cache_dir is not None:
            directory = Path(settings.cache_dir).expanduser()
    except RuntimeError:  # nobody knows where the user is at home
        log.info("the site table is not kept: there is no home directory")
    return None if directory is None else TableCache(directory, management_url, key, settings)


def _users_directory() -> Path:
    """As the XDG base directory specification says: a path that is not absolute does not count."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "coinapi-ems-async"


def _read_own(path: Path) -> bytes:
    """Read a file that nobody but this user can have written, and that is no link to another."""
    if path.is_symlink():
        raise _Unusable("it is a symbolic link")
    # It may have become one meanwhile; and opening a FIFO would wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags)
    try:
        _check_own(os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            data = file.read(_MOST_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > _MOST_BYTES:
        raise _Unusable("it is too large")
    return data


def _check_own(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable("it is no regular file")
    if hasattr(os, "geteuid"):  # elsewhere than on Windows
        if status.st_uid != os.geteuid():
            raise _Unusable("it belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _Unusable("others than its owner may write it")


def _decode(data: bytes) -> _File:
    try:
        schema = msgspec.json.decode(data, type=_Head).schema
        if schema == _SCHEMA:
            return msgspec.json.decode(data, type=_File)
    except _NOT_JSON:
        raise _Unusable("it is corrupt or cut off") from None
    raise _Unusable(f"it is of another version of this package (schema {schema})")


def _table(file: _File) -> Table:
    try:
        if file.sealed() != file:
            raise _Unusable("it is corrupt")
        return Table(
            endpoints=msgspec.convert(file.endpoints, list[Endpoint]),
            locations=msgspec.convert(file.locations, list[Location]),
            exchanges=msgspec.convert(file.exchanges, list[ExchangeLogin]),
            read_at=file.saved_at,
        )
    except _NOT_JSON:
        raise _Unusable("it is corrupt") from None


def _plain(rows: Iterable[_Row]) -> list[dict[str, Any]]:
    """Only what was understood: nobody knows what the rest is."""
    return [{name: value for name in row.readers if (value := getattr(row, name)) is not None} for row in rows]


def _is_duration(seconds: float) -> bool:
    return isfinite(seconds) and seconds > 0


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
