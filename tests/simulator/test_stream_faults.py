"""GOAWAY, refused and reset streams: what is told, what runs, and what comes in one piece."""

import asyncio
import json
from typing import Any

import pytest

from coinapi_ems_async.simulator import Injection, Simulator
from coinapi_ems_async.simulator.endings import cut

from .helpers import EAST, Caller, new_order, until
from .streams import DATA, END_STREAM, GOAWAY, HEADERS, HIGHEST, RST, speaking

REFUSED, INTERNAL = 7, 2


@pytest.mark.every_loop
async def test_a_refused_stream_is_not_executed(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", refuse_stream=True))
    async with speaking(sim) as peer:
        first = peer.place(sim, new_order())
        assert (await peer.frame(RST, first)).code == REFUSED
        assert sim.executions("order-1") == 0
        assert (await peer.answer(peer.place(sim, new_order())))[0] == 200
        assert not peer.of(HEADERS, first)
    assert [one.status for one in sim.requests] == [None, 200]


@pytest.mark.parametrize("execute", ["never", "before"])
async def test_a_reset_stream_may_have_run(sim: Simulator, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", stream_error=INTERNAL, execute=execute))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert (await peer.frame(RST, number)).code == INTERNAL
        assert not peer.of(HEADERS)
        assert (await peer.answer(peer.get(sim, "/v1/orders")))[0] == 200
    assert sim.executions("order-1") == (execute == "before")


@pytest.mark.every_loop
@pytest.mark.parametrize("delay", [0.0, 0.01])
@pytest.mark.parametrize(("goaway", "told"), [("equal", 3), ("above", 5)])
async def test_goaway_and_the_answer_come_in_one_piece(
    sim: Simulator, goaway: Any, told: int, delay: float
) -> None:
    sim.inject(Injection(operation="order_new", goaway=goaway, delay=delay))
    async with speaking(sim) as peer:
        await peer.answer(peer.get(sim, "/v1/orders"))
        number = peer.place(sim, new_order())
        status, body = await peer.answer(number)
        assert (status, json.loads(body)["status"]) == (200, "ROUTED")
        (said,) = peer.of(GOAWAY)
        assert (said.last, said.code) == (told, 0)
        pieces = [one.piece for one in peer.frames if one.stream == number or one.kind == GOAWAY]
        assert len(set(pieces)) == 1
        assert peer.frames.index(said) < peer.frames.index(peer.of(HEADERS, number)[0])
        assert await peer.until_end() == "fin"
    assert sim.executions("order-1") == 1
    assert sim.requests[-1].status == 200


@pytest.mark.every_loop
@pytest.mark.parametrize(("goaway", "told"), [("zero", 0), ("below", 1)])
async def test_goaway_below_disowns_the_request(sim: Simulator, goaway: Any, told: int) -> None:
    sim.inject(Injection(operation="order_new", goaway=goaway))
    async with speaking(sim) as peer:
        await peer.answer(peer.get(sim, "/v1/orders"))
        number = peer.place(sim, new_order())
        assert await peer.until_end() == "fin"
        assert [one.last for one in peer.of(GOAWAY)] == [told]
        assert not peer.of(HEADERS, number)
        assert not peer.of(RST)
    assert sim.executions("order-1") == 0
    assert sim.requests[-1].status is None


@pytest.mark.parametrize("goaway", ["equal", "above"])
@pytest.mark.parametrize("execute", ["never", "before"])
async def test_goaway_and_the_line_is_cut(sim: Simulator, goaway: Any, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", goaway=goaway, goaway_cut=True, execute=execute))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert await peer.until_end() == "fin"
        assert peer.of(GOAWAY)[0].last >= number
        assert not peer.of(HEADERS)
    assert sim.executions("order-1") == (execute == "before")


async def test_goaway_and_the_line_is_reset(sim: Simulator) -> None:
    sim.inject(Injection(goaway="equal", goaway_cut=True, end="reset"))
    async with speaking(sim) as peer:
        peer.place(sim, new_order())
        assert await peer.until_end() == "reset"
        assert len(peer.of(GOAWAY)) == 1


@pytest.mark.parametrize(("goaway", "executed"), [("equal", 1), ("below", 0)])
async def test_a_notice_goes_before(sim: Simulator, goaway: Any, executed: int) -> None:
    sim.inject(Injection(operation="order_new", goaway=goaway, goaway_notice=True, delay=0.02))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert (await peer.frame(GOAWAY)).last == HIGHEST
        assert not peer.of(HEADERS)
        assert await peer.until_end() == "fin"
        assert [one.last for one in peer.of(GOAWAY)] == [HIGHEST, number if executed else 0]
        assert len(peer.of(HEADERS, number)) == executed
    assert sim.executions("order-1") == executed


async def test_streams_up_to_the_last_are_answered_those_above_never_run(sim: Simulator) -> None:
    sim.inject(Injection(client_order_id="slow", delay=0.05))
    sim.inject(Injection(client_order_id="marked", goaway="equal", delay=0.02))
    async with speaking(sim) as peer:
        names = ("slow", "marked", "late")
        orders = {name: peer.order(sim, new_order(client_order_id=name)) for name in names}
        peer.write(*(data for _, data in orders.values()))
        assert await peer.until_end() == "fin"
        assert [one.stream for one in peer.of(HEADERS)] == [orders["marked"][0], orders["slow"][0]]
        assert all(peer.of(DATA, orders[name][0])[-1].flags & END_STREAM for name in ("slow", "marked"))
    assert [sim.executions(name) for name in names] == [1, 1, 0]
    assert len(sim.requests) == 2


async def test_what_has_run_is_never_disowned(sim: Simulator) -> None:
    sim.inject(Injection(client_order_id="early", delay=0.03))
    sim.inject(Injection(client_order_id="marked", goaway="zero"))
    async with speaking(sim) as peer:
        early = peer.place(sim, new_order(client_order_id="early"))
        marked = peer.place(sim, new_order(client_order_id="marked"))
        assert (await peer.frame(GOAWAY)).last == early
        assert (await peer.answer(early))[0] == 200
        assert await peer.until_end() == "fin"
        assert not peer.of(HEADERS, marked)
    assert [sim.executions(name) for name in ("early", "marked")] == [1, 0]


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_the_end_of_the_line_takes_all_streams_along(sim: Simulator, end: Any) -> None:
    sim.inject(Injection(client_order_id="slow", delay=0.01))
    sim.inject(Injection(client_order_id="hung", hang=True))
    sim.inject(Injection(client_order_id="marked", goaway="equal", goaway_cut=True, end=end))
    async with speaking(sim) as peer:
        orders = [peer.order(sim, new_order(client_order_id=name)) for name in ("slow", "hung", "marked")]
        peer.write(*(data for _, data in orders))
        assert await peer.until_end() == end
        assert not peer.of(HEADERS)
        sim.release()
        await asyncio.sleep(0.02)
    assert [one.status for one in sim.requests] == [None] * 3
    assert sim.executions("slow") == 1


@pytest.mark.every_loop
async def test_a_line_may_be_ended_that_its_peer_has_just_cut(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", hang=True, raw=b"", end="fin"))
    async with speaking(sim) as peer:
        peer.place(sim, new_order())
        await until(lambda: len(sim.requests) == 1)
        cut(peer.writer.transport)
        await asyncio.sleep(0)  # so it is, and the server has not heard of it
        sim.release()
    assert [one.status for one in sim.requests] == [None]


async def test_several_may_be_told_and_the_last_counts(sim: Simulator) -> None:
    sim.inject(Injection(client_order_id="a", goaway="above", delay=0.03))
    sim.inject(Injection(client_order_id="b", goaway="equal", delay=0.01))
    async with speaking(sim) as peer:
        first = peer.order(sim, new_order(client_order_id="a"))
        second = peer.order(sim, new_order(client_order_id="b"))
        third = peer.order(sim, new_order(client_order_id="c"))
        peer.write(first[1], second[1], third[1])
        assert await peer.until_end() == "fin"
        assert [one.last for one in peer.of(GOAWAY)] == [second[0], second[0]]
    assert [sim.executions(name) for name in "abc"] == [1, 1, 0]


@pytest.mark.every_loop
async def test_refused_after_the_head_has_run_all_the_same(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", refuse_stream=True, truncate=5))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert (await peer.frame(RST, number)).code == REFUSED
        assert len(peer.body(number)) == 5
        assert int(peer.head(number)["content-length"]) > 5
    assert sim.executions("order-1") == 1
    assert sim.requests[0].status is None


async def test_goaway_below_after_the_head_too(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", goaway="below", truncate=0))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert await peer.until_end() == "fin"
        assert [one.kind for one in peer.frames if one.stream == number or one.kind == GOAWAY] == [HEADERS, GOAWAY]
        assert peer.of(GOAWAY)[0].last == 0
    assert sim.executions("order-1") == 1


@pytest.mark.parametrize("end", ["keep", "fin", "reset"])
async def test_truncated(sim: Simulator, end: Any) -> None:
    sim.inject(Injection(operation="order_new", truncate=7, end=end))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        await peer.frame(DATA, number)
        if end == "keep":
            assert (await peer.answer(peer.get(sim, "/v1/orders")))[0] == 200
        else:
            assert await peer.until_end() == end
        assert len(peer.body(number)) == 7
        assert not peer.of(DATA, number)[0].flags & END_STREAM


async def test_twice(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", copies=2))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        while len(peer.of(DATA, number)) < 2:
            await peer.read()
        first, second = peer.of(DATA, number)
        assert (first.payload, first.flags) == (second.payload, END_STREAM)
        assert len(peer.of(HEADERS, number)) == 2
    assert sim.executions("order-1") == 1


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_raw_bytes(sim: Simulator, end: Any) -> None:
    ping = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"
    sim.inject(Injection(operation="order_new", raw=ping, end=end, execute="before"))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        assert await peer.until_end() == end
        assert peer.of(6)[0].payload == b"12345678"
        assert not peer.of(HEADERS, number)
    assert sim.executions("order-1") == 1
    assert sim.requests[0].status is None


async def test_http_1_passes_them_over(sim: Simulator, call: Caller) -> None:
    waiting = sim.inject(Injection(operation="order_new", goaway="below"))
    assert (await call.place(client_order_id="old"))["status"] == "ROUTED"
    assert waiting.times == 1
    async with speaking(sim) as peer:
        peer.place(sim, new_order())
        assert await peer.until_end() == "fin"
    assert waiting.times == 0


async def test_a_released_request_is_refused_as_it_was_to_be(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", hang=True, refuse_stream=True))
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        await until(lambda: len(sim.requests) == 1)
        await asyncio.sleep(0)
        assert not peer.of(RST)
        sim.release()
        assert (await peer.frame(RST, number)).code == REFUSED
    assert sim.executions("order-1") == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"goaway": "beside"}, "zero, below, equal, above"),
        ({"goaway_cut": True}, "belong to a goaway"),
        ({"goaway_notice": True}, "belong to a goaway"),
        ({"goaway": "below", "execute": "before"}, "must not be executed"),
        ({"refuse_stream": True, "execute": "before"}, "must not be executed"),
        ({"end": "bang"}, "keep, fin, reset"),
        ({"copies": 0}, "1 or more"),
        ({"truncate": -1}, "0 or more"),
        ({"hide": 1.0, "status": 504}, "executed"),
    ],
)
def test_contradictions_are_told(wrong: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Injection(site=EAST, **wrong)
