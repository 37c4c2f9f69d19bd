"""What one choice costs with ten sites and 200 exchange accounts."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

from ..findings import Found
from ..ours import full_roster, take_sample
from .base import Scenario, Stage

__all__ = ["CHOICE"]

_SITES: Final = 10
_ACCOUNTS: Final = tuple(f"EXCHANGE{number:03}/JOHN" for number in range(200))
_ROUNDS: Final = 60
_PER_CHANGE: Final = 20
"""Choices for one account between two changes of an estimate, at 100 calls a second and ten sites."""


async def _run(stage: Stage) -> Found:
    found = stage.found("choice")
    found.repeats = 5 if stage.plan.short else _ROUNDS
    roster, entries = full_roster(_SITES, _ACCOUNTS)

    def change(number: int) -> None:
        take_sample(roster, entries[number % _SITES], 0.010 + 0.003 * (number * 7 % 13))

    def settled(number: int, name: str) -> None:
        roster.ranked(name)

    def mixed(number: int, name: str) -> None:
        if number % _PER_CHANGE == 0:
            change(number // _PER_CHANGE)
        roster.ranked(_ACCOUNTS[0])

    def after_change(number: int, name: str) -> None:
        change(number)
        roster.ranked(name)

    measured: dict[str, Callable[[int, str], None]] = {
        "settled": settled,
        "mixed": mixed,
        "after_change": after_change,
    }
    for name, act in measured.items():
        for _ in range(found.repeats + 1):
            begun = perf_counter()
            for number, account in enumerate(_ACCOUNTS):
                act(number, account)
            found.add(name, 1e6 * (perf_counter() - begun) / len(_ACCOUNTS))
        found.values[name].pop(0)  # the first round fills the caches
    return found


CHOICE: Final = (Scenario("choice", "what a choice costs with ten sites and 200 accounts", _run),)
