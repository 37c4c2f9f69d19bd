"""What one choice costs with ten sites and 200 exchange accounts."""

from time import perf_counter
from typing import Final

from ..findings import Found
from ..ours import full_roster, take_sample
from .base import Scenario, Stage

__all__ = ["CHOICE"]

_SITES: Final = 10
_ACCOUNTS: Final = tuple(f"EXCHANGE{number:03}/JOHN" for number in range(200))
_ROUNDS: Final = 20
_PER_CHANGE: Final = 20
"""Choices for one account between two changes of an estimate, at 100 calls a second and ten sites."""


async def _run(stage: Stage) -> Found:
    found = stage.found("choice")
    found.repeats = 5 if stage.plan.short else _ROUNDS
    roster, entries = full_roster(_SITES, _ACCOUNTS)
    for name in _ACCOUNTS:
        roster.ranked(name)
    for _ in range(found.repeats):
        for number, name in enumerate(_ACCOUNTS):
            begun = perf_counter()
            take_sample(roster, entries[number % _SITES], 0.010 + 0.003 * (number * 7 % 13))
            changed = perf_counter()
            for _ in range(_PER_CHANGE):
                roster.ranked(name)
            found.add("choice", 1e6 * (perf_counter() - changed) / _PER_CHANGE)
            found.add("change", 1e6 * (changed - begun))
    return found


CHOICE: Final = (Scenario("choice", "what a choice costs with ten sites and 200 accounts", _run),)
