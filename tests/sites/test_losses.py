"""Where a read goes whose kept connection ended: back to its site, unless the next one is nearer now."""

import asyncio
from typing import Any

import pytest

from coinapi_ems_async import operations
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.health import Health
from coinapi_ems_async.transport.base import Attempt, TransportFailure, WireAnswer

from ..test_rounds import Field, a_field, until, value
from .fakes import ACCOUNT

pytestmark = pytest.mark.every_loop


def lose(attempt: Attempt) -> None:
    """End its connection, which had carried a request before."""
    attempt.fail(TransportFailure(Row.LOST_REUSED))


def connected(field: Field, **connections: int) -> None:
    for name in ("a", "b", "c"):
        field.pool(name).warm = connections.get(name, 0)


async def begun(field: Field, name: str) -> Attempt:
    """Let the next attempt at a site have a connection."""
    pool = field.pool(name)
    await until(lambda: pool.queue)
    return pool.begin()


async def read_until_lost(field: Field) -> "asyncio.Task[Any]":
    read = field.read()
    lose(await begun(field, "a"))
    return read


async def test_with_another_connection_at_hand_it_goes_back_to_the_same_site() -> None:
    async with a_field() as field:
        connected(field, a=1, b=2)
        read = await read_until_lost(field)
        value(await begun(field, "a"))
        assert await read == []
        assert field.pool("b").begun == []


@pytest.mark.parametrize(("idle", "second"), [(0.9, "b"), (1.1, "a")])
async def test_a_site_that_ended_one_in_use_is_not_gone_back_to(idle: float, second: str) -> None:
    """It may be about to end the others as well, and has only not got round to it."""
    async with a_field() as field:
        connected(field, a=2, b=2)
        field.pool("a").idle = idle
        read = await read_until_lost(field)
        value(await begun(field, second))
        assert await read == []


async def test_if_it_had_to_be_connected_to_anew_the_read_goes_to_the_next() -> None:
    async with a_field() as field:
        connected(field, a=0, b=2)
        read = await read_until_lost(field)
        value(await begun(field, "b"))
        assert await read == []
        assert len(field.pool("a").begun) == 1


async def test_a_site_in_doubt_is_not_gone_back_to() -> None:
    async with a_field(hedge_reads=False) as field:
        connected(field, a=2, b=2)
        read = field.read()
        first = await begun(field, "a")
        field.roster.overdue(field.entry("a"), "late")
        lose(first)
        value(await begun(field, "b"))
        assert await read == []
        assert len(field.pool("a").begun) == 1


@pytest.mark.parametrize("trouble", ["no connection", "suspect"])
async def test_unless_the_next_is_no_better(trouble: str) -> None:
    async with a_field() as field:
        connected(field, a=0, b=0 if trouble == "no connection" else 2)
        if trouble == "suspect":
            for name in ("b", "c"):
                field.roster.overdue(field.entry(name), "late")
                assert field.entry(name).health.state is Health.SUSPECT
        read = await read_until_lost(field)
        value(await begun(field, "a"))
        assert await read == []


async def test_the_status_of_an_order_is_read_where_it_was_taken() -> None:
    async with a_field() as field:
        connected(field, a=0, b=2)
        name = "a-name"
        status = operations.order_status(name, exchange_id=ACCOUNT)
        read = asyncio.create_task(field.dispatcher.read(status, timeout=5.0))
        lose(await begun(field, "a"))
        body = f'{{"exchange_id":"{ACCOUNT}","client_order_id":"{name}","status":"NEW"}}'
        (await begun(field, "a")).deliver(WireAnswer(200, (), body.encode()))
        assert (await read).client_order_id == name


async def test_a_second_loss_sends_it_to_the_next_in_any_case() -> None:
    async with a_field() as field:
        connected(field, a=1, b=2)
        read = await read_until_lost(field)
        lose(await begun(field, "a"))
        value(await begun(field, "b"))
        assert await read == []
