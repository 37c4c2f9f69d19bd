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
    first = datetime.now(UTC).toordinal() * 1_000 if tier.seed is None else tier.seed
    wanted, faults, rides = tier.of(250, 2_500), 0, 0
    while faults < wanted and (tier.seed is None or not rides):
        found = await ride(schedule(first + rides, CALLS), transport)
        assert not found.problems, f"replay with --seed={first + rides}:\n" + "\n".join(found.problems[:30])
        ends = {call.ended for call in found.calls}
        assert ends >= {"accepted", "refused", "not sent", "unknown", "cancelled"}, ends
        faults += found.faults
        rides += 1
    chunk.keep(faults=faults, seeds=[first, first + rides - 1])
