"""Discovery: the site table as the Managed Cloud API tells it, kept through every failure."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Final

from .. import operations
from ..errors import (
    AnswerError,
    AuthenticationFailed,
    ConfigurationError,
    EMSError,
    NoSites,
    RateLimited,
    TransportError,
)
from ..models.cloud import Endpoint
from ..operations import Request
from ..settings import GLOBAL_URL, MANAGEMENT_URL, Settings
from .directory import EMPTY, Directory, build, single
from .urls import check_base_url, may_name

__all__ = ["Discovery", "no_table"]

log: Final = logging.getLogger("coinapi_ems_async.sites")


class Discovery:
    """Reads `/v1/endpoints`, `/v1/locations` and `/v1/exchanges` and builds the directory from them.

    Only the first is necessary: the others add names and homes (Managed Cloud REST, endpoints).
    """

    def __init__(
        self,
        call: Callable[[Request, int | None], Awaitable[Any]],
        management_url: str,
        settings: Settings,
    ) -> None:
        self._call = call
        self._management_url = management_url
        self._settings = settings
        self.directory: Directory = EMPTY
        self.loaded_at: float | None = None
        """When the table was last read whole, seconds of `time.monotonic`."""
        self.last_error: str | None = None

    async def load(self) -> Directory:
        """Return the table as it is now.

        Raises NoSites: if the service names no endpoint. AuthenticationFailed, AnswerError, TransportError:
        if it cannot be read.
        """
        try:
            endpoints = await self._call(operations.plain_read(operations.ENDPOINTS), None)
            if endpoints:
                directory = await self._build(endpoints)
            else:
                directory = self._without_endpoints()
        except EMSError as error:
            self.last_error = str(error)
            raise
        self.directory, self.loaded_at, self.last_error = directory, monotonic(), None
        return directory

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

    async def _build(self, endpoints: Sequence[Endpoint]) -> Directory:
        locations = await self._optional(operations.LOCATIONS)
        exchanges = await self._optional(operations.EXCHANGES)
        directory = build(
            endpoints, locations, exchanges, known=self.directory, admit=self._admits, refuse=_left_out
        )
        if not directory.sites:
            raise NoSites(
                f"none of the {len(endpoints)} endpoints that {self._management_url} names can be used; "
                "the log says why"
            )
        return directory

    async def _optional(self, operation: operations.Operation) -> Sequence[Any]:
        """Try once: a client should not open late for want of names."""
        try:
            rows: Sequence[Any] = await self._call(operations.plain_read(operation), 1)
        except EMSError as error:
            log.info("going on without %s: %s", operation.name, error)
            return ()
        return rows

    def _without_endpoints(self) -> Directory:
        """An empty list means that no account is configured; it never empties a table that there is."""
        if not self.directory.sites and self._management_url == MANAGEMENT_URL:
            log.warning("no endpoints: going on with %s, which serves every account of a key", GLOBAL_URL)
            return single("global", GLOBAL_URL)
        raise NoSites(
            f"{self._management_url} names no endpoints: no exchange account is configured for this key; "
            "add one in the customer portal, or with EMSClient.cloud_only(...) and its accounts.save"
        )

    def _admits(self, url: str) -> bool:
        try:
            check_base_url(url, allow_plain=self._settings.allow_plain_http)
        except ConfigurationError:
            return False
        return may_name(self._management_url, url, allow_plain=self._settings.allow_plain_http)


def no_table(management_url: str, error: EMSError) -> NoSites:
    """Return what opening raises when the management API cannot be read."""
    advice = "check the URL and the network, or use EMSClient.self_hosted(url) for one known server"
    if isinstance(error, RateLimited):
        advice = "wait as long as it says; it limits how many calls a key may make"
    return NoSites(
        f"no site table: the management API at {management_url} cannot be read ({error.message}); {advice}",
        attempts=error.attempts,
    )


def _left_out(reason: str) -> None:
    log.warning("%s", reason)
