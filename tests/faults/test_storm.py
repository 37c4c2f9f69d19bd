"""Storms over four sites, fifty calls in flight: every order ends as the servers' logs say."""

from datetime import UTC, datetime

import pytest

from .conftest import Chunk, Tier
from .lanes import Transport
from .rides import ride
from .storm import schedule

CALLS = 600
ENDS = {"accepted", "refused", "not sent", "unknown", "cancelled"}
"""What long storms bring about."""
LEAST = 50
"""Faults that strike in any long storm: half of what is usual."""


@pytest.mark.parametrize("seed", [1, 20, 300])
def test_a_schedule_follows_from_its_seed(seed: int) -> None:
    assert schedule(seed, CALLS) == schedule(seed, CALLS)
    assert schedule(seed, CALLS) != schedule(seed + 1, CALLS)
    plans = schedule(seed, CALLS).plan, schedule(seed, CALLS).plan
    for number in range(1, 200):  # faults count down, so that each is itself and no other
        assert repr(plans[0].fault(number, "a")) == repr(plans[1].fault(number, "a"))


@pytest.mark.first_on("plain", "uvloop")
@pytest.mark.parametrize(("transport", "share"), [("http1", 0.35), ("http2", 0.15)])
async def test_a_storm_leaves_nothing_done_twice_and_nothing_guessed(
    tier: Tier, chunk: Chunk, transport: Transport, share: float
) -> None:
    """Twice each share, on two loops: faults of HTTP/2 befall many calls at once, and are fewer."""
    if chunk.is_done:
        return
    wanted = round(share * tier.of(1_000, 10_000))
    faults, seeds = await weathered(tier, transport, wanted=wanted, calls=CALLS)
    assert faults >= wanted or tier.seed is not None
    chunk.keep(faults=faults, seeds=seeds)


@pytest.mark.first_on("uvloop")
@pytest.mark.parametrize(("transport", "tls"), [("http1", True), ("http2", True), ("aiohttp", False)])
async def test_nor_over_tls_or_another_library(tier: Tier, chunk: Chunk, transport: Transport, tls: bool) -> None:
    if chunk.is_done:
        return
    wanted = tier.of(1, 300)
    faults, seeds = await weathered(tier, transport, tls=tls, wanted=wanted, calls=tier.of(150, CALLS))
    assert faults >= wanted or tier.seed is not None
    chunk.keep(faults=faults, seeds=seeds)


async def weathered(
    tier: Tier, transport: Transport, *, wanted: int, calls: int, tls: bool = False
) -> tuple[int, list[int]]:
    """Go through storms until so many faults have struck, and calls have ended in every way; or through the one of
    the given seed. Return how many struck.

    One storm alone may refuse nobody: few of its calls are answered at all.
    """
    due = {"accepted", "unknown"} if calls < CALLS else ENDS
    first, most = datetime.now(UTC).toordinal() * 1_000, 2 + wanted // LEAST
    if tier.seed is not None:
        first, most = tier.seed, 1
    faults, seeds, ends = 0, list[int](), set[str]()
    while len(seeds) < most and (faults < wanted or not ends >= due):
        seeds.append(first + len(seeds))
        found = await ride(schedule(seeds[-1], calls), transport, tls=tls)
        assert not found.problems, f"replay with --seed={seeds[-1]}:\n" + "\n".join(
            [*found.problems[:20], *found.problems[-10:]]
        )
        ends |= {call.ended for call in found.calls}
        faults += found.faults
    assert ends >= due or tier.seed is not None
    return faults, seeds
