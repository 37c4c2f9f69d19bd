"""What exists only while a client is open: pools, the site table, the loops that keep it current."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import operations
from .auth import ClientCertificate, Credentials
from .config import SessionConfig
from .dispatch import Dispatcher
from .errors import AnswerError, AuthenticationFailed, ConfigurationError, TransportError
from .ledger import OrderLedger
from .management import Management
from .observer import Observer
from .operations import Request
from .sites.cache import Kept, TableCache, cache_of
from .sites.directory import Directory, Site, single
from .sites.discovery import Discovery, no_table
from .sites.monitor import Monitor
from .sites.refresh import Refresher
from .sites.roster import Roster
from .supervisor import Supervisor
from .transport.base import Pool
from .transport.choice import site_transport
from .transport.connect import HTTP2_STREAMS, Connector
from .transport.pool import SitePool
from .transport.tls import client_context, write_private

if TYPE_CHECKING:
    from .journal.journal import Journal

__all__ = ["Session"]

log: Final = logging.getLogger("coinapi_ems_async.client")

_PROBE_CONNECTIONS: Final = 1
_DISK_WAIT: Final = 2.0
SELF_HOSTED: Final = "self-hosted"


class Session:
    """The open half of a client."""

    def __init__(self, config: SessionConfig, ledger: OrderLedger) -> None:
        self._config = config
        self._observer = observer = Observer(config.on_call, config.on_settled)
        self._redaction = redaction = config.redaction
        self._without_http2: set[str] = set()
        self._site_tls: ssl.SSLContext | None = None
        self._site_credentials = config.auth.site(config.key)
        self.management: Management | None = None
        self.discovery: Discovery | None = None
        self.refresher: Refresher | None = None
        self._cache: TableCache | None = None
        self._is_outdated = False
        """Whether the accounts have changed since the site table was read."""
        self.supervisor = Supervisor()
        self.roster = Roster(self._make_pool, cost=config.cost, settings=config.settings)
        self.monitor = Monitor(self.roster, config.settings, self.supervisor, redaction)
        self.dispatcher = Dispatcher(self.roster, ledger, config.settings, config.auth, observer, redaction)
        self._ledger = ledger
        self.journal: Journal | None = None

    async def open(self) -> None:
        """Find the sites and wait for their first estimates.

        With a site table kept from an earlier run the management API is not waited for: it is read behind.
        Raises NoSites: if there is no site table, or no certificate to be had. AuthenticationFailed: if the
        management API says 401 or 403. ConfigurationError: if the certificate or the journal cannot be used.
        Never because sites are down; and without sites never because of the management API either.
        """
        if self._config.journal is not None:
            await self._keep_journal(self._config.journal)
        estimates: Mapping[str, float] = {}
        if (url := self._config.management_url) is not None:
            await self._manage(url)
            if not self._config.with_sites:
                return
            directory, estimates = await self._discover(url)
        else:
            directory = await self._one_site(self._config.site_url or "")
        await self.monitor.apply(directory)
        self.roster.seed(estimates)
        self._refresh_behind()
        await self.monitor.until_ready()
        self.monitor.keep_warm()
        await self.roster.until_warm(self._config.settings.open_after_first)

    async def _keep_journal(self, path: Path) -> None:
        from .journal.journal import Journal
        from .journal.orders import OrderRecorder
        from .journal.recovery import remember

        self.journal = journal = await Journal.open(path, self._config.settings, self._redaction)
        remember(self._ledger, journal.kept)
        self._ledger.listeners.append(journal.resolved)
        self.dispatcher.recorder = OrderRecorder(journal, self.dispatcher.outcome)

    async def _manage(self, url: str) -> None:
        from .transport.aiohttp import AiohttpPool

        config = self._config
        self._site_tls = await self._context(url, None)
        pool = AiohttpPool(
            url,
            config.auth.management(config.key),
            config.settings,
            tls=self._site_tls,
            session=config.management_session,
            proxy=config.proxy,
            trust_env=config.trust_env,
        )
        self.management = Management(pool, config.auth, config.settings, self._observer, self._redaction)

    async def _discover(self, url: str) -> tuple[Directory, Mapping[str, float]]:
        """Return the sites, and the estimates of an earlier run."""
        config = self._config
        self.discovery = discovery = Discovery(self._call, url, config.settings, redaction=self._redaction)
        self.refresher = Refresher(discovery.load, self._take, config.settings)
        self.roster.on_stale = self.refresher.ask
        if (certificate := await self._certificate()) is not None:
            self._site_tls = await self._context("https:", certificate)
        kept = await self._kept(url)
        directory = discovery.restore(kept.table) if kept is not None else None
        if directory is None:
            kept, directory = None, await discovery.load_first()
        if self._site_tls is None and any(site.url.startswith("https:") for site in directory.sites.values()):
            self._site_tls = await self._context("https:", None)
        return directory, kept.estimates if kept is not None else {}

    async def _kept(self, url: str) -> Kept | None:
        """Return the table of an earlier run; a disk that hangs does not hold up opening for long."""

        def find() -> tuple[TableCache | None, Kept | None]:
            """In a thread: the cache, if there is to be one, and what it holds."""
            cache = cache_of(url, self._config.key, self._config.settings)
            return cache, cache.read() if cache is not None else None

        try:
            async with asyncio.timeout(_DISK_WAIT):
                self._cache, kept = await asyncio.to_thread(find)
        except TimeoutError:
            log.warning("the kept site table could not be read within %.0f s", _DISK_WAIT)
            return None
        return kept

    def _refresh_behind(self) -> None:
        if self.refresher is None or self.discovery is None:
            return
        run, is_kept = self.refresher.run, self.discovery.is_kept
        self.supervisor.start("discovery", lambda: run(at_once=is_kept))
        if not is_kept:
            self.supervisor.start("keeping the site table", self._keep)

    async def _take(self, directory: Directory) -> None:
        """Take over a site table that was just read."""
        self._is_outdated = False
        await self.monitor.apply(directory)
        await self._keep()

    async def _keep(self) -> None:
        """Keep the site table and the estimates for the next start; a disk that hangs is not waited for long."""
        table = self.discovery.table if self.discovery is not None else None
        if self._cache is None or table is None or self._is_outdated:
            return
        found = {url: entry.estimator.estimate for url, entry in self.roster.entries.items()}
        estimates = {url: seconds for url, seconds in found.items() if seconds is not None}
        try:
            async with asyncio.timeout(_DISK_WAIT):
                await asyncio.to_thread(self._cache.write, table, estimates)
        except TimeoutError:
            log.warning("the site table could not be kept within %.0f s", _DISK_WAIT)

    async def accounts_changed(self) -> None:
        """Forget the table kept for the next start, which lacks what changed, and read it again soon."""

        def forget() -> None:
            """In a thread: remove what the cache holds."""
            cache = self._cache or cache_of(
                self._config.management_url or "", self._config.key, self._config.settings
            )
            if cache is not None:
                cache.remove()

        self._is_outdated = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISK_WAIT):
                await asyncio.to_thread(forget)
        if self.refresher is not None:
            self.refresher.ask("the accounts have changed")

    async def _one_site(self, url: str) -> Directory:
        certificate = await self._certificate()
        if certificate is not None and not url.startswith("https:"):
            raise ConfigurationError(f"a client certificate needs https, and {url} is plain http")
        self._site_tls = await self._context(url, certificate)
        return single(SELF_HOSTED, url)

    async def _call(self, request: Request, tries: int | None = None) -> Any:
        assert self.management is not None  # noqa: S101  # discovery exists only with it
        return await self.management.call(request, tries=tries)

    async def _context(self, url: str, certificate: str | None) -> ssl.SSLContext | None:
        """Build the TLS context once and off the loop: it reads files. None where nothing is encrypted."""
        if url.startswith("http:") and self._config.tls is None:
            # A plain management API on this machine may still name https sites.
            return None
        return await asyncio.to_thread(client_context, certificate, base=self._config.tls)

    async def _certificate(self) -> str | None:
        auth = self._config.auth
        if not isinstance(auth, ClientCertificate):
            return None
        if auth.path is not None and await asyncio.to_thread(auth.path.is_file):
            return await asyncio.to_thread(_read_private, auth.path)
        if self.management is None:
            raise ConfigurationError(
                f"there is no client certificate at {auth.path}, and a self-hosted client cannot fetch one"
            )
        try:
            text: str = await self._call(operations.plain_read(operations.CERTIFICATE))
        except (AnswerError, TransportError) as error:
            if isinstance(error, AuthenticationFailed):
                raise
            raise no_table(self._config.management_url or "", error) from error
        if auth.path is not None:
            try:
                await asyncio.to_thread(write_private, auth.path, text)
            except OSError as error:
                raise ConfigurationError(
                    f"the client certificate cannot be kept in {auth.path}: {error.strerror}"
                ) from error
        return text

    def _make_pool(self, site: Site, for_probes: bool) -> Pool:
        config = self._config
        credentials = Credentials() if for_probes else self._site_credentials
        size = _PROBE_CONNECTIONS if for_probes else config.settings.pool_size
        share = 0 if for_probes else config.settings.order_share
        name = site_transport(config.transport, site.url, config.proxy, trust_env=config.trust_env)
        if name == "aiohttp":
            from .transport.aiohttp import AiohttpPool

            return AiohttpPool(
                site.url,
                credentials,
                config.settings,
                tls=self._site_tls,
                size=size,
                order_share=share,
                proxy=config.proxy,
                trust_env=config.trust_env,
            )
        connect = Connector(
            site.url,
            credentials,
            config.settings,
            tls=self._site_tls,
            protocol=name,
            without_http2=self._without_http2,
        )
        return SitePool(
            connect,
            config.settings,
            size=size,
            order_share=share,
            per_connection=HTTP2_STREAMS if name == "http2" else 1,
        )

    async def aclose(self) -> None:
        """Wait a bounded time for the answers to what was sent, then close everything."""
        async with contextlib.AsyncExitStack() as last:  # each step runs whatever the others do
            if self.journal is not None:  # the last of all: it hears how the others' work ended
                last.push_async_callback(self.journal.aclose, self._config.settings.close_wait)
            if self.management is not None:
                last.push_async_callback(self.management.aclose)
            last.push_async_callback(self.roster.aclose)
            last.push_async_callback(self._keep)
            if self.discovery is not None:
                last.push_async_callback(self.discovery.aclose)
            last.push_async_callback(self.supervisor.stop)
            await self.dispatcher.aclose()


def _read_private(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            log.warning("%s can be read by others than its owner; chmod 600 it", path)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the client certificate {path} cannot be read: {error}") from None
