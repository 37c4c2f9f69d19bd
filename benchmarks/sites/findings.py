"""What a run goes by and what it found, as data: a file for each scenario, so that a run can be resumed."""

from pathlib import Path
from typing import Final

import msgspec

from ..results import Machine
from .watch import History

__all__ = [
    "NOISE_LIMIT",
    "SHORT",
    "Floor",
    "Found",
    "Plan",
    "Report",
    "read_floor",
    "read_found",
    "write_floor",
    "write_found",
]

NOISE_LIMIT: Final = 3.0
"""Milliseconds that a read may take beyond the delay of its site, or what is measured says more about the machine
than about the client: in p99 before a run, in p95 of the second before a failure."""


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """How long a run takes. many, some: repeats of freezes and kills, and of each other failure.

    reads, orders: per second. seeds: of each scenario on the virtual clock, `hours` long each. storm: faults
    injected into orders. idle_orders: orders sent to a server that closes idle connections. In seconds: `floor`,
    for measuring the rig itself; `wall`, `flap`, `hedge`: of these scenarios; `outage`, of the management API;
    `settle`, before anything fails; `spoil`, for answers to be spoiled; `hold` and
    `readmission`: how long an ejection and a readmission are waited for.
    """

    many: int = 100
    some: int = 20
    reads: float = 100.0
    orders: float = 20.0
    seeds: int = 20
    hours: float = 1.0
    wall: float = 600.0
    flap: float = 600.0
    hedge: float = 60.0
    storm: int = 10_000
    idle_orders: int = 1_000
    floor: float = 4.0
    settle: float = 1.0
    spoil: float = 0.4
    hold: float = 3.0
    readmission: float = 8.0
    outage: float = 15.0
    short: bool = False


SHORT = Plan(
    many=1,
    some=1,
    seeds=1,
    hours=0.05,
    wall=1.2,
    flap=0.5,
    hedge=0.3,
    storm=60,
    idle_orders=10,
    floor=0.2,
    settle=0.1,
    spoil=0.15,
    hold=0.7,
    readmission=0.1,
    outage=0.3,
    short=True,
)


class Floor(msgspec.Struct, frozen=True):
    """What a request takes here where no site adds a delay, ms; and of 20 ms what is measured beyond that."""

    p50: float
    p99: float
    error: float


class Found(msgspec.Struct, kw_only=True):
    """The findings of one scenario: values of many repeats, counts over all of them, what broke an invariant.

    tables: rows for people, under their title. history: what the client showed of its sites, where that is drawn.
    """

    name: str
    plan: Plan
    repeats: int = 0
    seconds: float = 0.0
    values: dict[str, list[float]] = {}
    counts: dict[str, float] = {}
    violations: list[str] = []
    tables: dict[str, list[list[str]]] = {}
    history: History | None = None
    begun: float = 0.0
    skipped: str | None = None

    def add(self, name: str, *values: float) -> None:
        """Append values."""
        self.values.setdefault(name, []).extend(values)

    def count(self, name: str, number: float = 1) -> None:
        """Add to a count, which thereby exists."""
        self.counts[name] = self.counts.get(name, 0) + number


def found_of(name: str, plan: Plan) -> Found:
    """Return empty findings."""
    return Found(name=name, plan=plan, values={}, counts={}, violations=[], tables={})


def write_floor(folder: Path, floor: Floor) -> None:
    """Write what was found of the rig itself into the folder of the run."""
    (folder / "floor.json").write_bytes(msgspec.json.encode(floor) + b"\n")


def read_floor(folder: Path) -> Floor | None:
    """Return what an earlier run found of the rig; None if there was none."""
    try:
        return msgspec.json.decode((folder / "floor.json").read_bytes(), type=Floor)
    except (OSError, msgspec.DecodeError):
        return None


class Report(msgspec.Struct, kw_only=True):
    """Everything: `forced` tells that the rig was not quiet enough, and was made to go on."""

    machine: Machine
    plan: Plan
    floor: Floor | None = None
    forced: bool = False
    found: dict[str, Found] = {}


def write_found(folder: Path, found: Found) -> None:
    """Write a scenario's findings into the folder of the run."""
    target = folder / f"{found.name}.json"
    draft = target.with_suffix(".draft")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    draft.replace(target)


def read_found(folder: Path, name: str, plan: Plan) -> Found | None:
    """Return the findings of an earlier run by the same plan; None if there are none."""
    try:
        found = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Found)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.plan == plan else None
