"""Lines that break at every byte of every call: the outcome follows from the attempt's own mark, and agrees with
what the server read and did."""

import asyncio
from collections.abc import Mapping

import pytest

from .conftest import Chunk, Tier
from .lanes import CALLS, CallName, Case, Transport, lanes, run_all, sizes
from .lines import Action, Break, Direction

SIDES: tuple[Direction, ...] = ("request", "response")
WIDTHS: Mapping[str, int] = {"freeze": 50, "order_status": 24}
"""Lines at a time: those that freeze do nothing but wait, and a read pauses before it is repeated."""


async def every_case(tier: Tier, chunk: Chunk, transport: Transport, call: CallName, action: Action) -> None:
    if chunk.is_done:
        return
    async with lanes(transport, WIDTHS.get(action, WIDTHS.get(call, 4))) as found:
        size = await sizes(found, call)
        # New and kept connections take turns; what one loop breaks on a new one the other breaks on a kept one.
        turn = isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
        cases = [
            Case(call, Break(action, side, after), kept)
            for side in SIDES
            for kept in (True, False)
            for number, after in enumerate(tier.places(size[kept][side]))
            if bool((number + turn) % 2) == kept or after in (0, size[kept][side])
        ]
        problems = await run_all(found, cases)
    assert not problems, f"{len(problems)} of {len(cases)} cases, offset {tier.offset}:\n" + "\n".join(
        problems[:20]
    )
    chunk.keep(cases=len(cases), sizes={str(kept): of for kept, of in size.items()})


@pytest.mark.first_on("plain")
@pytest.mark.parametrize("action", ["reset", "fin", "freeze"])
@pytest.mark.parametrize("call", CALLS)
async def test_http1_breaks_at_every_byte(tier: Tier, chunk: Chunk, call: CallName, action: Action) -> None:
    await every_case(tier, chunk, "http1", call, action)


@pytest.mark.first_on("uvloop")
@pytest.mark.parametrize("action", ["reset", "fin", "freeze"])
@pytest.mark.parametrize("call", CALLS)
async def test_http2_breaks_at_every_byte(tier: Tier, chunk: Chunk, call: CallName, action: Action) -> None:
    await every_case(tier, chunk, "http2", call, action)
