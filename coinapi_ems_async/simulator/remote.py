"""A simulator that is steered from outside its loop: from another thread, or another process."""

import inspect
import ssl
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from coinapi_ems_async.models.enums import Side

from .book import BookView
from .injections import Injection
from .ledger import Balance, PositionView
from .orders import Order
from .records import Record
from .simulator import Simulator
from .site_faults import CertificateKind, SiteFault
from .stage import Stage
from .wire_faults import Cut, WireFault


@dataclass(frozen=True)
class Facts:
    """Where the simulator is, told once it runs."""

    api_key: str
    management_url: str
    site_urls: dict[str, str]
    gateway_urls: dict[str, str]
    environment: dict[str, str]
    ca_pem: bytes


def facts_of(simulator: Simulator, tls: bool) -> Facts:
    """Return where a simulator is that runs."""
    return Facts(
        simulator.api_key,
        simulator.management_url,
        simulator.site_urls,
        simulator.gateway_urls,
        simulator.environment(),
        simulator.ca_pem if tls else b"",
    )


@dataclass(frozen=True)
class Question:
    """A call, or the reading of a property, of the simulator or (`wire`) of the proxy before a site."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()
    wire: str | None = None

    async def ask(self, simulator: Simulator) -> Any:
        """Return the answer; sequences that grow come as lists.

        Raises whatever the simulator raises. AttributeError: if there is no such public thing.
        """
        if self.name.startswith("_"):
            raise AttributeError(f"{self.name!r} is not public")
        target = simulator if self.wire is None else simulator.wire(self.wire)
        value = getattr(target, self.name)
        if callable(value):
            value = value(*self.arguments, **dict(self.keywords))
        if inspect.isawaitable(value):
            value = await value
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | tuple):
            value = list(value)
        return value


class Remote(Stage):
    """What can be asked of such a simulator; the calls block until they are answered.

    All do what those of `Simulator` do, which says more, and raise what they raise. What comes out is a copy.
    """

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Where the servers are."""

    @abstractmethod
    def do(self, name: str, *arguments: Any, wire: str | None = None, **keywords: Any) -> Any:
        """Call a method of the simulator, or read a property; with `wire` of the proxy before that site.

        Raises whatever it raises.
        """

    # Where it is

    @property
    def api_key(self) -> str:
        """The key callers must show."""
        return self.facts.api_key

    @property
    def management_url(self) -> str:
        """The base URL of the management server."""
        return self.facts.management_url

    @property
    def site_urls(self) -> dict[str, str]:
        """The base URL of each site."""
        return self.facts.site_urls

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, in PEM; empty without TLS."""
        return self.facts.ca_pem

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return a context for clients that trusts these servers and nothing else; None without TLS."""
        return ssl.create_default_context(cadata=self.ca_pem.decode()) if self.ca_pem else None

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point a client at this simulator."""
        return self.facts.environment

    # What it did

    def requests(self) -> list[Record]:
        """Return what the servers have read, oldest first."""
        found: list[Record] = self.do("requests")
        return found

    def executions(self, client_order_id: str) -> int:
        """Return how many orders with this id were given to an exchange."""
        found: int = self.do("executions", client_order_id)
        return found

    def cuts(self, site: str) -> list[Cut]:
        """Return what the proxy before a site did."""
        found: list[Cut] = self.do("cuts", wire=site)
        return found

    def orders(self) -> tuple[Order, ...]:
        """Return every order the exchanges have not yet forgotten."""
        found: tuple[Order, ...] = self.do("orders")
        return found

    def book(self, exchange_id: str, symbol: str) -> BookView:
        """Return the book of a symbol."""
        found: BookView = self.do("book", exchange_id, symbol)
        return found

    def balance(self, exchange_id: str, asset: str) -> Balance:
        """Return an account's money in an asset."""
        found: Balance = self.do("balance", exchange_id, asset)
        return found

    def positions(self, exchange_id: str) -> tuple[PositionView, ...]:
        """Return an account's positions."""
        found: tuple[PositionView, ...] = self.do("positions", exchange_id)
        return found

    # What is to happen

    def inject(self, injection: Injection) -> None:
        """Force an answer."""
        self.do("inject", injection)

    def clear_injections(self) -> None:
        """Force no more answers."""
        self.do("clear_injections")

    def inject_wire(self, site: str, fault: WireFault) -> None:
        """Let a fault happen on the wire before a site."""
        self.do("inject", fault, wire=site)

    def strike_wire(self, site: str, fault: WireFault) -> int:
        """Do what a fault says to each open connection of a site, now; return to how many."""
        found: int = self.do("strike", fault, wire=site)
        return found

    def thaw(self, site: str) -> None:
        """Let all that is frozen on the wire before a site move again."""
        self.do("thaw", wire=site)

    def stop_site(self, site: str, *, keep_port: bool = True) -> None:
        """Cut a site's connections, and refuse new ones; `keep_port`: nobody else can have its port meanwhile."""
        self.do("stop_site", site, keep_port=keep_port)

    def blackhole_site(self, site: str) -> None:
        """Cut a site's connections, and let those that are tried from now on hang."""
        self.do("blackhole_site", site)

    def start_site(self, site: str) -> None:
        """Open a stopped site again, on the same port."""
        self.do("start_site", site)

    def set_certificate(self, site: str, kind: CertificateKind) -> None:
        """Let a site show another certificate."""
        self.do("set_certificate", site, kind)

    def strike(self, site: str, fault: SiteFault) -> None:
        """Do to a site what a fault says."""
        self.do("strike", site, fault)

    def set_delay(self, site: str, seconds: float) -> None:
        """Change a site's delay, there and back."""
        self.do("set_delay", site, seconds)

    def exchange_down(self, exchange_id: str) -> None:
        """Make an account unreachable."""
        self.do("exchange_down", exchange_id)

    def exchange_up(self, exchange_id: str) -> None:
        """Make an account reachable again."""
        self.do("exchange_up", exchange_id)

    def exchange_slow(self, exchange_id: str, slow: bool = True) -> None:
        """Make an account too slow to answer new orders."""
        self.do("exchange_slow", exchange_id, slow)

    def exchange_stubborn(self, exchange_id: str, stubborn: bool = True) -> None:
        """Let an account's exchange refuse cancels."""
        self.do("exchange_stubborn", exchange_id, stubborn)

    def discover(
        self, exchange_id: str, symbol: str, side: Side, amount: Decimal | int | str, price: Decimal | int | str
    ) -> str:
        """Let the service find an order in the book that was placed elsewhere; return its id."""
        found: str = self.do("discover", exchange_id, symbol, side, amount, price)
        return found

    def refuse_callers(self, status: Literal[401, 403] | None) -> None:
        """Answer every operation that needs a key with this status; None: the key decides."""
        self.do("refuse_callers", status)

    def vary(self, **changes: Any) -> None:
        """Change some of the variants."""
        self.do("vary", **changes)

    def fund(self, exchange_id: str, asset: str, amount: Decimal | int | str) -> None:
        """Add to an account's available money (negative: take away)."""
        self.do("fund", exchange_id, asset, amount)

    def trade(
        self, exchange_id: str, symbol: str, side: Side, amount: Decimal | int | str, price: Decimal | int | str
    ) -> Decimal:
        """Let an outside trader take from a book up to `price`; return the base units traded."""
        found: Decimal = self.do("trade", exchange_id, symbol, side, amount, price)
        return found

    def release(self) -> None:
        """Answer every request that an injection made hang."""
        self.do("release")

    def clear(self) -> None:
        """Forget the requests."""
        self.do("clear")
