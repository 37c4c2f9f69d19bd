"""Every number and switch of the client, with its default and the reason for it."""

from typing import Final, Literal

import msgspec

from .errors import ConfigurationError

__all__ = ["MANAGEMENT_URL", "Settings"]

MANAGEMENT_URL: Final = "https://ems-mgmt.coinapi.io"
"""The Managed Cloud API in production (EMS guide, Managed Cloud)."""

MANAGEMENT_VARIABLE: Final = "COINAPI_EMS_MANAGEMENT_URL"
"""Environment variable that names another one, such as the simulator's."""

GLOBAL_URL: Final = "https://global.ems.coinapi.net"
"""The host that serves every account of a production key (EMS guide, quick start)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the client behaves; times are seconds, sizes bytes.

    Raises ConfigurationError: if a number is out of its range.
    """

    # Calls
    order_timeout: float = 30.0
    """Of order calls. The service waits for the exchange before it answers, and its own limit is not
    documented, so shorter times turn slow answers into unknown outcomes."""
    read_timeout: float = 10.0
    """Of reads, over all their tries."""
    read_try_timeout: float = 4.0
    """Of one try of a read; then the next site is asked."""
    management_timeout: float = 2.0
    """Of each try of a management call."""
    management_tries: int = 3
    """Of a management read; calls that change something are tried once."""
    connect_timeout: float = 3.0
    """To establish a connection, TLS included: twice what the slowest intercontinental path takes."""
    stall_timeout: float = 5.0
    """Longest silence inside an answer that has begun to arrive."""
    late_answer: float = 5.0
    """How long a connection whose order ran out of time is still listened to."""
    read_attempts: int = 3
    """Requests a read may send in all."""
    resend_cancel: bool = True
    """Whether a cancel of unknown outcome is sent once more when the order's status shows it still open."""
    good_till_time_text: Literal["GOOD_TILL_TIME_OMS", "GOOD_TILL_TIME_OEML"] = "GOOD_TILL_TIME_OMS"
    """How GOOD_TILL_TIME_OMS is spelt on the wire; the service's own papers have both."""

    # Connections
    pool_size: int = 64
    """Most requests at a time to one site (MongoDB's drivers: 100, aiohttp: 100); with HTTP/1.1 each has a
    connection of its own, with HTTP/2 they share a few."""
    order_share: int = 16
    """How many of them only orders and cancels may use, so that they never wait behind reads."""
    pool_timeout: float = 0.5
    """How long a call waits for a free connection to a site while there are others it could go to."""
    idle_timeout: float = 45.0
    """How long a connection is kept unused; common gateways close theirs after 60."""
    warm_connections: int = 2
    """How many connections are kept open to each of the two best sites of every account, so that neither the first
    order nor the one after an idle hour pays for a handshake. 0 for none."""
    http2_ping: float = 15.0
    """After how much silence an HTTP/2 connection asks whether its server is still there."""
    http2_ping_timeout: float = 5.0
    """How long it waits for any sign of life then."""
    max_body: int = 64 * 1024 * 1024
    """Largest answer read, after decompression. 50,000 open orders take 40 MB."""
    allow_plain_http: bool = False
    """Whether http:// may go anywhere; else only to loopback and private addresses."""

    # Sites
    probe_path: str = "/"
    """What a probe reads, without the key; any complete status below 500 means alive."""
    probe_interval: float = 0.5
    """Between probes of the best site."""
    probe_interval_others: float = 1.0
    """Between probes of the other candidates."""
    probe_interval_slow: float = 5.0
    """Between probes of sites more than twice and 20 ms slower than the best."""
    drain: float = 60.0
    """How long requests under way at a site that left the table may go on."""
    open_after_first: float = 1.0
    """How long opening waits for the other sites after the first has an estimate."""
    open_within: float = 3.0
    """How long opening waits for estimates in all."""
    refresh_interval: float = 300.0
    """Between readings of the site table, give or take 10 %."""

    # Closing
    close_wait: float = 5.0
    """How long closing waits for orders that were sent and not answered yet."""
    remembered_orders: int = 10_000
    """For how many orders the client remembers the site that took them."""

    # The journal
    journal_sync: Literal["process", "disk"] = "process"
    """What an order's record survives before the order may leave: the end of the process, kill -9 included, or
    ("disk") a loss of power as well, for one fsync that orders of the same moment share."""
    journal_keep: float = 30 * 24 * 3600.0
    """How long finished orders stay in the journal; what is older goes when it is opened."""

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool | str):
                if not isinstance(value, type(field.default)):
                    kind = type(field.default).__name__
                    raise ConfigurationError(f"Settings.{field.name} must be a {kind}, got {value!r}")
            elif isinstance(field.default, int) and type(value) is not int:
                raise ConfigurationError(f"Settings.{field.name} must be a whole number, got {value!r}")
            elif field.name == "warm_connections" and value == 0:
                continue
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise ConfigurationError(f"Settings.{field.name} must be a positive number, got {value!r}")
        if self.journal_sync not in ("process", "disk"):
            raise ConfigurationError(f"Settings.journal_sync must be process or disk, got {self.journal_sync!r}")
        if self.order_share >= self.pool_size:
            raise ConfigurationError(
                f"Settings.order_share ({self.order_share}) must leave reads some of pool_size ({self.pool_size})"
            )
        if not self.probe_path.startswith("/") or not self.probe_path.isprintable() or " " in self.probe_path:
            raise ConfigurationError(f"Settings.probe_path must be an absolute path, got {self.probe_path!r}")
