"""The simulator: one management server and one gateway per site, over real sockets."""

import asyncio
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final, Self

from .api import Api, World
from .arguments import accounts_of, delay_of, elsewhere_of, ports_of, speech_of
from .auth import Guard
from .certificates import Authority
from .controls import Controls, read_clock
from .directory import Directory
from .front import Front
from .gateway import Gateway
from .journal import Journal
from .management import Management
from .market import Market
from .proxy import FaultProxy
from .records import MANAGEMENT
from .server import Listener
from .site import Site
from .site_faults import CERTIFICATES, CertificateKind, SiteFault
from .variants import Http2, Pace, Variants
from .wire_faults import FaultPlan

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
        management_limit: requests that the management server lets be under way at once, as the service does per
            key; one more is answered 429. They are under way for its delay: `set_delay("management", ...)`.
        ports: location id -> port, or the ports in the order of the sites; the rest get any.
        seed: makes the ids the exchanges give out repeatable.
        require_bearer: token that must come in `Authorization: Bearer` besides the key.
        http2: HTTP/2 beside HTTP/1.1, on the same ports: in clear text with prior knowledge, with TLS by ALPN.
            True or an `Http2` that says how; False: not at all; None: if the package `h2` is installed.
        proxied: a `FaultProxy` before every gateway (see `wire`); clients are told the addresses of the proxies.
        plan: faults on the wires, drawn from a seed; implies `proxied`. Each wire draws for itself.
        elsewhere: location id -> base URL of a gateway that runs elsewhere; it is named, and no more.
        journal: file to which each request, and each order that an exchange gets, is written at once (`Journal`).
        authority: certificate and private key, in PEM, of the authority that issues the certificates; None: a
            new one.

    Attributes:
        auth_fail: 401 or 403: every operation that needs a key answers that, whoever asks.

    Raises ValueError: if there is no site, or an account of an exchange the service does not know.
    Raises ImportError: if `tls` or `http2` is asked for and the extra `simulator` is not installed.
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
        management_limit: int | None = None,
        ports: Mapping[str, int] | Sequence[int] | None = None,
        seed: int | None = None,
        require_bearer: str | None = None,
        http2: Http2 | bool | None = None,
        proxied: bool = False,
        plan: FaultPlan | None = None,
        elsewhere: Mapping[str, str] | None = None,
        authority: tuple[bytes, bytes] | None = None,
        journal: Path | None = None,
    ) -> None:
        delays = dict(DEFAULT_SITES if sites is None else sites)
        accounts = accounts_of(delays, exchanges)
        self._elsewhere = elsewhere_of(delays, elsewhere)
        pace = pace or Pace()
        market = Market(pace, seed=seed, limit=record_limit)
        world = World(
            market=market,
            directory=Directory(accounts, market, seed),
            guard=Guard(api_key or secrets.token_hex(16), require_bearer),
            variants=variants or Variants(),
            pace=pace,
            clock=read_clock,
            shared_orders=shared_orders,
        )
        super().__init__(world, record_limit)
        self._tls = tls
        self._host = host
        self._management_limit = management_limit
        self._authority = Authority(authority)
        if tls:
            self._authority.check()
        self._ca_file: Path | None = None
        self._journal_path = journal
        self._http2 = speech_of(http2)
        self._started = False
        numbers, fixed = count(1), {MANAGEMENT: management_port} | ports_of(delays, ports)
        self._sites = {
            name: self._site(name, delay, fixed.get(name, 0), numbers)
            for name, delay in ({MANAGEMENT: 0.0} | delays).items()
            if name not in self._elsewhere
        }
        if proxied or plan is not None:
            for name, site in self._sites.items():
                if name != MANAGEMENT:
                    self._put_behind_a_wire(name, site, plan)

    def __repr__(self) -> str:
        state = "running" if self._started else "stopped"
        return f"<Simulator {state}, sites: {', '.join(self._world.directory.sites)}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
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
            if self._journal_path is not None:
                self._world.journal = Journal(self._journal_path)
            for name in self._sites:
                if name != MANAGEMENT:
                    await self._listen(name)
            self._world.directory.urls.update(self.site_urls)
            await self._listen(MANAGEMENT)  # last: it names the others
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all servers and cut their connections; does nothing if it does not run."""
        ca_file, self._ca_file = self._ca_file, None
        if ca_file is not None:
            ca_file.unlink(missing_ok=True)  # first: what follows may be cancelled
        await asyncio.gather(*(site.stop() for site in self._sites.values()))
        journal, self._world.journal = self._world.journal, None
        if journal is not None:
            journal.close()
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
    def gateway_urls(self) -> dict[str, str]:
        """The base URL of each site's gateway itself, past the proxy before it."""
        return {site: self._url(site, past_the_wire=True) for site in self._world.directory.sites}

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, in PEM."""
        return self._authority.pem

    @property
    def ca_file(self) -> Path:
        """A file with `ca_pem`, readable by its owner only, written when it is first asked for, removed at `stop`.

        Raises RuntimeError: unless it runs with `tls`.
        """
        if not (self._tls and self._started):
            raise RuntimeError("there is a certificate file only while the simulator runs with tls")
        if self._ca_file is None:
            self._ca_file = self._authority.write()
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

    async def stop_site(self, site: str, *, keep_port: bool = True) -> None:
        """Cut a site's connections, and refuse new ones; its orders are kept.

        keep_port: nobody else can have its port meanwhile; False for a server of yours to take its place.
        Raises KeyError: if there is no such site.
        """
        one = self._sites[site]
        await (one.shut() if keep_port and self._started else one.stop())

    async def blackhole_site(self, site: str) -> None:
        """Cut a site's connections, and let those that are tried from now on hang; its orders are kept.

        To keep its connections too, but frozen, strike its wire with a WireFault.

        Raises KeyError: if there is no such site.
        Raises RuntimeError: if the simulator does not run.
        Raises OSError: if this system lets connections in although nobody accepts them (Linux does not).
        """
        self._check_runs()
        await self._sites[site].vanish()

    def set_certificate(self, site: str, kind: CertificateKind) -> None:
        """Let a site show a "valid", "expired" or "untrusted" certificate, or that of a "wrong_host", to whoever
        connects from now on.

        Raises KeyError: if there is no such site. ValueError: if there is no such certificate.
        Raises RuntimeError: unless the simulator is made with `tls`.
        """
        if not self._tls:
            raise RuntimeError("certificates are shown with tls only; make the simulator with tls=True")
        if kind not in CERTIFICATES:
            raise ValueError(f"{kind!r} is no kind of certificate; there are {', '.join(CERTIFICATES)}")
        self._sites[site].certificate = kind
        self._sites[site].listener.tls = self._context(site)

    async def strike(self, site: str, fault: SiteFault) -> None:
        """Do to a site what a fault says: as `stop_site`, `blackhole_site` and `set_certificate`."""
        if fault.kind == "refuse":
            await self.stop_site(site)
        elif fault.kind == "blackhole":
            await self.blackhole_site(site)
        else:
            self.set_certificate(site, fault.kind)

    async def start_site(self, site: str) -> None:
        """Open a stopped site again, or one that is a blackhole, on the same port.

        Raises KeyError: if there is no such site.
        Raises RuntimeError: if the simulator does not run.
        """
        self._check_runs()
        await self._listen(site)

    def set_delay(self, site: str, seconds: float) -> None:
        """Change a site's delay, there and back, for requests that come from now on.

        Raises KeyError: if there is no such site. ValueError: if it is not a number of seconds from 0 up.
        """
        self._sites[site].front.delay = delay_of(seconds)

    def release(self) -> None:
        """Answer every request that an injection made hang."""
        for site in self._sites.values():
            site.listener.release()

    def wire(self, site: str) -> FaultProxy:
        """Return the proxy before a site's gateway.

        Raises KeyError: if there is no such site. RuntimeError: unless the simulator is `proxied`.
        """
        found = self._sites[site].wire
        if found is None:
            raise RuntimeError(f"there is no proxy before {site}; make the simulator with proxied=True")
        return found

    def _site(self, name: str, delay: float, port: int, numbers: Iterator[int]) -> Site:
        api: Api = Gateway(self._world, name)
        limit = None
        if name == MANAGEMENT:
            api, limit = Management(self._world, self._authority.mint), self._management_limit
        front = Front(name, api, self._records, self._injections, delay_of(delay), limit)
        return Site(front, Listener(front, self._host, port, numbers, self._http2))

    def _put_behind_a_wire(self, name: str, site: Site, plan: FaultPlan | None) -> None:
        listener = site.listener
        site.wire = FaultProxy(self._host, 0, host=self._host, port=listener.port, plan=plan, name=name)
        listener.port = 0

    def _check_runs(self) -> None:
        if not self._started:
            raise RuntimeError("the simulator does not run")

    async def _listen(self, name: str) -> None:
        await self._sites[name].start(self._context(name) if self._tls else None)

    def _context(self, name: str) -> ssl.SSLContext:
        return self._authority.server_context(
            self._host,
            client_certificates=name != MANAGEMENT,
            http2=self._http2 is not None,
            kind=self._sites[name].certificate,
        )

    def _url(self, name: str, *, past_the_wire: bool = False) -> str:
        if name in self._elsewhere:
            return self._elsewhere[name]
        site = self._sites[name]
        port = site.listener.port if past_the_wire else site.port
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{port}"
