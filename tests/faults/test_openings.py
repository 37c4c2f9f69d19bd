"""Lines that break while a connection opens: HTTP/2's preface and settings, TLS's handshake, calls under TLS."""

import asyncio
from collections.abc import Mapping

import pytest

from coinapi_ems_async import Accepted, ApiKeyHeader, EMSClient, NotSent
from coinapi_ems_async.invariants import Told, told, violations
from coinapi_ems_async.simulator import Simulator

from ..conftest import ACCOUNT, EAST, an_order
from .conftest import Chunk, Tier
from .lanes import FROZEN_TIMEOUT, INSTANT, QUIET, TIMEOUT, Transport
from .lines import Action, Break, Direction, Line

ACTIONS: tuple[Action, ...] = ("reset", "fin", "freeze")
SIDES: tuple[Direction, ...] = ("request", "response")
AT_A_TIME = 25
_GREETING = 150
"""Bytes within which all is said that opens a connection in clear text; test_cuts goes through what follows."""


async def over_a_new_line(sim: Simulator, transport: Transport, what: Break | None) -> tuple[Told, Line]:
    """Place an order over a connection whose bytes are counted from its very first."""
    order = an_order()
    async with Line(int(sim.site_urls[EAST].rpartition(":")[2]), b"") as line:
        client = EMSClient.self_hosted(
            f"{sim.site_urls[EAST].partition(':')[0]}://127.0.0.1:{line.port}",
            transport=transport,
            auth=ApiKeyHeader(),
            api_key=sim.api_key,
            settings=QUIET,
            ssl_context=sim.ssl_context() if sim.site_urls[EAST].startswith("https") else None,
        )
        async with client as ems:
            line.arm(what, b"")
            timeout = FROZEN_TIMEOUT if what is not None and what.action == "freeze" else TIMEOUT
            outcome = await ems.orders.submit(order, timeout=timeout)
            await line.drop()
        if what is not None and what.action != "freeze" and not line.broken:
            assert isinstance(outcome, Accepted), f"{what}: {outcome}"
        if what == Break("reset", "response", 0):
            assert isinstance(outcome, NotSent), f"{what}: {outcome}"
    name = order.client_order_id
    return told("order_new", outcome, client_order_id=name, exchange_id=ACCOUNT), line


async def opening_size(sim: Simulator, transport: Transport) -> Mapping[Direction, int]:
    told_of, line = await over_a_new_line(sim, transport, None)
    assert told_of.ended == "accepted"
    return line.sizes


@pytest.mark.first_on("uvloop")
@pytest.mark.parametrize(
    ("transport", "tls", "step"), [("http2", False, 1), ("http1", True, 29), ("http2", True, 29)]
)
async def test_a_connection_breaks_while_it_opens(
    tier: Tier, chunk: Chunk, transport: Transport, tls: bool, step: int
) -> None:
    if chunk.is_done:
        return
    step *= tier.of(7, 1)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, seed=7, tls=tls) as sim:
        size = await opening_size(sim, transport)
        breaks = [
            Break(action, side, after)
            for action in ACTIONS
            for side in SIDES
            for after in (*range(tier.offset % step, size[side] if tls else _GREETING, step), size[side])
        ]
        gate = asyncio.Semaphore(AT_A_TIME)

        async def one(what: Break) -> Told:
            async with gate:
                return (await over_a_new_line(sim, transport, what))[0]

        calls = await asyncio.gather(*map(one, breaks))
        found = violations(sim.requests, sim.executions, calls)
    ends = {call.ended for call in calls}
    assert not found, "\n".join(found)
    assert ends == {"accepted", "not sent", "unknown"}
    chunk.keep(cases=len(breaks), size=dict(size))
