"""A loop that stood still is noticed, before and after it gets round to noticing itself."""

import asyncio
import time

from coinapi_ems_async.sites.lag import LoopLag

from .fakes import Clock


async def test_a_late_beat_is_a_stall_for_what_began_before_it_ended() -> None:
    clock = Clock(100.0)
    stalls: list[float] = []
    lag = LoopLag(0.020, clock, stalls.append)
    assert not lag.stalled(0.0), "it does not beat yet"
    lag.start()
    lag.start()
    clock.now = 100.029
    assert not lag.stalled(100.0), "10 ms to the beat and 19 late"
    clock.now = 100.050
    assert lag.stalled(100.049), "the beat is due and has not come"
    lag.beat()
    assert stalls == [100.050]
    assert lag.stalled(100.0)
    assert not lag.stalled(100.050)
    lag.stop()
    clock.now = 200.0
    assert not lag.stalled(150.0)
    lag.stop()


async def test_a_loop_that_is_blocked_is_noticed() -> None:
    lag = LoopLag(0.020)
    lag.start()
    try:
        began = time.monotonic()
        time.sleep(0.1)  # noqa: ASYNC251  # what is tested
        assert lag.stalled(began)
        await asyncio.sleep(0.05)
        assert lag.stalled(began)
    finally:
        lag.stop()
