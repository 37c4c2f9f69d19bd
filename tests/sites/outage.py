"""Time that only waiting moves, and a management API without a network."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coinapi_ems_async.errors import EMSError
from coinapi_ems_async.models.cloud import Endpoint, Location
from coinapi_ems_async.operations import Request


class Over(Exception):
    """The time of a test is over."""


@dataclass
class VirtualTime:
    """`clock` and `pause` for a refresher; what is planned happens while it waits."""

    now: float = 0.0
    plans: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def at(self, when: float, what: Callable[[], object]) -> None:
        self.plans.append((when, what))

    def over(self, when: float) -> None:
        def end() -> None:
            raise Over

        self.at(when, end)

    async def pause(self, seconds: float, until: asyncio.Event | None) -> None:
        end = self.now + max(0.0, seconds)
        await asyncio.sleep(0)
        while until is None or not until.is_set():
            due = min((plan for plan in self.plans if plan[0] <= end), key=lambda plan: plan[0], default=None)
            if due is None:
                self.now = end
                return
            self.plans.remove(due)
            self.now = max(self.now, due[0])
            due[1]()


def row(url: str, location: str | None = None, exchange: str = "KRAKEN") -> Endpoint:
    return Endpoint(exchange_id=exchange, location_id=location, endpoint_url=url)


def place(name: str) -> Location:
    return Location(location_id=name, region_name=f"region of {name}", provider_name="P")


@dataclass
class FakeService:
    """Answers calls with rows, or with the error there is for them; counts how many it has at once."""

    rows: dict[str, Sequence[Any]]
    errors: dict[str, EMSError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    turns: Mapping[str, asyncio.Event] = field(default_factory=dict)
    """By operation: what an answer waits for."""
    _at_once: int = 0

    async def call(self, request: Request, _tries: int | None) -> Any:
        name = request.operation.name
        self.asked.append(name)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
            if name in self.turns:
                await self.turns[name].wait()
            if name in self.errors:
                raise self.errors[name]
            return list(self.rows.get(name, ()))
        finally:
            self._at_once -= 1

    @property
    def loads(self) -> int:
        return self.asked.count("endpoints")
