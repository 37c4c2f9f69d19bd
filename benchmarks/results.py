"""What a run found, as data: it goes to JSON and comes back for tables and plots."""

import msgspec

from .figures import percentile, ratio, settled_from, typical

__all__ = ["Decoding", "FirstOrders", "Importing", "LoopResults", "Machine", "Plan", "Probed", "Results", "Row"]


class Plan(msgspec.Struct, kw_only=True):
    """How long a run takes: rounds, and seconds for each turn of each entrant within a round.

    width, crowd: requests in flight; a crowd of 0 is not measured. short: it only proves that everything runs.
    """

    rounds: int = 12
    alone: float = 0.1
    loaded: float = 0.2
    width: int = 64
    crowd: int = 1024
    tls_rounds: int = 8
    repeats: int = 5
    probed_seconds: float = 1.0
    short: bool = False


SHORT = Plan(rounds=2, alone=0.02, loaded=0.03, crowd=256, tls_rounds=2, repeats=2, probed_seconds=0.2, short=True)


class Machine(msgspec.Struct, kw_only=True):
    """Where it was measured."""

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    server: str
    measured_at: str


class Latency(msgspec.Struct):
    """One request at a time, microseconds, from all rounds that count; `rounds`: the median of every round."""

    p50: float
    p99: float
    p999: float
    rounds: list[float]

    @classmethod
    def of(cls, turns: list[list[float]]) -> "Latency":
        """Return the figures of the times of every round."""
        rounds = [percentile(times, 0.5) for times in turns]
        times = [time for turn in turns[settled_from(rounds) :] for time in turn]
        return cls(percentile(times, 0.5), percentile(times, 0.99), percentile(times, 0.999), rounds)


class Load(msgspec.Struct):
    """Many requests in flight: of every round, requests per second and microseconds of CPU time per request."""

    rates: list[float] = []
    cpu: list[float] = []

    @property
    def rate(self) -> float:
        """Requests per second, the median of the rounds that count."""
        return typical(self.rates)

    @property
    def cpu_time(self) -> float:
        """Microseconds of CPU time per request, all threads, the median of the rounds that count."""
        return typical(self.cpu)

    @property
    def busy(self) -> float:
        """Share of one core that the client was busy; well below 1 means that the server held it back."""
        return typical([rate * cpu / 1e6 for rate, cpu in zip(self.rates, self.cpu, strict=True)])


class Row(msgspec.Struct):
    """One entrant in one setting; `loads` by requests in flight."""

    ours: bool = False
    alone: Latency | None = None
    loads: dict[int, Load] = {}


class FirstOrders(msgspec.Struct):
    """Orders that could have to pay a handshake: microseconds, and of how many it was paid on their path."""

    usual: float
    after_start: list[float]
    after_idle: list[float]
    handshakes_after_start: int
    handshakes_after_idle: int


class Probed(msgspec.Struct):
    """Orders while sites are probed, microseconds; `rounds`: p99 / p50 of every round."""

    transport: str
    sites: int
    p50: float
    p99: float
    rounds: list[float]


class JournalCost(msgspec.Struct):
    """Orders of a client by the journal it keeps, microseconds.

    rates: orders per second with `Plan.width` in flight. hand_over: to a thread and back, nothing else done.
    statement: the one that records an order, as called from a thread that has nothing else to do.
    """

    alone: dict[str, Latency]
    rates: dict[str, float]
    hand_over: float
    statement: dict[str, float]


class LoopResults(msgspec.Struct):
    """Everything that depends on the event loop; rows by entrant, in the order of the table."""

    http: dict[str, Row] = {}
    https: dict[str, Row] = {}
    first: dict[str, FirstOrders] = {}
    probed: Probed | None = None
    journal: JournalCost | None = None


class Decoding(msgspec.Struct):
    """Microseconds for one report, milliseconds for 1,000, beside a struct of floats and texts without checks."""

    one: float
    thousand: float
    plain_one: float
    plain_thousand: float


class Importing(msgspec.Struct):
    """Milliseconds that `import coinapi_ems_async` adds to the start of Python, and whether aiohttp came along."""

    milliseconds: float
    imports_aiohttp: bool


class Results(msgspec.Struct):
    """Everything that one run found."""

    machine: Machine
    plan: Plan
    loops: dict[str, LoopResults] = {}
    decoding: Decoding | None = None
    importing: Importing | None = None
    skipped: list[str] = []


def alone_ratio(rows: dict[str, Row], mine: str, theirs: str) -> float | None:
    """Return how many times as long one request of `mine` takes; None if either was not measured."""
    one, other = rows.get(mine), rows.get(theirs)
    if one is None or other is None or one.alone is None or other.alone is None:
        return None
    return ratio(one.alone.rounds, other.alone.rounds)


def rate_ratio(rows: dict[str, Row], mine: str, theirs: str, width: int) -> float | None:
    """Return how many times the rate of `theirs` the rate of `mine` is; None if either was not measured."""
    one, other = _load(rows, mine, width), _load(rows, theirs, width)
    return None if one is None or other is None else ratio(one.rates, other.rates)


def cpu_ratio(rows: dict[str, Row], name: str, width: int, other_width: int) -> float | None:
    """Return CPU time per request at `width` in flight to that at `other_width`; None if not measured."""
    one, other = _load(rows, name, width), _load(rows, name, other_width)
    return None if one is None or other is None else ratio(one.cpu, other.cpu)


def _load(rows: dict[str, Row], name: str, width: int) -> Load | None:
    row = rows.get(name)
    return row.loads.get(width) if row is not None else None
