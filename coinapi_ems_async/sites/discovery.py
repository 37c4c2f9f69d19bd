"""Discovery: the site table as the Managed Cloud API tells it, kept through every failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic, time
from typing import Any, Final

from msgspec.structs import replace

from .. import operations
from ..errors import (
    AnswerError,
    AuthenticationFailed,
    ConfigurationError,
    EMSError,
    NoSites,
    RateLimited,
    TransportError,
    UsageError,
)
from ..models.cloud import Endpoint
from ..operations import Request
from ..redaction import NOTHING_HIDDEN, Redaction
from ..settings import GLOBAL_URL, MANAGEMENT_URL, Settings
from .cache import Table
from .directory import EMPTY, Directory, build, endpoint_url, single
from .urls import check_base_url, ends_in, may_name

__all__ = ["Discovery", "no_table"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_MOST_TOLD: Final = 1_000


class Discovery:
    """Reads `/v1/endpoints`, `/v1/locations` and `/v1/exchanges` and builds the directory from them.

    Only the first is necessary: the others add names and homes (Managed Cloud REST, endpoints). A reading that
    fails changes nothing. redaction: what must not be shown of a row. clock: monotonic seconds; wall: seconds
    since 1970.
    """

    def __init__(
        self,
        call: Callable[[Request, int | None], Awaitable[Any]],
        management_url: str,
        settings: Settings,
        *,
        redaction: Redaction = NOTHING_HIDDEN,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._call = call
        self._management_url = management_url
        self._settings = settings
        self._redaction = redaction
        self._clock = clock
        self._wall = wall
        self.directory: Directory = EMPTY
        self.table: Table | None = None
        """What the directory is built from; None for the host that stands in for a table."""
        self.loaded_at: float | None = None
        """When the table was last read whole, on the monotonic clock."""
        self.last_error: str | None = None
        """Why the last reading failed, None if it did not."""
        self.is_refused = False
        """Whether it failed because the service refused the key (401, 403)."""
        self.is_kept = False
        """Whether the directory is still that of an earlier run."""
        self._missing: frozenset[str] = frozenset()
        self._told: set[str] = set()
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Directory] | None = None
        self._loads: set[asyncio.Task[Directory]] = set()

    @property
    def age(self) -> float | None:
        """Seconds since the table was read, None if it never was."""
        return None if self.loaded_at is None else self._clock() - self.loaded_at

    async def load(self) -> Directory:
        """Return the table as it is now.

        The service limits how many calls a key may have at once, so one reading goes on at a time, and whoever
        asks before it begins shares the next. A site that an answer lacks stays until a second lacks it too.

        Raises NoSites: if the service names no endpoint. AuthenticationFailed, AnswerError, TransportError:
        if it cannot be read. UsageError: if the client is closed meanwhile.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._in_turn(), name="coinapi-ems: reading the site table")
            self._loads.add(self._next)
            self._next.add_done_callback(self._ended)
        load = self._next
        await asyncio.wait({load})
        if load.cancelled():
            raise UsageError("this client was closed while it read the site table")
        return load.result()

    async def load_first(self) -> Directory:
        """Return the table for a client that has none yet.

        Raises NoSites: if there is none to be had, with the reason. AuthenticationFailed: on 401 and 403.
        ConfigurationError: if the bearer supplier fails.
        """
        try:
            return await self.load()
        except AuthenticationFailed:
            raise
        except (AnswerError, TransportError) as error:
            raise no_table(self._management_url, error) from error

    def restore(self, table: Table) -> Directory | None:
        """Return the directory of a table from an earlier run, None if it has no site that may be used.

        Its rows pass the same checks as those of the service.
        """
        directory = self._build(table)
        if not directory.sites:
            log.warning("the kept site table is ignored: none of its endpoints can be used")
            return None
        self._take(directory, table)
        self.is_kept = True
        return directory

    async def aclose(self) -> None:
        """End the readings under way."""
        loads = list(self._loads)
        for load in loads:
            load.cancel()
        if loads:
            await asyncio.wait(loads)

    def _ended(self, load: asyncio.Task[Directory]) -> None:
        self._loads.discard(load)
        if not load.cancelled():
            load.exception()  # whoever waited for it may be gone

    async def _in_turn(self) -> Directory:
        async with self._turn:
            self._next = None  # from here on a reading may miss what its caller has just changed
            try:
                return await self._read()
            except EMSError as error:
                self.last_error, self.is_refused = str(error), isinstance(error, AuthenticationFailed)
                raise

    async def _read(self) -> Directory:
        endpoints = await self._call(operations.plain_read(operations.ENDPOINTS), None)
        if not endpoints:
            directory = self._without_endpoints()
            self._take(directory, None)
            return directory
        missing = self._missing_from(endpoints)
        table = Table(
            endpoints=[*endpoints, *missing],
            locations=await self._optional(operations.LOCATIONS, self.table.locations if self.table else ()),
            exchanges=await self._optional(operations.EXCHANGES, self.table.exchanges if self.table else ()),
            read_at=self._wall(),
        )
        directory = self._build(table)
        if not any(_url(row) in directory.sites for row in endpoints):
            raise NoSites(
                f"none of the {len(endpoints)} endpoints that {self._management_url} names can be used; "
                "the log says why"
            )
        self._take(directory, table)
        self._missing = frozenset(url for row in missing if (url := _url(row)))
        return directory

    def _build(self, table: Table) -> Directory:
        return build(
            table.endpoints,
            table.locations,
            table.exchanges,
            known=self.directory,
            admit=self._admits,
            refuse=self._tell,
        )

    def _take(self, directory: Directory, table: Table | None) -> None:
        if table is not None:  # without the rows left out: they could hold anything
            usable = [row for row in table.endpoints if _url(row) in directory.sites]
            table = replace(table, endpoints=usable)
        age = 0.0 if table is None else max(0.0, self._wall() - table.read_at)
        self.directory, self.table, self.loaded_at = directory, table, self._clock() - age
        self.last_error, self.is_refused, self.is_kept = None, False, False

    def _missing_from(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Return the known rows of sites that an answer lacks and the one before did not: one may be mistaken."""
        gone = self._missing.union(filter(None, map(_url, endpoints)))
        return [row for row in (self.table.endpoints if self.table else ()) if _url(row) not in gone]

    async def _optional(self, operation: operations.Operation, known: Sequence[Any]) -> Sequence[Any]:
        """Try once, and go on with what is known: a client should not open late for want of names."""
        try:
            rows: Sequence[Any] = await self._call(operations.plain_read(operation), 1)
        except EMSError as error:
            log.info("going on with the %s known before, %d: %s", operation.name, len(known), error)
            return known
        return rows

    def _without_endpoints(self) -> Directory:
        """An empty list means that no account is configured; it never empties a table that there is."""
        production = self._management_url == MANAGEMENT_URL and self._admits(GLOBAL_URL)
        if self.table is None and production:
            self._tell(f"no endpoints: going on with {GLOBAL_URL}, which serves every account of a key")
            return single("global", GLOBAL_URL)
        raise NoSites(
            f"{self._management_url} names no endpoints: no exchange account is configured for this key; "
            "add one in the customer portal, or with EMSClient.cloud_only(...) and its accounts.save"
        )

    def _admits(self, url: str) -> bool:
        plain = self._settings.allow_plain_http
        try:
            check_base_url(url, allow_plain=plain)
        except ConfigurationError:
            return False
        return may_name(self._management_url, url, allow_plain=plain) and ends_in(
            url, self._settings.allowed_host_suffixes
        )

    def _tell(self, what: str) -> None:
        """Log it once: the same comes with every reading."""
        if what not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add(what)
            log.warning("%s", self._redaction.line(what))


def _url(row: Endpoint) -> str | None:
    try:
        return endpoint_url(row)
    except ConfigurationError:
        return None


def no_table(management_url: str, error: EMSError) -> NoSites:
    """Return what opening raises when the management API cannot be read."""
    advice = "check the URL and the network, or use EMSClient.self_hosted(url) for one known server"
    if isinstance(error, RateLimited):
        advice = "wait as long as it says; it limits how many calls a key may make"
    return NoSites(
        f"no site table: the management API at {management_url} cannot be read ({error.message}); {advice}",
        attempts=error.attempts,
    )
