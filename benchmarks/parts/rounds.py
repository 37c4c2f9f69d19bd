"""Round trips: every entrant in turn in each round, one request at a time and many in flight."""

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from ..entrants import Entrant, Target
from ..measure import Call, in_flight, one_at_a_time
from ..peers import Skipped, load
from ..results import Latency, Load, Plan, Row

__all__ = ["Field", "measure_rounds"]

Tell = Callable[[str], None]


class Contestant:
    """One row while it is measured; `calls` by requests in flight, each by a client of its own."""

    def __init__(self, entrant: Entrant) -> None:
        self.entrant = entrant
        self.calls: dict[int, Call] = {}
        self.times: list[list[float]] = []
        self.loads: dict[int, Load] = {}

    async def turn(self, plan: Plan) -> None:
        """Take one turn at each width."""
        for width, call in self.calls.items():
            if width == 1:
                self.times.append(await one_at_a_time(call, plan.alone))
            else:
                pace = await in_flight(call, plan.loaded, width)
                load = self.loads.setdefault(width, Load())
                load.rates.append(pace.rate)
                load.cpu.append(pace.cpu)

    def row(self) -> Row:
        """Return what it came to."""
        alone = Latency.of(self.times) if self.times else None
        return Row(ours=self.entrant.ours, alone=alone, loads=self.loads)


class Field:
    """Everybody who takes part in one setting; a peer that fails is named and leaves, one of ours must not.

    widths: how many in flight, 1 being one at a time.
    """

    def __init__(self, entrants: Sequence[Entrant], target: Target, widths: Sequence[int], tell: Tell) -> None:
        self._entrants = entrants
        self._target = target
        self._widths = widths
        self._tell = tell
        self._contestants: dict[str, Contestant] = {}
        self._clients = AsyncExitStack()

    async def __aenter__(self) -> "Field":
        ready = [entrant for entrant in self._entrants if self._has_what_it_needs(entrant)]
        try:
            for entrant in ready:
                await self._admit(entrant)
        except BaseException:
            await self._clients.__aexit__(*sys.exc_info())
            raise
        # What the imports of everybody left is put out of the collector's sight: else a client's tail would show
        # how many modules the others have. The collector itself stays on.
        gc.collect()
        gc.freeze()
        return self

    async def __aexit__(self, *error: object) -> None:
        gc.unfreeze()
        await self._clients.aclose()

    def _has_what_it_needs(self, entrant: Entrant) -> bool:
        try:
            for name in entrant.needs:
                load(name)
        except Skipped as reason:
            self._excuse(entrant, reason)
            return False
        return True

    async def _admit(self, entrant: Entrant) -> None:
        """Open its clients, one for each width, and let each open its connections."""
        found = {name: Contestant(entrant) for name in entrant.rows}
        async with AsyncExitStack() as clients:
            try:
                for width in filter(entrant.takes, self._widths):
                    calls = await clients.enter_async_context(entrant.open(self._target, width))
                    await self._warm_up(found, calls, width)
            except Exception as error:
                self._excuse(entrant, error)
                return
            for width in self._widths:
                if width > 1 and not entrant.takes(width):
                    self._tell(f"{entrant.name} with {width:,} in flight: it would take too long")
            self._contestants |= found
            self._clients.push_async_exit(clients.pop_all())

    async def _warm_up(self, found: Mapping[str, Contestant], calls: Mapping[str, Call], width: int) -> None:
        for name, call in calls.items():
            found[name].calls[width] = call
            await asyncio.gather(*(call() for _ in range(width)))

    def _excuse(self, entrant: Entrant, error: Exception) -> None:
        if isinstance(error, Skipped):
            self._tell(f"{entrant.name}: {error}")
        elif _is_peer(entrant):
            self._tell(f"{entrant.name}: failed with {_shown(error)}")
        else:
            raise error

    async def round(self, plan: Plan, *, backwards: bool) -> None:
        """Let everybody take a turn, from the last to the first in every other round."""
        names = list(self._contestants)
        for name in reversed(names) if backwards else names:
            contestant = self._contestants[name]
            try:
                await contestant.turn(plan)
            except Exception as error:
                self._excuse(contestant.entrant, error)
                del self._contestants[name]

    def rows(self) -> dict[str, Row]:
        """Return what everybody who stayed came to."""
        return {name: contestant.row() for name, contestant in self._contestants.items()}


async def measure_rounds(
    entrants: Sequence[Entrant], target: Target, plan: Plan, widths: Sequence[int], tell: Tell
) -> dict[str, Row]:
    """Return the rows of everybody who can take part."""
    async with Field(entrants, target, widths, tell) as field:
        for number in range(plan.rounds):
            await field.round(plan, backwards=number % 2 == 1)
        return field.rows()


def _is_peer(entrant: Entrant) -> bool:
    return not entrant.ours and "floor" not in entrant.name


def _shown(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200]
