"""What exists only while a client is open: pools, the site table, the loops that keep it current."""

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path
from typing import Any, Final

from . import operations
from .auth import ClientCertificate, Credentials
from .config import SessionConfig
from .dispatch import Dispatcher
from .errors import AnswerError, AuthenticationFailed, ConfigurationError, TransportError
from .ledger import OrderLedger
from .management import Management
from .observer import Observer
from .operations import Request
from .sites.directory import Directory, Site, single
from .sites.discovery import Discovery, no_table
from .sites.monitor import Monitor
from .sites.roster import Roster
from .supervisor import Supervisor
from .transport.base import Pool
from .transport.choice import site_transport
from .transport.connect import HTTP2_STREAMS, Connector
from .transport.pool import SitePool
from .transport.tls import client_context, write_private

__all__ = ["Session"]

log: Final = logging.getLogger("coinapi_ems_async.client")

_PROBE_CONNECTIONS: Final = 1
SELF_HOSTED: Final = "self-hosted"


class Session:
    """The open half of a client."""

    def __init__(self, config: SessionConfig, ledger: OrderLedger) -> None:
        self._config = config
        self._observer = observer = Observer(config.on_call)
        self._without_http2: set[str] = set()
        self._site_tls: ssl.SSLContext | None = None
        self._site_credentials = config.auth.site(config.key)
        self.management: Management | None = None
        self.discovery: Discovery | None = None
        self.supervisor = Supervisor()
        self.roster = Roster(self._make_pool, cost=config.cost, settings=config.settings)
        self.monitor = Monitor(self.roster, config.settings, self.supervisor)
        self.dispatcher = Dispatcher(self.roster, ledger, config.settings, config.auth, observer)

    async def open(self) -> None:
        """Find the sites and wait for their first estimates.

        Raises NoSites: if there is no site table, or no certificate to be had. AuthenticationFailed: if the
        management API says 401 or 403. ConfigurationError: if the certificate cannot be used. Never because
        sites are down; and without sites never because of the management API either.
        """
        if (url := self._config.management_url) is not None:
            await self._manage(url)
            if not self._config.with_sites:
                return
            directory = await self._discover(url)
        else:
            directory = await self._one_site(self._config.site_url or "")
        await self.monitor.apply(directory)
        await self.monitor.until_ready()
        self.monitor.keep_warm()
        await self.roster.until_warm(self._config.settings.open_after_first)
        if self.discovery is not None:
            self.monitor.refresh(self.discovery.load)

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
        self.management = Management(pool, config.auth, config.settings, self._observer)

    async def _discover(self, url: str) -> Directory:
        self.discovery = Discovery(self._call, url, self._config.settings)
        if (certificate := await self._certificate()) is not None:
            self._site_tls = await self._context("https:", certificate)
        directory = await self.discovery.load_first()
        if self._site_tls is None and any(site.url.startswith("https:") for site in directory.sites.values()):
            self._site_tls = await self._context("https:", None)
        return directory

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
            if self.management is not None:
                last.push_async_callback(self.management.aclose)
            last.push_async_callback(self.roster.aclose)
            last.push_async_callback(self.supervisor.stop)
            await self.dispatcher.aclose()


def _read_private(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            log.warning("%s can be read by others than its owner; chmod 600 it", path)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the client certificate {path} cannot be read: {error}") from None
