"""The client: opens, closes, and hands out the groups of calls."""

import asyncio
import os
import ssl
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from .auth import ApiKeyHeader, Auth, NoAuth, find_api_key
from .config import SessionConfig
from .errors import ConfigurationError, UsageError
from .journal.entries import JournalHealth
from .ledger import OrderLedger
from .observer import CallHook, SettledHook, is_plain
from .redaction import Redaction
from .resources.accounts import Accounts
from .resources.balances import Balances
from .resources.certificate import Certificate
from .resources.endpoints import Endpoints
from .resources.exchanges import Exchanges
from .resources.locations import Locations
from .resources.orders import Orders
from .resources.positions import Positions
from .settings import MANAGEMENT_URL, MANAGEMENT_VARIABLE, Settings
from .sites.selector import CostFunction, network_cost
from .sites.urls import check_base_url
from .sites.view import SiteView
from .transport.choice import TransportName, check_proxy, check_transport

if TYPE_CHECKING:
    import aiohttp

    from .dispatch import Dispatcher
    from .journal.journal import Journal
    from .management import Management
    from .session import Session

__all__ = ["ClientHealth", "EMSClient"]


_T = TypeVar("_T")


class ClientHealth(msgspec.Struct, frozen=True, kw_only=True):
    """State of a client.

    table_age: seconds since the site table was read, None if it never was. table_kept: whether it is still that
    of an earlier run. table_error: why the last reading failed, None if it did not. table_refused: whether that
    was because the key was refused (401, 403). crashes: background loops that crashed, with how often.
    unresolved: orders of unknown outcome. journal: None where none is kept.
    """

    is_open: bool
    sites: list[SiteView]
    table_age: float | None = None
    table_kept: bool = False
    table_error: str | None = None
    table_refused: bool = False
    crashes: Mapping[str, int] = {}
    unresolved: int = 0
    journal: JournalHealth | None = None


