"""What every scenario stands on: rigs that are started when first needed, and findings that keep the rules."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

from ..findings import Found, Plan, found_of
from ..load import CallLog, Load, write_log
from ..rig import FAR, FARTHEST, MIDDLE, NEAR, Rig
from ..truth import read_lines, read_truth, violations

__all__ = ["DELAYS", "Calls", "Scenario", "Stage"]

DELAYS: Final = {NEAR: 0.020, MIDDLE: 0.035, FAR: 0.080, FARTHEST: 0.160}
"""Of the failure scenarios, seconds: no jitter on top, so that bounds can be held against what is measured."""


class Stage:
    """The folder of a run, its plan, and its rigs; each rig serves all scenarios that want one of its kind."""

    def __init__(self, folder: Path, plan: Plan, cpus: Sequence[int] | None) -> None:
        self.folder = folder
        self.plan = plan
        self._cpus = cpus
        self._rigs: dict[str, Rig] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Stage":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def rig(self, kind: str = "plain", **arguments: Any) -> Rig:
        """Return the rig of this kind, calm and ready."""
        if kind not in self._rigs:
            folder = self.folder / "raw" / f"{kind}-{monotonic():.0f}"
            rig = Rig(folder, arguments.pop("delays", DELAYS), cpus=self._cpus, **arguments)
            self._rigs[kind] = await self._stack.enter_async_context(rig)
        else:
            await self._rigs[kind].calm()
        await self._rigs[kind].get_ready()
        return self._rigs[kind]

    def found(self, name: str) -> Found:
        """Return empty findings."""
        return found_of(name, self.plan)


class Calls:
    """What one scenario asked for, over all its clients, and what came of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.log = CallLog()
        self.begun = monotonic()
        self._cancels: Counter[str] = Counter()
        self._cancels_of_all = 0

    def took(self, load: Load) -> None:
        """Note what a load asked for."""
        self._cancels.update(load.cancels)
        self._cancels_of_all += load.cancels_of_all

    def check(self, found: Found) -> None:
        """Hold the logs of the servers against the client's, and keep the client's."""
        truth = read_truth(self.rig.folder, self.rig.sites, self.begun)
        found.violations += violations(
            truth,
            self.log.orders,
            exchanges=self.rig.exchanges,
            cancels=self._cancels,
            cancels_of_all=self._cancels_of_all,
            moved=self.spoiled_as("421"),
        )
        found.count("orders", len(self.log.orders))
        found.count("reads", len(self.log.reads))
        write_log(self.rig.folder / f"{found.name}.calls.jsonl", self.log)

    def spoiled(self) -> list[Mapping[str, Any]]:
        """Return what the sites did to answers meanwhile, oldest first."""
        lines = [
            line
            for site in self.rig.sites
            for line in read_lines(self.rig.folder / f"{site}.clients.jsonl")
            if "spoiled" in line and line["time"] >= self.begun
        ]
        return sorted(lines, key=lambda line: float(line["time"]))

    def spoiled_as(self, name: str) -> Counter[str]:
        """Return how often each order was answered like this."""
        return Counter(line["client_order_id"] for line in self.spoiled() if line["spoiled"] == name)


class Scenario(NamedTuple):
    """One scenario: its name, what it is, what runs it; is_brief: part of a short run, unless told otherwise."""

    name: str
    what: str
    run: Callable[[Stage], Awaitable[Found]]
    is_brief: bool = True
