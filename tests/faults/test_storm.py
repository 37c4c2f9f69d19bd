"""Storms over four sites, fifty calls in flight: every order ends as the servers' logs say."""

from datetime import UTC, datetime

import pytest

from .conftest import Chunk, Tier
from .lanes import Transport
from .rides import ride
from .storm import schedule

CALLS = 600


@pytest.mark.parametrize("seed", [1, 20, 300])
def test_a_schedule_follows_from_its_seed(seed: int) -> None:
    assert schedule(seed, CALLS) == schedule(seed, CALLS)
    assert schedule(seed, CALLS) != schedule(seed + 1, CALLS)
    wires = [schedule(seed, CALLS).plan.fault(number, "a") for number in range(1, 200)]
    again = [schedule(seed, CALLS).plan.fault(number, "a") for number in range(1, 200)]
    assert list(map(repr, wires)) == list(map(repr, again))


@pytest.mark.first_on("plain", "uvloop")
@pytest.mark.parametrize("transport", ["http1", "http2"])
async def test_a_storm_leaves_nothing_done_twice_and_nothing_guessed(
    tier: Tier, chunk: Chunk, transport: Transport
) -> None:
    if chunk.is_done:
        return
    faults, seeds = await weathered(tier, transport, wanted=tier.of(250, 2_500), calls=CALLS)
    chunk.keep(faults=faults, seeds=seeds)


@pytest.mark.first_on("uvloop")
@pytest.mark.parametrize(("transport", "tls"), [("http1", True), ("http2", True), ("aiohttp", False)])
async def test_nor_over_tls_or_another_library(tier: Tier, chunk: Chunk, transport: Transport, tls: bool) -> None:
    if chunk.is_done:
        return
    faults, seeds = await weathered(tier, transport, tls=tls, wanted=tier.of(1, 300), calls=tier.of(150, CALLS))
    chunk.keep(faults=faults, seeds=seeds)


async def weathered(
    tier: Tier, transport: Transport, *, wanted: int, calls: int, tls: bool = False
) -> tuple[int, list[int]]:
    """Go through storms until so many faults have struck, or the one of the given seed; return how many did."""
    first = datetime.now(UTC).toordinal() * 1_000 if tier.seed is None else tier.seed
    faults, seeds = 0, list[int]()
    while faults < wanted and (tier.seed is None or not seeds):
        seeds.append(first + len(seeds))
        found = await ride(schedule(seeds[-1], calls), transport, tls=tls)
        assert not found.problems, f"replay with --seed={seeds[-1]}:\n" + "\n".join(found.problems[:30])
        ends = {call.ended for call in found.calls}
        assert ends >= {"accepted", "refused", "not sent", "unknown", "cancelled"}, ends
        faults += found.faults
    return faults, seeds