class EMSClient:
    """Client of the CoinAPI EMS, for one event loop: `async with EMSClient() as ems`.

    api_key: else that of $COINAPI_API_KEY. management_url: of the Managed Cloud API, else that of
    $COINAPI_EMS_MANAGEMENT_URL, else production's; https, unless it is this machine or a private address. auth:
    how the key is shown, see `auth`; the header by default. settings: every other number and switch. transport: to
    the sites: "http1", the fastest; "http2", which needs the extra http2 and goes on with HTTP/1.1 where a server
    does not offer it; "aiohttp". ssl_context: your own, verifying; a client certificate is added to it where one
    is used, and what it offers by ALPN where transport is "http2". management_session: your own aiohttp session
    for the Managed Cloud API; it is watched so that it sends no change twice, and stays open. proxy: URL of an
    HTTP proxy for everything but that session; the sites are then reached over aiohttp. trust_env: whether
    HTTP_PROXY and HTTPS_PROXY count. cost: which site is nearest, seconds; the round trip by default. on_call:
    called with a CallRecord after each call. on_settled: called with the outcome of each order that was `Unknown`,
    or whose caller was cancelled, when it is known. journal: a file, made if it is missing, that records every
    order before it can leave, and its outcome after: see `orders.recover`. Its directory must exist, on a disk of
    this machine; one client at a time has it.

    Raises ConfigurationError: if there is no key, a URL or a setting is wrong, or a package is missing.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        management_url: str | None = None,
        transport: TransportName = "http1",
        auth: Auth | None = None,
        settings: Settings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        management_session: "aiohttp.ClientSession | None" = None,
        proxy: str | None = None,
        trust_env: bool = False,
        cost: CostFunction = network_cost,
        on_call: CallHook | None = None,
        on_settled: SettledHook | None = None,
        journal: str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings = _checked(Settings, settings, Settings)
        auth = _checked(Auth, auth, ApiKeyHeader)
        url = management_url or os.environ.get(MANAGEMENT_VARIABLE) or MANAGEMENT_URL
        key = "" if isinstance(auth, NoAuth) else find_api_key(api_key)
        unused = api_key if isinstance(api_key, str) else ""  # the server may know it all the same
        self._config = SessionConfig(
            key=key,
            auth=auth,
            settings=self.settings,
            management_url=check_base_url(url, allow_plain=self.settings.allow_plain_http),
            site_url=None,
            tls=_checked_context(ssl_context),
            management_session=management_session,
            cost=_checked_hook("cost", cost) or network_cost,
            transport=check_transport(transport),
            proxy=check_proxy(proxy),
            trust_env=trust_env,
            on_call=_checked_hook("on_call", on_call),
            on_settled=_checked_hook("on_settled", on_settled),
            journal=_checked_path(journal),
            redaction=Redaction((key, unused)),
        )
        self._session: Session | None = None
        self._is_open = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._is_running: Callable[[], bool] = bool
        self.ledger = OrderLedger(self.settings.remembered_orders)
        self.orders = Orders(self)
        self.balances = Balances(self)
        self.positions = Positions(self)
        self.accounts = Accounts(self)
        self.exchanges = Exchanges(self)
        self.locations = Locations(self)
        self.endpoints = Endpoints(self)
        self.certificate = Certificate(self)

    @classmethod
    def cloud_only(
        cls,
        api_key: str | None = None,
        *,
        management_url: str | None = None,
        auth: Auth | None = None,
        settings: Settings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        management_session: "aiohttp.ClientSession | None" = None,
        proxy: str | None = None,
        trust_env: bool = False,
        on_call: CallHook | None = None,
    ) -> Self:
        """Return a client of the Managed Cloud API alone: it looks for no sites and opens at once.

        For what comes before there are sites, such as saving the first account. Orders and reads of sites
        find no site (NotSent, NotRoutable). The arguments are those of the class.
        Raises ConfigurationError: as the class does.
        """
        client = cls(
            api_key,
            management_url=management_url,
            auth=auth,
            settings=settings,
            ssl_context=ssl_context,
            management_session=management_session,
            proxy=proxy,
            trust_env=trust_env,
            on_call=on_call,
        )
        client._config = msgspec.structs.replace(client._config, with_sites=False)
        return client

    @classmethod
    def self_hosted(
        cls,
        url: str,
        *,
        transport: TransportName = "http1",
        auth: Auth | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        on_call: CallHook | None = None,
        on_settled: SettledHook | None = None,
        journal: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Return a client of one known server: one site that serves everything, and no management API.

        auth: nothing by default; ApiKeyHeader or ApiKeyQuery take `api_key`, or $COINAPI_API_KEY.
        Raises ConfigurationError: as the class does.
        """
        settings = _checked(Settings, settings, Settings)
        site_url = check_base_url(url, allow_plain=settings.allow_plain_http)
        client = cls(
            api_key,
            management_url=site_url,
            transport=transport,
            auth=_checked(Auth, auth, NoAuth),
            settings=settings,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
            on_call=on_call,
            on_settled=on_settled,
            journal=journal,
        )
        client._config = msgspec.structs.replace(client._config, management_url=None, site_url=site_url)
        return client

    def __del__(self) -> None:
        if getattr(self, "_is_open", False):
            warnings.warn(
                f"{self!r} was never closed: use `async with EMSClient(...) as ems`, or await ems.aclose()",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )

    def __repr__(self) -> str:
        state = "open" if self._is_open else "closed" if self._is_closed else "new"
        return f"<EMSClient {self._config.management_url or self._config.site_url} {state}>"

    # Opening and closing

    async def open(self) -> None:
        """Find the sites and wait for their first estimates, at most 3 s.

        With a site table kept from an earlier run (`Settings.cache_dir`) the management API is not waited for.
        Raises NoSites: if there is no site table, or no client certificate to be had where one is wanted.
        AuthenticationFailed: if the management API says 401 or 403. ConfigurationError: if the certificate
        cannot be used, the bearer supplier fails, or the journal is not one, is torn, cannot be written, or
        belongs to another client. UsageError: if the client is open or closed already.
        Sites that are down are no error.
        """
        if self._is_closed:
            raise UsageError("this client is closed; make a new one")
        if self._session is not None:
            raise UsageError("this client is open already")
        from .session import Session  # only now: whoever imports the package may never open a client

        self._loop = loop = asyncio.get_running_loop()
        # A thread runs one loop at a time, and `get_running_loop` asks the system for the process each time.
        self._thread, self._is_running = get_ident(), loop.is_running
        self._session = session = Session(self._config, self.ledger)
        try:
            await session.open()
            if self._session is not session:
                raise UsageError("this client was closed while it opened; make a new one")
        except BaseException:
            await self._shut(session)
            raise
        self._is_open = True

    async def aclose(self) -> None:
        """Wait a bounded time for the answers to orders already sent, then close every connection.

        A second call does nothing. The caller's cancellation is delivered after everything is closed.
        Raises UsageError: if called from another event loop.
        """
        session = self._session
        if session is not None:
            self._check_loop()
        self._is_closed, self._is_open = True, False
        if session is not None:
            await self._shut(session)

    async def _shut(self, session: "Session") -> None:
        """Close in a task of its own, so that neither anyio's nor asyncio's cancellation leaves it half done."""
        import anyio

        self._is_closed = True
        self._session = None
        closing = asyncio.get_running_loop().create_task(session.aclose(), name="coinapi-ems: closing")
        with anyio.CancelScope(shield=True):
            cancelled: asyncio.CancelledError | None = None
            while not closing.done():
                try:
                    await asyncio.wait({closing})
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled
        await closing

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # What the groups of calls ask for

    @property
    def dispatcher(self) -> "Dispatcher":
        """Carries calls to sites. Raises UsageError: if the client is not open, or in another event loop."""
        # Once more in `_ready`, but every order passes here, and a function in a name costs less to call.
        session, is_running = self._session, self._is_running
        if session is None or not self._is_open or get_ident() != self._thread or not is_running():
            session = self._ready()
        return session.dispatcher

    @property
    def management(self) -> "Management":
        """Carries calls to the Managed Cloud API. Raises UsageError: as `dispatcher`, or if there is none."""
        management = self._ready().management
        if management is None:
            raise UsageError("a self-hosted client has no Managed Cloud API")
        return management

    @property
    def journal(self) -> "Journal":
        """The journal of orders. Raises UsageError: as `dispatcher`, or if none is kept."""
        journal = self._ready().journal
        if journal is None:
            raise UsageError("this client keeps no journal: make it with journal=path")
        return journal

    async def accounts_changed(self) -> None:
        """Take in that the set of exchange accounts has changed: the site table is read again soon."""
        if self._session is not None:
            await self._session.accounts_changed()

    def _ready(self) -> "Session":
        if self._session is None or not self._is_open:
            raise UsageError(
                "this client is closed; make a new one"
                if self._is_closed
                else "this client is not open; use `async with EMSClient(...) as ems`, or await ems.open()"
            )
        self._check_loop()
        return self._session

    def _check_loop(self) -> None:
        try:
            running: Any = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise UsageError(
                "this client belongs to another event loop; make one client for each loop, and await it there"
            )

    # Looking at it

    @property
    def sites(self) -> list[SiteView]:
        """Every known site as ranked now, best first; empty before opening and after closing."""
        return self._session.roster.views() if self._session is not None else []

    def choices(self, *exchange_ids: str, keep: bool = False) -> dict[str, str]:
        """Return where an order would go now: the site's id for each account, of all in the site table by default.

        An account that no site serves is left out. keep: these accounts count as in use from now on, as if orders
        went there: their sites are probed as often and kept as warm, and `ems.sites` shows their choice. Empty
        before opening and after closing.
        """
        if self._session is None:
            return {}
        found = self._session.roster.choices(exchange_ids, keep=keep)
        return {name: entry.site.id for name, entry in found.items()}

    def health(self) -> ClientHealth:
        """Return the client's state."""
        session = self._session
        if session is None:
            return ClientHealth(is_open=False, sites=[], unresolved=len(self.ledger.unresolved))
        discovery = session.discovery
        return ClientHealth(
            is_open=self._is_open,
            sites=session.roster.views(),
            table_age=discovery.age if discovery else None,
            table_kept=discovery.is_kept if discovery else False,
            table_error=discovery.last_error if discovery else None,
            table_refused=discovery.is_refused if discovery else False,
            crashes=dict(session.supervisor.crashes),
            unresolved=len(self.ledger.unresolved),
            journal=session.journal.health() if session.journal else None,
        )

    async def refresh(self) -> None:
        """Read the site table again now, for example after saving an account.

        Raises NoSites, AnswerError, TransportError: if that fails; the table stays as it was.
        UsageError: as `dispatcher`, or if there is no management API.
        """
        session = self._ready()
        if session.refresher is None:
            raise UsageError("this client reads no site table")
        await session.refresher.now()


def _checked(kind: type[_T], given: _T | None, default: Callable[[], _T]) -> _T:
    if given is None:
        return default()
    if not isinstance(given, kind):
        name = kind.__name__
        raise ConfigurationError(
            f"{name.lower()} must be an instance of {name}, got {given!r}"
            + (f"; write {given.__name__}(...)" if isinstance(given, type) else "")
        )
    return given


def _checked_path(given: str | os.PathLike[str] | None) -> Path | None:
    if given is None:
        return None
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str) or not Path(path).name or "\0" in path:
        raise ConfigurationError(f"journal must be the path of a file, got {given!r}")
    return Path(path)


def _checked_hook(name: str, given: _T | None) -> _T | None:
    if given is not None and not is_plain(given):
        raise ConfigurationError(f"{name} must be a function that is not async, got {given!r}")
    return given


def _checked_context(given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if given is not None and not isinstance(given, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context must be an ssl.SSLContext that verifies, got {given!r}")
    return given
