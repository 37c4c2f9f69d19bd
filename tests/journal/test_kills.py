"""kill -9 at any moment: the journal and the servers' own log agree on every order afterwards."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from coinapi_ems_async import Accepted, EMSClient, NotSent, NotSentReason, Settings, Unknown
from coinapi_ems_async.simulator import Pace
from coinapi_ems_async.simulator.journal import read_journal
from coinapi_ems_async.simulator.process import SimulatorProcess

from ..conftest import an_order
from .helpers import rows

KILLS, ALL_KILLS = 20, 200
"""In a run of the tests, and in an exhaustive one; each takes one to two seconds."""
_SEED = 20261125
_MOST_ORDERS = 200
_KILLS_EACH = 10
_PATIENCE = 20.0  # s


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[SimulatorProcess]]:
    """The servers of the last kills, none at first."""
    running: list[SimulatorProcess] = []
    yield running
    for sim in running:
        sim.stop()


@pytest.fixture
def servers(fleet: list[SimulatorProcess], kill: int) -> SimulatorProcess:
    """Servers for a few kills: their log, which is read whole each time, would grow for ever."""
    if not fleet or kill % _KILLS_EACH == 0:
        while fleet:
            fleet.pop().stop()
        pace = Pace(reply=0.003, book=0.01, cancel=0)
        fleet.append(SimulatorProcess(sites={"near": 0.0, "far": 0.02}, pace=pace, journal=True))
        fleet[0].start()
    return fleet[0]


def seen(sim: SimulatorProcess) -> Counter[str]:
    """How often each order reached a server."""
    return Counter(
        record.client_order_id
        for record in sim.requests()
        if record.operation == "order_new" and record.client_order_id is not None
    )


def executed(sim: SimulatorProcess) -> Counter[str]:
    """How often each order reached its exchange."""
    assert sim._journal is not None
    return read_journal(sim._journal).executions


def wait_for(sim: SimulatorProcess, orders: int) -> None:
    assert sim._journal is not None
    until = time.monotonic() + _PATIENCE
    while sim._journal.read_bytes().count(b'"order_new"') < orders:
        assert time.monotonic() < until, f"{orders} orders did not reach the servers in time"
        time.sleep(0.001)


def wait_until_executed(sim: SimulatorProcess) -> Counter[str]:
    """Wait until every order that reached a server has reached its exchange as often; returns those."""
    until = time.monotonic() + _PATIENCE
    while (orders := seen(sim)) != executed(sim):
        assert time.monotonic() < until, "the servers did not finish in time"
        time.sleep(0.005)
    return orders


def run_and_kill(sim: SimulatorProcess, path: Path, sync: str, after: int) -> None:
    before = seen(sim).total()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.burst", sim.management_url, str(path), sync],
        env=os.environ | {"COINAPI_API_KEY": sim.api_key},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        wait_for(sim, before + after)
        process.kill()


async def recovered(sim: SimulatorProcess, path: Path, left: list[str]) -> dict[str, type[object]]:
    """What recovery says of each order; those already taken, and those found, are refused when sent again."""
    settings = Settings(close_wait=1.0)
    async with EMSClient(sim.api_key, management_url=sim.management_url, journal=path, settings=settings) as ems:
        assert set(left) <= set(ems.orders.unresolved)
        found = await ems.orders.recover(timeout=10.0)
        assert {one.client_order_id for one in found} >= set(left)
        assert {one.client_order_id for one in found if isinstance(one.outcome, Unknown)} == set(
            ems.orders.unresolved
        )
        for name, _ in rows(path)[-3:]:
            outcome = await ems.orders.submit(an_order(client_order_id=name))
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DUPLICATE
        return {one.client_order_id: type(one.outcome) for one in found}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", range(ALL_KILLS if metafunc.config.getoption("--exhaustive") else KILLS))


def test_every_order_that_a_server_saw_is_accounted_for(
    servers: SimulatorProcess, tmp_path: Path, kill: int
) -> None:
    moment = random.Random(_SEED + kill)
    path = tmp_path / "orders.journal"
    before = set(seen(servers))
    run_and_kill(servers, path, ("process", "disk")[kill % 2], moment.randrange(_MOST_ORDERS))
    arrived = wait_until_executed(servers)
    mine = {name for name in arrived if name not in before}
    held = left_behind(path, tmp_path / "copy")
    assert mine <= set(held), "an order reached a server and is not in the journal"
    assert set(held.values()) <= {None, "accepted"}
    left = [name for name, outcome in held.items() if outcome is None]
    found = asyncio.run(recovered(servers, path, left))
    now = dict(rows(path))
    for name in mine:
        assert now[name] == "accepted", f"{name} reached a server, and is {now[name]}"
    assert all(found[name] is Accepted for name in set(left) & mine)
    late = wait_until_executed(servers)  # what the kernel still held when the process was killed
    assert set(late) - before <= set(held)
    assert set(late.values()) <= {1}, "an order was sent twice"


def left_behind(path: Path, folder: Path) -> dict[str, str | None]:
    """What the file and its log hold, read from a copy: whoever reads them puts them in order."""
    folder.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", folder)
    return dict(rows(folder / path.name))
