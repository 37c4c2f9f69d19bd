"""HTTP/1.1 by hand: whole, byte by byte, several at once, and broken."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from coinapi_ems_async.simulator import Simulator

from .helpers import EAST, new_order, until


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split(" ")[1]), headers, body

    async def status(self) -> int:
        return (await self.answer())[0]


@pytest.fixture
async def raw(sim: Simulator) -> AsyncIterator[Raw]:
    port = int(sim.site_urls[EAST].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Raw(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def order_request(sim: Simulator, extra: str = "") -> bytes:
    body = json.dumps(new_order()).encode()
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-CoinAPI-Key: {sim.api_key}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def test_byte_by_byte(sim: Simulator, raw: Raw) -> None:
    for byte in order_request(sim):
        raw.writer.write(bytes([byte]))
        await raw.writer.drain()
    status, headers, body = await raw.answer()
    assert (status, json.loads(body)["status"]) == (200, "ROUTED")
    assert headers["server"] == "kestrel"


async def test_an_incomplete_request_is_not_executed(sim: Simulator, raw: Raw) -> None:
    raw.writer.write(order_request(sim)[:-1])
    await raw.writer.drain()
    await sim.stop_site(EAST)
    assert not sim.requests
    assert sim.executions("order-1") == 0


async def test_many_at_once_are_answered_in_order(sim: Simulator, raw: Raw) -> None:
    sim.set_delay(EAST, 0.0001)
    count = 200
    raw.writer.write(b"".join(f"GET /v1/{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(count)))
    for _ in range(count):
        assert await raw.status() == 404
    assert [record.path for record in sim.requests] == [f"/v1/{n}" for n in range(count)]
    assert len({record.connection for record in sim.requests}) == 1


async def test_chunked_bodies(sim: Simulator, raw: Raw) -> None:
    head, _, body = order_request(sim, "Transfer-Encoding: chunked\r\n").partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    raw.writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + chunks)
    assert await raw.status() == 200


async def test_continue(sim: Simulator, raw: Raw) -> None:
    head, _, body = order_request(sim, "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    raw.writer.write(head + b"\r\n\r\n")
    assert await raw.status() == 100
    raw.writer.write(body)
    assert await raw.status() == 200


async def test_close_and_old_clients(sim: Simulator, raw: Raw) -> None:
    raw.writer.write(order_request(sim, "Connection: close\r\n"))
    status, headers, _ = await raw.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await raw.reader.read() == b""


async def test_http_1_0(raw: Raw) -> None:
    raw.writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert await raw.status() == 404
    assert await raw.reader.read() == b""


async def test_offers_to_upgrade_are_ignored(raw: Raw) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    raw.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
    assert await raw.status() == 404


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrubbish", 404),
        (b"POST /v1/orders HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n", 413),
        (b"POST /v1/orders HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /v1/orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 600_000, 431),
        (b"GET \xff\xfe HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_broken_requests(sim: Simulator, raw: Raw, data: bytes, status: int) -> None:
    raw.writer.write(data)
    if status == 413 and b"chunked" in data:
        raw.writer.write(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
        for _ in range(4):
            raw.writer.write(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
    assert await raw.status() == status
    assert not sim.executions("order-1")


async def test_a_client_that_leaves_gets_no_answer(sim: Simulator, raw: Raw) -> None:
    sim.set_delay(EAST, 0.05)
    raw.writer.write(order_request(sim))
    await until(lambda: len(sim.requests) == 1)
    raw.writer.close()
    await asyncio.sleep(0.1)
    assert sim.requests[0].status is None
    assert sim.executions("order-1") == 1
