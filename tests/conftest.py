"""What every test stands on: the loops, an open simulator, an open client."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from coinapi_ems_async import EMSClient, NewOrder, Side
from coinapi_ems_async.simulator import Pace, Simulator

EAST, WEST, OREGON = "aws-us-east-1-prd", "aws-eu-west-1-prd", "aws-us-west-2-prd"
ACCOUNT = "KRAKEN/JOHN"
SYMBOL = "KRAKEN_SPOT_BTC_USDT"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: Mapping[str, LoopFactory] = {
    "plain": asyncio.new_event_loop,
    "uvloop": _uvloop,
    "debug": _debug_loop,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loops", default="", help="run async tests on these loops: plain,uvloop,debug")
    faults = parser.getgroup("faults", "fault tests, see tests/faults/conftest.py")
    faults.addoption("--exhaustive", action="store_true", help="break lines at every byte, storm to the end")
    faults.addoption("--offset", type=int, default=None, help="the first byte, of every 7th; the day's by default")
    faults.addoption("--seed", type=int, default=None, help="replay the storm of this seed")
    faults.addoption("--soak", type=float, default=None, help="seconds that the soak takes")
    faults.addoption("--results", type=Path, default=None, help="where finished exhaustive tests are kept")


# The same examples in every run: what a change did not break must not stop it. The exhaustive tier looks further,
# with other examples each time. Machines with company are slow now and then, so no example has a deadline.
_SLOW = (HealthCheck.too_slow,)
settings.register_profile("same", derandomize=True, deadline=None, database=None, suppress_health_check=_SLOW)
settings.register_profile("further", max_examples=1_000, deadline=None, suppress_health_check=_SLOW)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("further" if config.getoption("--exhaustive") else "same")
    # Shells start background jobs with SIGINT ignored, and so would be the commands that tests start and
    # interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "every_loop: run on the plain loop, on uvloop and in asyncio debug mode")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    wanted = [name for name in config.getoption("--loops").split(",") if name]
    if not wanted:
        wanted = list(LOOPS) if item.get_closest_marker("every_loop") else ["plain"]
    return {name: LOOPS[name] for name in wanted}


@pytest.fixture(autouse=True)
def no_table_of_an_earlier_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests that stand in for the production service keep their site tables to themselves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """Two sites without delay and an exchange that answers at once."""
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=Pace(reply=0, book=0, cancel=0), seed=7) as simulator:
        yield simulator


@pytest.fixture
async def ems(sim: Simulator) -> AsyncIterator[EMSClient]:
    async with EMSClient(sim.api_key, management_url=sim.management_url) as client:
        yield client


def three_sites() -> Simulator:
    """Three sites, of which the first is the nearest; each knows only its own orders."""
    pace = Pace(reply=0, book=0, cancel=0)
    return Simulator(sites={EAST: 0.0, WEST: 0.03, OREGON: 0.06}, pace=pace, seed=7, shared_orders=False)


def an_order(**changes: Any) -> NewOrder:
    """A small order that rests in the book: far below the market."""
    fields: dict[str, Any] = {
        "exchange_id": ACCOUNT,
        "symbol_id_coinapi": SYMBOL,
        "side": Side.BUY,
        "amount_order": "0.045",
        "price": "9000",
    }
    return NewOrder(**(fields | changes))
