"""Two tiers of the same tests.

`pytest` breaks lines at every 7th byte. Where it begins goes on by one each day, so that within a week every byte
has had its turn; `--offset=N` fixes it, and a failure tells what it was. The rest is short.

`pytest --exhaustive tests/faults` breaks them at every byte, on both event loops, and storms until ten thousand
faults have struck. It can be stopped and started again: what a finished test found is kept as one file of JSON, in
`.pytest_cache/d/exhaustive` or the directory given by `--results`, and is not tested again until the package or
these tests change, or the files are removed (`--cache-clear` removes those in the cache).

`--soak=SECONDS` sets for how long the soak runs: 20 s in the first tier, a minute in the second, ten minutes
(600) before a release. `--seed=N` replays a storm: a failure tells its seed.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ..conftest import LOOPS, LoopFactory

STEP = 7
ROOT = Path(__file__).resolve().parents[2]
_LIMIT = 1_200


@dataclass(frozen=True)
class Tier:
    """How much is tested."""

    exhaustive: bool
    offset: int
    """Of the first tier: bytes that leave this rest when divided by STEP."""
    seed: int | None
    soak: float

    def places(self, size: int) -> list[int]:
        """Return after which bytes to break something of `size` bytes."""
        if self.exhaustive:
            return list(range(size + 1))
        return sorted({*range(self.offset, size + 1, STEP), 0, size})

    def of(self, first: int, second: int) -> int:
        """Return how many: in the first tier, in the second."""
        return second if self.exhaustive else first


class Chunk:
    """What one exhaustive test found, kept for the next run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @property
    def is_done(self) -> bool:
        """Whether the test has passed before, on the same code."""
        return self._path is not None and self._path.exists()

    def keep(self, **found: Any) -> None:
        """Note that it has passed; in the first tier nothing is kept."""
        if self._path is not None:
            fresh = self._path.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(found, sort_keys=True) + "\n")
            fresh.replace(self._path)


def _tier(config: pytest.Config) -> Tier:
    exhaustive = bool(config.getoption("--exhaustive"))
    offset, soak = config.getoption("--offset"), config.getoption("--soak")
    today = datetime.now(UTC).toordinal()
    return Tier(
        exhaustive=exhaustive,
        offset=(today if offset is None else offset) % STEP,
        seed=config.getoption("--seed"),
        soak=soak if soak is not None else 60.0 if exhaustive else 20.0,
    )


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory] | None:
    """In the second tier both loops; in the first those of `first_on`, plain if there is none."""
    if config.getoption("--loops"):
        return None
    marker = item.get_closest_marker("first_on")
    names = ("plain", "uvloop") if marker and _tier(config).exhaustive else marker.args if marker else ("plain",)
    return {name: LOOPS[name] for name in names}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "first_on(loop): the event loop in the first tier; in the second both")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = _tier(config)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_LIMIT + tier.soak if tier.exhaustive else 120 + tier.soak))


@pytest.fixture(scope="session")
def tier(pytestconfig: pytest.Config) -> Tier:
    return _tier(pytestconfig)


@pytest.fixture(scope="session")
def code() -> str:
    """A digest of what is tested and of what tests it."""
    digest = sha256()
    for path in sorted([*ROOT.glob("coinapi_ems_async/**/*.py"), *ROOT.glob("tests/faults/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture
def chunk(request: pytest.FixtureRequest, tier: Tier, code: str) -> Iterator[Chunk]:
    if not tier.exhaustive:
        yield Chunk(None)
        return
    given: Path | None = request.config.getoption("--results")
    folder = given if given is not None else request.config.cache.mkdir("exhaustive")
    folder.mkdir(parents=True, exist_ok=True)
    what = f"{code} {tier.seed} {tier.soak} {request.node.nodeid}"
    name = sha256(what.encode()).hexdigest()[:16]
    yield Chunk(folder / f"{request.node.originalname}-{name}.json")
