"""The fixtures for users' own tests, in runs of pytest as users have them."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

STRICT = "[pytest]\naddopts = --strict-markers --strict-config -p no:cacheprovider\nfilterwarnings = error\n"
USUAL = STRICT + "asyncio_default_fixture_loop_scope = function\n"
HEAD = """
import asyncio

import pytest

from coinapi_ems_async import Accepted, NewOrder, OrderUnknown, Settings, Side
from coinapi_ems_async.simulator import Injection, WireFault


def an_order():
    return NewOrder(
        exchange_id="KRAKEN",
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order="1",
        price="9000",
    )
"""
PLAIN = """
def test_plain(ems_simulator):
    assert set(ems_simulator.site_urls) == {"near", "far"}
    assert ems_simulator.requests() == []


def test_a_loop_of_ones_own(ems_simulator, ems_client):
    async def main():
        async with ems_client as ems:
            return await ems.orders.submit(an_order())

    outcome = asyncio.run(main())
    assert isinstance(outcome, Accepted) and outcome.site == "near"
    assert ems_simulator.executions(outcome.client_order_id) == 1


@pytest.mark.ems_simulator(sites={"class": 0.0}, exchanges=["KRAKEN"])
class TestMarked:
    def test_by_the_class(self, ems_simulator):
        assert list(ems_simulator.site_urls) == ["class"]
        assert ems_simulator.do("accounts") == ("KRAKEN",)

    @pytest.mark.ems_simulator(sites={"mine": 0.0}, proxied=True)
    def test_the_nearest_counts_most(self, ems_simulator):
        assert list(ems_simulator.site_urls) == ["mine"]
        assert ems_simulator.do("accounts") == ("KRAKEN",)
        assert ems_simulator.cuts("mine") == []


@pytest.mark.ems_simulator(tls=True)
@pytest.mark.ems_client(transport="http2", settings=Settings(order_timeout=7.0))
def test_tls_and_a_client_that_is_told_how(ems_simulator, ems_client):
    async def main():
        async with ems_client as ems:
            await ems.orders.place(an_order())

    asyncio.run(main())
    assert ems_client.settings.order_timeout == 7.0
    assert [one.version for one in ems_simulator.requests() if one.operation == "order_new"] == ["2"]


def test_never_opened(ems_client):
    assert "new" in repr(ems_client)
"""
ASYNC = """
{mark}
async def test_unknown_is_executed_once(ems_simulator, ems_client):
    ems_simulator.inject(Injection(operation="order_new", status=502, execute="before"))
    order = an_order()
    async with ems_client as ems:
        with pytest.raises(OrderUnknown):
            await ems.orders.place(order)
        assert (await ems.orders.status(order.client_order_id)).is_open
    assert ems_simulator.executions(order.client_order_id) == 1


{mark}
@pytest.mark.parametrize("number", range(3))
async def test_a_site_goes_and_comes_back(ems_simulator, ems_client, number):
    async with ems_client as ems:
        ems_simulator.stop_site("near")
        assert (await ems.orders.submit(an_order())).site == "far"
        ems_simulator.start_site("near")
"""


def run(directory: Path, text: str, *options: str, ini: str = USUAL) -> "subprocess.CompletedProcess[str]":
    """Run pytest as a user would, in a directory of their own."""
    (directory / "pytest.ini").write_text(ini)
    (directory / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", *options]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=50, check=False)


def passed(ran: "subprocess.CompletedProcess[str]", count: int) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{count} passed" in ran.stdout


def test_plain_tests_need_no_plugin_for_asyncio(tmp_path: Path) -> None:
    passed(run(tmp_path, HEAD + PLAIN, "-p", "no:asyncio", "-p", "no:anyio", ini=STRICT), 6)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_with_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    passed(run(tmp_path, HEAD + ASYNC.format(mark=mark), ini=f"{USUAL}asyncio_mode = {mode}\n"), 4)


def test_with_anyio_s_plugin(tmp_path: Path) -> None:
    backend = '\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    text = HEAD + backend + ASYNC.format(mark="@pytest.mark.anyio")
    passed(run(tmp_path, text, "-p", "no:asyncio", ini=STRICT), 4)


def test_a_marker_without_names_is_told(tmp_path: Path) -> None:
    ran = run(tmp_path, HEAD + "\n\n@pytest.mark.ems_simulator(7)\ndef test_it(ems_simulator):\n    pass\n")
    assert ran.returncode == 1
    assert "the marker ems_simulator takes arguments by name only" in ran.stdout


def test_it_can_be_done_without(tmp_path: Path) -> None:
    ran = run(tmp_path, "def test_it(ems_simulator):\n    pass\n", "-p", "no:coinapi_ems")
    assert ran.returncode == 1
    assert "fixture 'ems_simulator' not found" in ran.stdout


def test_runs_that_do_not_use_it_pay_little(tmp_path: Path) -> None:
    text = """
import sys


def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("coinapi_ems")
    loaded = {name for name in sys.modules if name.startswith(("aiohttp", "coinapi_ems_async.simulator", "h2"))}
    assert not loaded, loaded
"""
    passed(run(tmp_path, text), 1)


def test_the_markers_are_told(pytestconfig: pytest.Config) -> None:
    listed = "\n".join(pytestconfig.getini("markers"))
    assert "ems_simulator(**arguments): arguments of coinapi_ems_async.simulator.Simulator" in listed
    assert "ems_client(**arguments): arguments of coinapi_ems_async.EMSClient" in listed


def test_it_is_an_entry_point() -> None:
    (found,) = entry_points(group="pytest11", name="coinapi_ems")
    assert found.value == "coinapi_ems_async.pytest_plugin"
