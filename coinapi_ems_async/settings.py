"""Every number and switch of the client, with its default and the reason for it."""

import os
import re
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from .errors import ConfigurationError

__all__ = ["MANAGEMENT_URL", "Settings"]

MANAGEMENT_URL: Final = "https://ems-mgmt.coinapi.io"
"""The Managed Cloud API in production (EMS guide, Managed Cloud)."""

MANAGEMENT_VARIABLE: Final = "COINAPI_EMS_MANAGEMENT_URL"
"""Environment variable that names another one, such as the simulator's."""

GLOBAL_URL: Final = "https://global.ems.coinapi.net"
"""The host that serves every account of a production key (EMS guide, quick start)."""

_DAY: Final = 86_400.0
_SUFFIX: Final = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_NO_NUMBERS: Final = frozenset({"allowed_host_suffixes", "cache_dir"})
"""Fields with checks of their own."""
_MAY_BE_NONE_AT_ALL: Final = frozenset({"warm_connections", "busy_poll"})


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
    hedge_reads: bool = True
    """Whether a read that is slow to answer is asked at a second site as well; of every ten reads at most one
    is."""
    reconcile: bool = True
    """Whether orders of unknown outcome are looked for at once, and after a cancel-all of unknown outcome the open
    orders are read; `ems.orders.resolve` looks in any case."""
    reroute_unreachable: bool = False
    """Whether an order that a site refused because its exchange is unreachable from there (490) is sent to the
    next site, once, after the first has said that it does not know the order; and a cancel-all to the next."""
    resend_cancel: bool = True
    """Whether a cancel of unknown outcome is sent once more when the order's status shows it still open."""
    good_till_time_text: Literal["GOOD_TILL_TIME_OMS", "GOOD_TILL_TIME_OEML"] = "GOOD_TILL_TIME_OMS"
    """How GOOD_TILL_TIME_OMS is spelt on the wire; the service's own papers have both."""
    unsupported: Literal["warn", "error", "ignore"] = "warn"
    """What becomes of an order whose time in force or instructions its exchange lacks by the service's table: it
    is logged once and sent, refused with InvalidRequest, or just sent. The table is advice."""

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
    """How many connections are kept open to each of the two best sites of every account in use (of every account
    before the first call), so that neither the first order, nor the one after an idle hour, nor the first after a
    site is lost pays for a handshake. 0 for none."""
    warm_at_most: int = 16
    """How many more may be kept open to them where that many calls were under way at a time within the last
    minute, and up to twice that at one that is farther away: the calls of a site that is lost find connections at
    the second one."""
    busy_poll: float = 0.0002
    """For how long after an order or a cancel was sent the event loop is kept from going to sleep until the answer
    is there, as Linux's SO_BUSY_POLL does for a socket, wherever the last order was answered within that time.
    Waking up is what costs most of a short round trip: 30 of 110 us on a virtual machine. Other tasks run as ever.
    With a site 5 ms away 0.01 does the same, and takes a core for as long as orders are under way. What had to
    wait for a connection is awaited as ever. 0: never."""
    http2_ping: float = 15.0
    """After how much silence an HTTP/2 connection asks whether its server is still there."""
    http2_ping_timeout: float = 5.0
    """How long it waits for any sign of life then. It also asks when answers are late, and waits for the echo, a
    second at most: a connection that crawls is replaced."""
    max_body: int = 64 * 1024 * 1024
    """Largest answer read, after decompression. 50,000 open orders take 40 MB."""
    allow_plain_http: bool = False
    """Whether http:// may go anywhere; else only to loopback and private addresses."""

    # The choice of a site
    switch_least: float = 0.002
    """A site in use is left for a better one only if that is nearer by this"""
    switch_share: float = 0.1
    """and by this share of the round trip,"""
    switch_rounds: int = 3
    """in so many rounds in a row,"""
    switch_sure_rounds: int = 2
    """or in so many if that cannot be noise: if it is nearer by as much than the site in use has been of late,"""
    switch_sure: float = 5.0
    """or by so many times the spread of that site's samples (median less minimum) more;"""
    switch_round: float = 1.0
    """rounds are so far apart;"""
    switch_patience: float = 10.0
    """or if that is nearer by half of this share, and by the least as before, for so long without a pause.
    The exchange's home is gone back to if it is not even half as much farther, of both, for so long."""
    suspect_forgiven: float = 30.0
    """A site that was suspected, and not before that within this time, is chosen again as soon as it is healthy:
    one stall of a machine should not send the calls elsewhere for three rounds."""
    prefer_home_for_orders: bool = False
    """Whether new orders and cancels go to the exchange's home location while it is as healthy as any other site,
    however far it is. Reads go to the nearest site all the same."""

    # The health of sites
    eject_probes: int = 2
    """Failed probes in a row after which a site is ejected."""
    eject_refused: int = 2
    """Refused connections in a row, likewise."""
    eject_gateway_errors: int = 3
    """Answers 502, 503 and 504 in a row that are not the service's own, likewise (Envoy: 5)."""
    eject_server_errors: int = 5
    """Answers 500 in a row, and others that make no sense, likewise (Envoy: 5)."""
    eject_malformed: int = 3
    """Answers in a row that break HTTP, likewise."""
    eject_backoff: float = 1.0
    """How long a site stays ejected before it is probed again, give or take 20 %; twice as long each further
    time."""
    eject_backoff_most: float = 60.0
    """Longest such wait (Elastic: 30, Envoy: 300)."""
    eject_backoff_tls: float = 60.0
    """The first such wait after a certificate that is not valid: nobody renews one in a second."""
    forgive_after: float = 30.0
    """A site that was healthy for so long is forgiven one ejection."""
    readmit_probes: int = 3
    """Good probes in a row that make a site in probation healthy again."""
    readmit_interval: float = 0.25
    """Between these probes."""
    relapse_window: float = 600.0
    """A site ejected three times within this is believed less each time:"""
    relapse_hold: float = 60.0
    """once healthy again, it comes after its peers for so long, twice as long after each further ejection."""
    auth_blocked: float = 60.0
    """How long a site that refused the caller (401, 403) comes after its peers before calls try it again."""
    throttled: float = 1.0
    """How long a site that limits calls (429) comes after its peers if it does not say how long."""
    throttled_most: float = 60.0
    """Longest such time a site may ask for."""
    exchange_down: float = 5.0
    """How long a site that cannot reach an exchange (490) comes after its peers for that exchange; twice as long
    each further time."""
    exchange_down_most: float = 60.0
    """Longest such time."""

    # Sites
    probe_path: str = "/"
    """What a probe reads, without the key; any complete status below 500 means alive."""
    probe_interval: float = 0.5
    """Between probes of the two best sites of every account in use: the first choice, and its successor."""
    probe_interval_others: float = 1.0
    """Between probes of the other candidates."""
    probe_interval_slow: float = 5.0
    """Between probes of sites more than twice and 20 ms slower than the best."""
    probe_timeout: float = 1.0
    """Longest wait for a probe, and the wait before there is an estimate; else four round trips and 50 ms."""
    probe_timeout_least: float = 0.25
    """Shortest wait for a probe."""
    suspect_after: float = 0.05
    """A site whose probe is older than twice the estimate, and than the estimate and this, is suspect even before
    the probe times out."""
    loop_stall: float = 0.02
    """An event loop that stood still for longer makes sites look slow: what was timed meanwhile does not count."""
    sample_window: int = 8
    """The estimate of a round trip is the least of so many samples,"""
    sample_time: float = 7.5
    """and of all within so long: with more probes a second the noise of a minimum must not grow."""
    change_samples: int = 3
    """So many samples in a row, all clearly above the estimate, are a new path and all that is kept,"""
    change_time: float = 1.25
    """if so much time lies between the first and the last: three probes a second apart, four of half a second."""
    change_least: float = 0.005
    """Clearly above: by this,"""
    change_share: float = 0.25
    """by this share of the estimate,"""
    change_spread: float = 3.0
    """and by so many times the spread of the samples (median less minimum);"""
    change_proof: float = 20.0
    """and the least excess times the number of samples by so many: three samples far off, or more nearer ones."""
    drain: float = 60.0
    """How long requests under way at a site that left the table may go on."""
    open_after_first: float = 1.0
    """How long opening waits for the other sites after the first has an estimate."""
    open_within: float = 3.0
    """How long opening waits for estimates in all."""
    allowed_host_suffixes: tuple[str, ...] = ()
    """What the host of every site that discovery names must end in, such as ("coinapi.net",); whole labels count.
    Others are left out. Empty: any host."""

    # The site table
    refresh_interval: float = 300.0
    """Between readings of the site table, give or take 10 %."""
    refresh_retry: float = 10.0
    """From a reading that failed to the next; twice as long after each further failure, 300 s at most."""
    refresh_gap: float = 10.0
    """Least time between readings that calls and sites ask for."""
    cache_dir: str | os.PathLike[str] | UnsetType | None = UNSET
    """Where the site table is kept for the next start. By default `coinapi-ems-async` in $XDG_CACHE_HOME or
    ~/.cache, and nowhere for a management API on this machine; None: nowhere."""
    cache_warn_age: float = _DAY
    """Age from which a kept table is used with a warning."""
    cache_max_age: float = 30 * _DAY
    """Age from which it is not used."""

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
            if field.name in _NO_NUMBERS:
                continue
            if isinstance(field.default, bool | str):
                if not isinstance(value, type(field.default)):
                    kind = type(field.default).__name__
                    raise ConfigurationError(f"Settings.{field.name} must be a {kind}, got {value!r}")
                if (choices := get_args(field.type)) and value not in choices:
                    raise ConfigurationError(
                        f"Settings.{field.name} must be one of {', '.join(choices)}, got {value!r}"
                    )
            elif isinstance(field.default, int) and type(value) is not int:
                raise ConfigurationError(f"Settings.{field.name} must be a whole number, got {value!r}")
            elif field.name in _MAY_BE_NONE_AT_ALL and value == 0 and not isinstance(value, bool):
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
        _check_suffixes(self.allowed_host_suffixes)
        _check_directory(self.cache_dir)


def _check_suffixes(given: Any) -> None:
    if not isinstance(given, tuple) or not all(isinstance(one, str) and _SUFFIX.fullmatch(one) for one in given):
        raise ConfigurationError(
            f'Settings.allowed_host_suffixes must be a tuple of host names, as in ("coinapi.net",), got {given!r}'
        )


def _check_directory(given: Any) -> None:
    if given is None or given is UNSET:
        return
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigurationError(f"Settings.cache_dir must be the path of a directory, or None, got {given!r}")
