"""The simulator: one management server and one gateway per site, over real sockets."""

import asyncio
import secrets
import ssl
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .api import Api, World
from .auth import Guard
from .certificates import Authority
from .controls import Controls, read_clock
from .directory import Directory
from .front import Front
from .gateway import Gateway
from .management import Management
from .market import Market
from .records import MANAGEMENT
from .server import Listener
from .variants import Pace, Variants

DEFAULT_SITES: Final[Mapping[str, float]] = {
    "aws-us-east-1-prd": 0.040,
    "aws-eu-west-1-prd": 0.015,
    "aws-us-west-2-prd": 0.005,
}
DEFAULT_EXCHANGES: Final = ("KRAKEN", "KRAKEN/JOHN", "BITMEX/JOHN", "DERIBIT")


class Simulator(Controls):
    """The whole service on this machine: `async with Simulator() as sim`, or `start` and `stop`.

    Args:
        sites: location id -> delay in seconds, there and back, added before each answer of that site.
        exchanges: accounts served on every site, or location id -> accounts served there.
        api_key: the key callers must show; a random one if None.
        variants: how the wire looks where sources disagree; `variants` may be replaced at any time.
        pace: delays of an order's walk.
        tls: https everywhere, by an own certificate authority (`ssl_context`, `ca_file`); gateways then
            accept the certificates of `/v1/certificate/pem` in place of the key. Needs the extra
            `simulator`, without which `/v1/certificate/pem` answers 501.
        shared_orders: False: each site knows only the orders placed through it.
        record_limit: requests, finished orders and history rows that are kept.
        host: address to listen on.
        management_port: port of the management server; 0: any.
        ports: location id -> port, or the ports in the order of the sites; the rest get any.
        seed: makes the ids the exchanges give out repeatable.
        require_bearer: token that must come in `Authorization: Bearer` besides the key.

    Attributes:
        auth_fail: 401 or 403: every operation that needs a key answers that, whoever asks.

    Raises ValueError: if there is no site, or an account of an exchange the service does not know.
    Raises ImportError: if `tls` is asked for and the extra `simulator` is not installed.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, float] | None = None,
        exchanges: Sequence[str] | Mapping[str, Sequence[str]] = DEFAULT_EXCHANGES,
        api_key: str | None = None,
        variants: Variants | None = None,
        pace: Pace | None = None,
        tls: bool = False,
        shared_orders: bool = True,
        record_limit: int = 100_000,
        host: str = "127.0.0.1",
        management_port: int = 0,
        ports: Mapping[str, int] | Sequence[int] | None = None,
        seed: int | None = None,
        require_bearer: str | None = None,
    ) -> None:
        delays = dict(DEFAULT_SITES if sites is None else sites)
        plan = _plan(delays, exchanges)
        pace = pace or Pace()
        market = Market(pace, seed=seed, limit=record_limit)
        world = World(
            market=market,
            directory=Directory(plan, market, seed),
            guard=Guard(api_key or secrets.token_hex(16), require_bearer),
            variants=variants or Variants(),
            pace=pace,
            clock=read_clock,
            shared_orders=shared_orders,
        )
        super().__init__(world, record_limit)
        self._tls = tls
        self._host = host
        self._authority = Authority()
        if tls:
            self._authority.check()
        self._ca_file: Path | None = None
        self._started = False
        self._fronts = {MANAGEMENT: self._front(MANAGEMENT, 0.0)}
        self._fronts |= {site: self._front(site, _delay(delay)) for site, delay in delays.items()}
        numbers, fixed = count(1), {MANAGEMENT: management_port} | _ports(delays, ports)
        self._listeners = {
            name: Listener(front, host, fixed.get(name, 0), numbers) for name, front in self._fronts.items()
        }

    def __repr__(self) -> str:
        state = "running" if self._started else "stopped"
        return f"<Simulator {state}, sites: {', '.join(self._world.directory.sites)}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all servers.

        Raises RuntimeError: if it runs already.
        Raises OSError: if a fixed port is taken.
        """
        if self._started:
            raise RuntimeError("the simulator runs already")
        self._started = True
        try:
            if self._tls:
                self._ca_file = self._authority.write()
            for site in self._world.directory.sites:
                await self._listen(site)
            self._world.directory.urls.update(self.site_urls)
            await self._listen(MANAGEMENT)  # last: it names the others
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all servers and cut their connections; does nothing if it does not run."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners.values()))
        if self._ca_file is not None:
            self._ca_file.unlink(missing_ok=True)
            self._ca_file = None
        self._started = False

    # Where it is, and who may call

    @property
    def api_key(self) -> str:
        """The key callers must show."""
        return self._world.guard.api_key

    @property
    def management_url(self) -> str:
        """The base URL of the management server, without a trailing slash."""
        return self._url(MANAGEMENT)

    @property
    def site_urls(self) -> dict[str, str]:
        """The base URL of each site's gateway, without a trailing slash."""
        return {site: self._url(site) for site in self._world.directory.sites}

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, in PEM."""
        return self._authority.pem

    @property
    def ca_file(self) -> Path:
        """A file with `ca_pem`, readable by its owner only, removed at `stop`.

        Raises RuntimeError: unless it runs with `tls`.
        """
        if self._ca_file is None:
            raise RuntimeError("there is a certificate file only while the simulator runs with tls")
        return self._ca_file

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context for clients that trusts this simulator and nothing else."""
        return self._authority.client_context()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point a client at this simulator."""
        found = {"COINAPI_API_KEY": self.api_key, "COINAPI_EMS_MANAGEMENT_URL": self.management_url}
        if self._tls:
            found["SSL_CERT_FILE"] = str(self.ca_file)
        return found

    # Its sites

    async def stop_site(self, site: str) -> None:
        """Close a site's port and cut its connections; its orders are kept.

        Raises KeyError: if there is no such site.
        """
        await self._listeners[site].stop()

    async def start_site(self, site: str) -> None:
        """Open a stopped site again, on the same port.

        Raises KeyError: if there is no such site.
        Raises RuntimeError: if the simulator does not run.
        """
        if not self._started:
            raise RuntimeError("the simulator does not run")
        await self._listen(site)

    def set_delay(self, site: str, seconds: float) -> None:
        """Change a site's delay, there and back, for requests that come from now on.

        Raises KeyError: if there is no such site. ValueError: if it is not a number of seconds from 0 up.
        """
        self._fronts[site].delay = _delay(seconds)

    def release(self) -> None:
        """Answer every request that an injection made hang."""
        for listener in self._listeners.values():
            listener.release()

    def _front(self, site: str, delay: float) -> Front:
        api: Api = Gateway(self._world, site)
        if site == MANAGEMENT:
            api = Management(self._world, self._authority.mint)
        return Front(site, api, self._records, self._injections, delay)

    async def _listen(self, name: str) -> None:
        tls = None
        if self._tls:
            tls = self._authority.server_context(self._host, client_certificates=name != MANAGEMENT)
        await self._listeners[name].start(tls)

    def _url(self, name: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._listeners[name].port}"


def _plan(
    delays: Mapping[str, float], exchanges: Sequence[str] | Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    if not delays or MANAGEMENT in delays:
        raise ValueError(f"at least one site is needed, and none may be called {MANAGEMENT!r}")
    if not isinstance(exchanges, Mapping):
        return {site: tuple(exchanges) for site in delays}
    strangers = set(exchanges) - set(delays)
    if strangers:
        raise ValueError(f"exchanges are given for unknown sites: {', '.join(sorted(strangers))}")
    return {site: tuple(exchanges.get(site, ())) for site in delays}


def _ports(sites: Mapping[str, float], ports: Mapping[str, int] | Sequence[int] | None) -> dict[str, int]:
    if ports is None:
        return {}
    if isinstance(ports, Mapping):
        return dict(ports)
    return dict(zip(sites, ports, strict=False))


def _delay(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        raise ValueError(f"a delay must be a number of seconds from 0 up, got {seconds!r}")
    return float(seconds)
