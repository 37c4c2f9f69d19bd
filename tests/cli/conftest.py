"""A simulator in a thread of its own, and the command line run against it in this process."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from coinapi_ems_async.cli import main
from coinapi_ems_async.simulator import Pace, Simulator

EAST, WEST = "aws-us-east-1-prd", "aws-eu-west-1-prd"
ACCOUNT, SYMBOL = "KRAKEN/JOHN", "KRAKEN_SPOT_BTC_USDT"
SENTINEL = "sentinel-4f1c0de9a7b3-secret"
ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


class Service:
    """A simulator on an event loop in a thread; `do` runs something on that loop."""

    def __init__(self, *, api_key: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        pace = Pace(reply=0, book=0, cancel=0)
        self.sim = self.do(lambda: Simulator(sites={EAST: 0, WEST: 0}, pace=pace, seed=7, api_key=api_key))
        self.wait(self.sim.start)

    def do(self, action: Callable[[], T]) -> T:
        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def wait(self, action: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def operations(self) -> list[str]:
        """What the servers were asked, without probes."""
        return self.do(lambda: [one.operation for one in self.sim.requests if one.operation != "probe"])

    def stop(self) -> None:
        self.wait(self.sim.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line on stderr, which is the last word of a failure."""
        assert self.out == "" or self.code in (3, 4, 5), self.out
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert lines[0].endswith((".", "?")), self.err
        return lines[0]


class Cli(Protocol):
    def __call__(self, *arguments: str, stdin: str | None = None) -> Ran: ...


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command in this process, outside any event loop."""
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("COINAPI_API_KEY", "COINAPI_EMS_MANAGEMENT_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: str | None = None) -> Ran:
        capsys.readouterr()
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", StringIO(stdin))
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def service(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A running simulator at which the environment points."""
    running = Service(api_key=SENTINEL)
    for name, value in running.sim.environment().items():
        monkeypatch.setenv(name, value)
    yield running
    running.stop()


def order(*more: str, price: str = "9000", amount: str = "0.045") -> list[str]:
    """Arguments of an order that rests in the book."""
    fixed = ["orders", "place", "--exchange", ACCOUNT, "--symbol", SYMBOL, "--side", "buy"]
    return [*fixed, "--amount", amount, "--price", price, *more]


def environment(**more: str) -> dict[str, str]:
    """The environment of a subprocess that can import the package, wherever it is installed."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return dict(os.environ) | {"PYTHONPATH": path, "COLUMNS": "100"} | more


def start(arguments: Sequence[str], **more: str) -> "subprocess.Popen[str]":
    """Start the command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "coinapi_ems_async.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
