"""Fixtures for the tests of your own bot; pytest finds them where this package is installed.

    async def test_my_bot(ems_simulator, ems_client):
        ems_simulator.inject(Injection(operation="order_new", status=502, execute="before"))
        async with ems_client as ems:
            await my_bot(ems)
        assert ems_simulator.executions("my-order") == 1

`ems_simulator` is a `coinapi_ems_async.simulator.SimulatorThread` that runs during the test, in a thread and loop
of its own: it works in plain tests, with pytest-asyncio in both its modes, and with anyio's plugin. Its exchanges
answer at once; its sites are "near", without a delay, and "far", 10 ms away. The marker `ems_simulator` gives it
other arguments of `Simulator`; those of a class or a module hold for all tests in it:

    @pytest.mark.ems_simulator(sites={"one": 0.0}, exchanges=["KRAKEN"], proxied=True)

`ems_client` is an `EMSClient` of that simulator, which the test opens; the marker `ems_client` gives it arguments:

    @pytest.mark.ems_client(transport="http2", settings=Settings(order_timeout=0.5))

To do without: `pytest -p no:coinapi_ems`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # loaded in every run of pytest: what takes time is imported when it is used
    from .client import EMSClient
    from .simulator import SimulatorThread

__all__ = ["ems_client", "ems_simulator"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for name, kind in (("ems_simulator", "simulator.Simulator"), ("ems_client", "EMSClient")):
        told = f"{name}(**arguments): arguments of coinapi_ems_async.{kind} for the fixture {name}"
        config.addinivalue_line("markers", told)


@pytest.fixture
def ems_simulator(request: pytest.FixtureRequest) -> "Iterator[SimulatorThread]":
    """Run a simulator of the whole service during the test, with the arguments of the marker `ems_simulator`."""
    from .simulator import Pace, SimulatorThread

    usual: dict[str, Any] = {
        "sites": {"near": 0.0, "far": 0.01},
        "pace": Pace(reply=0, book=0, cancel=0),
        "seed": 0,
    }
    with SimulatorThread(**(usual | _marked(request, "ems_simulator"))) as simulator:
        yield simulator


@pytest.fixture
def ems_client(request: pytest.FixtureRequest, ems_simulator: "SimulatorThread") -> "EMSClient":
    """Return a client of that simulator, not yet open, with the arguments of the marker `ems_client`."""
    from .client import EMSClient

    usual: dict[str, Any] = {
        "api_key": ems_simulator.api_key,
        "management_url": ems_simulator.management_url,
        "ssl_context": ems_simulator.ssl_context(),
    }
    return EMSClient(**(usual | _marked(request, "ems_client")))


def _marked(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """The arguments of all markers of this name; the nearest to the test counts most."""
    found: dict[str, Any] = {}
    for marker in request.node.iter_markers(name):
        if marker.args:
            raise pytest.UsageError(f"the marker {name} takes arguments by name only, such as {name}(seed=7)")
        found = marker.kwargs | found
    return found
