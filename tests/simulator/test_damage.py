"""Answers that say something wrong, too little, too much, twice, or too early."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from coinapi_ems_async.models.enums import RejectReason
from coinapi_ems_async.simulator import Injection, Simulator, Variants

from .helpers import ACCOUNT, EAST, INSTANT, Caller, new_order, until
from .test_http1 import order_request


class Ear(asyncio.Protocol):
    """Keeps every byte: a stream reader would forget those before a reset."""

    def __init__(self) -> None:
        self.data = b""
        self.end = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.end = "reset" if exc else "fin"

    async def ended(self) -> tuple[bytes, str]:
        await until(lambda: self.end != "")
        return self.data, self.end


@asynccontextmanager
async def ear(sim: Simulator, **tls: Any) -> AsyncIterator[Ear]:
    loop, port = asyncio.get_running_loop(), int(sim.site_urls[EAST].rpartition(":")[2])
    _, found = await loop.create_connection(Ear, "127.0.0.1", port, **tls)
    yield found
    found.transport.close()


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"\0\xff nonsense\r\n\r\n"])
@pytest.mark.parametrize("execute", ["never", "before"])
async def test_bytes_as_they_are(sim: Simulator, raw: bytes, end: Any, execute: Any) -> None:
    sim.inject(Injection(operation="order_new", raw=raw, end=end, execute=execute))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim))
        assert await peer.ended() == (raw, end)
    assert sim.executions("order-1") == (execute == "before")
    assert sim.requests[0].status is None


async def test_bytes_as_they_are_and_the_connection_stays(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", raw=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim) * 2)
        await until(lambda: b"ROUTED" in peer.data)
        assert peer.data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK")
    assert sim.executions("order-1") == 1


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("size", [0, 1, 50])
async def test_less_than_was_announced(sim: Simulator, end: Any, size: int) -> None:
    sim.inject(Injection(operation="order_new", truncate=size, end=end))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim))
        data, how = await peer.ended()
        head, _, body = data.partition(b"\r\n\r\n")
        assert (how, len(body)) == (end, size)
        announced = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        assert int(announced.partition(b":")[2]) > 50
    assert sim.executions("order-1") == 1
    assert sim.requests[0].status is None


async def test_an_answer_that_stalls(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", status=503, body="unavailable", truncate=5))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim))
        await until(lambda: peer.data.endswith(b"\r\n\r\nunava"))
        assert peer.end == ""
    assert sim.executions("order-1") == 0


async def test_truncating_what_is_short_enough_changes_nothing(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(body="all", truncate=10))
    assert (await call("GET", "/v1/orders")).body == b"all"


@pytest.mark.every_loop
async def test_much_and_then_a_reset(sim: Simulator) -> None:
    sim.inject(Injection(body=b"x" * 3_000_000, truncate=2_999_999, end="reset"))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim))
        data, how = await peer.ended()
        assert (how, len(data.partition(b"\r\n\r\n")[2])) == ("reset", 2_999_999)


@pytest.mark.every_loop
async def test_twice(sim: Simulator) -> None:
    sim.inject(Injection(operation="order_new", copies=2))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim))
        await until(lambda: peer.data.count(b"HTTP/1.1 200 OK") == 2)
        half = len(peer.data) // 2
        assert peer.data[:half] == peer.data[half:]
    assert sim.executions("order-1") == 1
    assert sim.requests[0].status == 200


@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_a_whole_answer_and_then_the_end(sim: Simulator, end: Any) -> None:
    sim.inject(Injection(operation="order_new", end=end))
    async with ear(sim) as peer:
        peer.transport.write(order_request(sim) * 2)
        data, how = await peer.ended()
        assert how == end
        assert data.count(b"HTTP/1.1 200 OK") == 1
        assert b"onnection: close" not in data
    assert sim.requests[0].status == 200
    assert sim.executions("order-1") == 1


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_over_tls(end: Any) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        sim.inject(Injection(operation="order_new", truncate=9, end=end))
        async with ear(sim, ssl=sim.ssl_context(), server_hostname="127.0.0.1") as peer:
            peer.transport.write(order_request(sim))
            await peer.ended()
            assert len(peer.data.partition(b"\r\n\r\n")[2]) == 9


async def test_oversize(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", pad=2_000_000))
    sim.inject(Injection(operation="orders_open", headers={"X-Pad": "a" * 200_000}))
    reply = await call("POST", "/v1/orders", new_order())
    assert (len(reply.body) > 2_000_000, reply.json["status"]) == (True, "ROUTED")
    async with ear(sim) as peer:
        peer.transport.write(b"GET /v1/orders?apikey=" + sim.api_key.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: peer.data.endswith(b"]"))
        assert len(peer.data) > 200_000


@pytest.mark.parametrize("execute", ["never", "before"])
@pytest.mark.parametrize(("status", "with_reject"), [(504, True), (504, False), (500, False), (502, True)])
async def test_refusals_with_and_without_the_service_s_own_words(
    sim: Simulator, call: Caller, status: int, with_reject: bool, execute: Any
) -> None:
    reject = RejectReason.EXCHANGE_RESPONSE_TIMEOUT if with_reject else None
    sim.inject(Injection(operation="order_new", status=status, reject=reject, execute=execute))
    sent = new_order()
    reply = await call("POST", "/v1/orders", sent)
    assert reply.status == status
    if with_reject:
        assert (reply.json["type"], reply.json["reject_reason"]) == ("MESSAGE_REJECT", reject)
        assert reply.json["exchange_id"] == ACCOUNT
        assert '"client_order_id": "order-1"' in reply.json["rejected_message"]
    else:
        assert reply.body == b""
    assert sim.executions("order-1") == (execute == "before")


async def test_a_reject_has_the_wire_s_variants_and_headers(sim: Simulator, call: Caller) -> None:
    sim.variants = Variants(content_type="typo")
    again = {"Retry-After": "1"}
    sim.inject(Injection(status=490, reject=RejectReason.EXCHANGE_UNREACHABLE, headers=again, times=2))
    reply = await call("GET", "/v1/balances?exchange_id=KRAKEN")
    assert (reply.media, reply.headers["Retry-After"]) == ("appliction/json", "1")
    assert reply.json["exchange_id"] == "KRAKEN"
    reply = await call("POST", "/v1/orders", b"{")
    assert (reply.status, reply.json["rejected_message"]) == (490, "{")
    assert "exchange_id" not in reply.json


async def test_an_order_that_is_seen_late(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", status=504, execute="before", hide=0.2))
    assert (await call("POST", "/v1/orders", new_order())).status == 504
    assert sim.executions("order-1") == 1
    miss = await call("GET", "/v1/orders/status/order-1")
    assert (miss.status, miss.json["reject_reason"]) == (404, "ORDER_ID_NOT_FOUND")
    assert (await call("GET", "/v1/orders")).json == []
    end = asyncio.get_running_loop().time() + 5
    while (reply := await call("GET", "/v1/orders/status/order-1")).status != 200:
        assert asyncio.get_running_loop().time() < end
    assert reply.json["status"] == "NEW"
    assert len((await call("GET", "/v1/orders")).json) == 1
    assert sim.executions("order-1") == 1


async def test_an_order_seen_late_may_be_answered_as_usual(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", hide=30.0))
    assert (await call.place())["status"] == "ROUTED"
    assert (await call("GET", "/v1/orders/status/order-1")).status == 404
    cancel = {"exchange_id": ACCOUNT, "client_order_id": "order-1"}
    assert (await call("POST", "/v1/orders/cancel", cancel)).status == 200


async def test_an_order_that_is_executed_after_its_answer(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", status=504, execute="after", lag=0.2))
    assert (await call("POST", "/v1/orders", new_order())).status == 504
    assert sim.executions("order-1") == 0
    assert (await call("GET", "/v1/orders/status/order-1")).status == 404
    await until(lambda: sim.executions("order-1") == 1)
    assert (await call.status("order-1"))["status"] == "NEW"
    assert [one.operation for one in sim.requests].count("order_new") == 1


async def test_an_order_whose_connection_was_cut_may_be_on_its_way(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", reset=True, execute="after"))
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await call("POST", "/v1/orders", new_order())
    assert len(sim.orders) == 1


async def test_the_report_of_another_order(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", about="another"))
    report = await call.place()
    assert (report["client_order_id"], report["id"]) == ("another", "another")
    assert sim.executions("order-1") == 1
    assert sim.executions("another") == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"execute": "after"}, "cannot be answered with what came of it"),
        ({"lag": 1.0, "status": 504}, "lag needs"),
        ({"lag": -1.0, "status": 504, "execute": "after"}, "0 or more"),
        ({"refuse_stream": True, "execute": "after"}, "must not be executed"),
    ],
)
def test_contradictions_are_told(wrong: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Injection(**wrong)


async def test_a_cut_connection_beats_damage(sim: Simulator, call: Caller) -> None:
    sim.inject(Injection(operation="order_new", reset=True, pad=10, copies=2))
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await call("POST", "/v1/orders", new_order())
    assert sim.requests[-1].status is None
    assert sim.executions("order-1") == 0
