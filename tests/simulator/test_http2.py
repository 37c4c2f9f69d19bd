"""HTTP/2: the same service on the same ports, many streams at once, credit in both directions."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from h2.settings import SettingCodes

from coinapi_ems_async.simulator import Http2, Injection, Simulator

from .helpers import EAST, INSTANT, WEST, Caller, new_order, until
from .streams import DATA, END_STREAM, GOAWAY, HEADERS, RST, SETTINGS, speaking

WINDOW = SettingCodes.INITIAL_WINDOW_SIZE


@pytest.mark.every_loop
async def test_an_order_in_clear_text_beside_http_1(sim: Simulator, call: Caller) -> None:
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order(client_order_id="two"))
        status, body = await peer.answer(number)
        assert (status, json.loads(body)["status"]) == (200, "ROUTED")
        again = peer.get(sim, "/v1/orders/status/two")
        assert (await peer.answer(again))[0] == 200
        await call.place(client_order_id="one")
    assert [(one.version, one.client_order_id, one.status) for one in sim.requests] == [
        ("2", "two", 200),
        ("2", "two", 200),
        ("1.1", "one", 200),
    ]
    assert sim.requests[0].connection == sim.requests[1].connection != sim.requests[2].connection


async def test_byte_by_byte(sim: Simulator) -> None:
    async with speaking(sim, greet=False) as peer:
        number, data = peer.order(sim, new_order())
        for byte in peer.greeting() + data:
            peer.write(bytes([byte]))
            await peer.writer.drain()
        assert (await peer.answer(number))[0] == 200


@pytest.mark.every_loop
async def test_tls_speaks_what_was_agreed_on() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        context = sim.ssl_context()
        context.set_alpn_protocols(["http/1.1", "h2"])
        async with speaking(sim, tls=context) as peer:
            assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
            sim.inject(Injection(operation="orders_open", body=b"x" * 60_000))
            assert await peer.answer(peer.get(sim, "/v1/orders")) == (200, b"x" * 60_000)
        context.set_alpn_protocols(["http/1.1"])
        async with speaking(sim, tls=context, greet=False) as peer:
            peer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await peer.reader.readline()).startswith(b"HTTP/1.1 200")


async def test_it_can_be_switched_off() -> None:
    async with Simulator(sites={EAST: 0.0}, http2=False) as sim, speaking(sim, greet=False) as peer:
        peer.write(peer.greeting())
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 400")
    async with Simulator(sites={EAST: 0.0}, http2=False, tls=True) as sim:
        context = sim.ssl_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with speaking(sim, tls=context, greet=False) as peer:
            assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("wrong", [{"streams": -1}, {"window": 2**31}, {"settings_delay": -1}])
def test_settings_the_protocol_does_not_allow(wrong: Any) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Http2(**wrong)


@pytest.mark.every_loop
async def test_answers_come_when_they_are_due_not_in_order(sim: Simulator) -> None:
    delays = [0.09, 0.03, 0.06, 0.0]
    for number, delay in enumerate(delays):
        sim.inject(Injection(client_order_id=str(number), delay=delay))
    async with speaking(sim) as peer:
        orders = [peer.order(sim, new_order(client_order_id=str(one))) for one in range(len(delays))]
        peer.write(*(data for _, data in orders))
        while len(peer.of(HEADERS)) < len(delays):
            await peer.read()
        order = [frame.stream for frame in peer.of(HEADERS)]
        assert order == [orders[one][0] for one in (3, 1, 2, 0)]


async def test_many_streams_at_once(sim: Simulator) -> None:
    async with speaking(sim) as peer:
        await peer.frame(SETTINGS)
        orders = [peer.order(sim, new_order(client_order_id=str(one))) for one in range(100)]
        peer.write(*(data for _, data in orders))
        for number, _ in orders:
            assert (await peer.answer(number))[0] == 200
    assert {sim.executions(str(one)) for one in range(100)} == {1}


async def test_bodies_wait_for_credit(sim: Simulator) -> None:
    sim.inject(Injection(body=b"a" * 40, times=2))
    async with speaking(sim, settings={WINDOW: 10}) as peer:
        first, second = peer.get(sim, "/v1/orders"), peer.get(sim, "/v1/orders")
        await peer.frame(DATA, second)
        assert (peer.body(first), peer.body(second)) == (b"a" * 10, b"a" * 10)
        peer.credit(30, second)
        while len(peer.body(second)) < 40:
            await peer.read()
        assert peer.body(first) == b"a" * 10
        peer.credit(100, first)
        while len(peer.body(first)) < 40:
            await peer.read()
        assert peer.of(DATA, first)[-1].flags & END_STREAM


async def test_the_connection_has_credit_of_its_own(sim: Simulator) -> None:
    sim.inject(Injection(body=b"a" * 50_000, times=2))
    async with speaking(sim, settings={WINDOW: 1_000_000}) as peer:
        first, second = peer.get(sim, "/v1/orders"), peer.get(sim, "/v1/orders")
        while len(peer.body(first)) + len(peer.body(second)) < 65_535:
            await peer.read()
        assert len(peer.body(first)) == 50_000
        assert len(peer.body(second)) == 15_535
        assert max(len(one.payload) for one in peer.of(DATA)) == 16_384
        peer.credit(100_000, 0)
        while len(peer.body(second)) < 50_000:
            await peer.read()


async def test_more_credit_by_settings(sim: Simulator) -> None:
    sim.inject(Injection(body=b"a" * 40))
    async with speaking(sim, settings={WINDOW: 0}) as peer:
        number = peer.get(sim, "/v1/orders")
        await peer.frame(HEADERS, number)
        assert peer.body(number) == b""
        peer.write(b"\0\0\6\4\0\0\0\0\0" + b"\0\4" + (100).to_bytes(4, "big"))
        assert await peer.answer(number) == (200, b"a" * 40)


async def test_our_own_credit_and_limits_are_told() -> None:
    speech = Http2(streams=3, window=100, credit=False)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, http2=speech) as sim, speaking(sim) as peer:
        await peer.frame(SETTINGS)
        assert peer.h2.remote_settings.max_concurrent_streams == 3
        assert peer.h2.remote_settings.initial_window_size == 100
        body = json.dumps(new_order()).encode()
        number = peer.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/v1/orders")]
        more = [("content-type", "application/json"), ("x-coinapi-key", sim.api_key)]
        peer.h2.send_headers(number, fields + more)
        peer.h2.send_data(number, body[:100])
        peer.write(peer.h2.data_to_send())
        peer.get(sim, "/")
        await peer.frame(HEADERS)
        assert peer.h2.local_flow_control_window(number) == 0
        sim.release()
        while peer.h2.local_flow_control_window(number) < len(body) - 100:
            await peer.read()
        peer.h2.send_data(number, body[100:], end_stream=True)
        peer.write(peer.h2.data_to_send())
        await peer.frame(HEADERS, number)
        assert sim.executions("order-1") == 1


async def test_too_many_streams_end_the_connection() -> None:
    async with Simulator(sites={EAST: 0.0}, http2=Http2(streams=1)) as sim, speaking(sim) as peer:
        sim.inject(Injection(hang=True))
        peer.get(sim, "/v1/orders")
        peer.get(sim, "/v1/orders")
        await peer.frame(GOAWAY)
        assert await peer.until_end() == "fin"


@pytest.mark.every_loop
async def test_settings_may_be_late() -> None:
    speech = Http2(settings_delay=0.05)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, http2=speech) as sim, speaking(sim) as peer:
        number = peer.place(sim, new_order())
        await peer.read()
        assert peer.frames[0].kind == SETTINGS
        assert (await peer.answer(number))[0] == 200


@pytest.mark.every_loop
async def test_a_stream_that_is_given_up_gets_no_answer(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", delay=30.0))
    async with speaking(sim) as peer:
        gone = peer.place(sim, new_order())
        peer.reset(gone)
        assert (await peer.answer(peer.get(sim, "/v1/orders")))[0] == 200
        assert not peer.of(HEADERS, gone)
    assert sim.requests[0].status is None
    assert sim.executions("order-1") == 1


async def test_silence_until_released(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", hang=True, execute="before"))
    sim.inject(Injection(operation="order_new", hang=True, status=503))
    async with speaking(sim) as peer:
        executed = peer.place(sim, new_order(client_order_id="a"))
        refused = peer.place(sim, new_order(client_order_id="b"))
        await peer.answer(peer.get(sim, "/v1/orders"))
        assert len(peer.of(HEADERS)) == 1
        sim.release()
        assert (await peer.answer(executed))[0] == 200
        assert (await peer.answer(refused))[0] == 503
        assert (sim.executions("a"), sim.executions("b")) == (1, 0)


async def test_stopping_ends_it(sim: Simulator) -> None:
    sim.inject(Injection(hang=True))
    sim.inject(Injection(delay=30.0))
    async with speaking(sim) as peer:
        peer.get(sim, "/v1/orders")
        peer.get(sim, "/v1/orders")
        await until(lambda: len(sim.requests) == 2)
        await sim.stop_site(EAST)
        assert await peer.until_end() == "reset"
        sim.release()


async def test_a_client_that_says_goodbye_still_gets_its_answers(sim: Simulator) -> None:
    sim.set_delay(EAST, 0.02)
    async with speaking(sim) as peer:
        number = peer.place(sim, new_order())
        peer.goaway()
        assert (await peer.answer(number))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\1\0\0\0\0\0\1x",  # DATA on a stream that was never opened
        b"\0\0\5\1\4\0\0\0\1\xff\xff\xff\xff\xff",  # HEADERS that are no HPACK
        b"\0\0\3\6\0\0\0\0\0abc",  # PING of the wrong size
        b"\0\x50\1\6\0\0\0\0\0" + bytes(0x5001),  # a frame that is too large
    ],
)
async def test_broken_frames_end_the_connection(sim: Simulator, data: bytes) -> None:
    async with speaking(sim) as peer:
        peer.write(data)
        assert await peer.until_end() == "fin"
        assert peer.of(GOAWAY)[0].code
    assert not sim.requests


async def test_a_preface_that_goes_wrong(sim: Simulator) -> None:
    async with speaking(sim, greet=False) as peer:
        peer.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 400")


async def test_requests_that_are_too_large(sim: Simulator) -> None:
    async with speaking(sim) as peer:
        headers = {f"x{one}": "a" * 9_000 for one in range(4)}
        number = peer.h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
        peer.h2.send_headers(number, [*fields, *headers.items()], end_stream=True)
        peer.write(peer.h2.data_to_send())
        assert (await peer.answer(number))[0] == 431
        number = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(number, [(":method", "POST"), *fields[1:]])
        while not peer.of(HEADERS, number):
            room = min(peer.h2.local_flow_control_window(number), 16_384)
            if room:
                peer.h2.send_data(number, b"x" * room)
                peer.write(peer.h2.data_to_send())
            else:
                await peer.read()
                for frame in peer.of(8):
                    peer.frames.remove(frame)
                    peer.h2.receive_data(b"\0\0\4\x08\0" + frame.stream.to_bytes(4, "big") + frame.payload)
        assert (await peer.answer(number))[0] == 413
    assert not sim.requests


@pytest.mark.every_loop
@pytest.mark.parametrize("execute", ["never", "before"])
async def test_a_cut_connection(sim: Simulator, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", reset=True, execute=execute))
    async with speaking(sim) as peer:
        peer.place(sim, new_order())
        assert await peer.until_end() == "reset"
        assert not peer.of(HEADERS)
    assert sim.executions("order-1") == (execute == "before")
    assert sim.requests[-1].status is None


async def test_heads_have_no_body(sim: Simulator) -> None:
    sim.inject(Injection(operation="unknown", status=418, body="tea", headers={"Connection": "close", "X-A": "1"}))
    sim.inject(Injection(operation="orders_open", status=204))
    async with speaking(sim) as peer:
        number = peer.send("HEAD", "/v1/orders")
        await peer.frame(HEADERS, number)
        head = peer.head(number)
        assert head | {"date": ""} == {
            ":status": "418",
            "date": "",
            "server": "Kestrel",
            "content-length": "3",
            "content-type": "application/json; charset=utf-8",
            "x-a": "1",
        }
        assert await peer.answer(peer.get(sim, "/v1/orders")) == (204, b"")
        assert not peer.of(DATA)


Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_left_behind(run: Runner, tls: bool) -> None:
    async def scene() -> None:
        simulator = Simulator(sites={EAST: 0.0, WEST: 30.0}, pace=INSTANT, tls=tls, http2=True)
        async with simulator:
            context = simulator.ssl_context() if tls else None
            if context is not None:
                context.set_alpn_protocols(["h2"])
            async with speaking(simulator, tls=context) as near, speaking(simulator, WEST, tls=context) as far:
                assert (await near.answer(near.place(simulator, new_order())))[0] == 200
                far.place(simulator, new_order())
                await until(lambda: len(simulator.requests) == 2)
                await simulator.stop()
                assert len(asyncio.all_tasks()) == 1
                await asyncio.sleep(0.01)

    run(scene())


async def test_a_failure_of_the_simulator_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(sites={EAST: 0.0}, http2=True) as sim, speaking(sim) as peer:
        sim.inject(Injection(body=object()))  # type: ignore[arg-type]  # what is tested
        assert (await peer.answer(peer.get(sim, "/v1/orders")))[0] == 500
    assert "the simulator failed on GET" in caplog.text
    assert not peer.of(RST)
