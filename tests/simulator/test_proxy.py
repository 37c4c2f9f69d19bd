"""The proxy before a server: every byte goes through, until a fault says otherwise, and then exactly so many."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from coinapi_ems_async.simulator import FaultProxy, WireFault

from .helpers import until

ANSWER = bytes(range(256)) * 4
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Reads lines, answers each with `answer`, and remembers what came and how it ended."""

    answer: bytes = ANSWER
    heard: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)
    port: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                for _ in range(data.count(b"\n")):
                    writer.write(self.answer)
            self.ends.append("fin")
        except ConnectionResetError:
            self.ends.append("reset")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await talk(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await until(lambda: not tasks)
    finally:
        server.close()
        await server.wait_closed()


class Client(asyncio.Protocol):
    """Keeps every byte: a stream reader would forget those before a reset."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = ""
        self.pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.end = "fin"
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.end = self.end or ("reset" if exc else "fin")

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def rest(self) -> tuple[bytes, str]:
        """Read to the end; return what came, and whether it was "fin" or "reset"."""
        await until(lambda: self.end != "")
        found = bytes(self.data)
        self.data.clear()
        return found, self.end

    async def answer(self, size: int = len(ANSWER)) -> bytes:
        await until(lambda: len(self.data) >= size)
        found = bytes(self.data[:size])
        del self.data[:size]
        return found

    async def silent(self, seconds: float = 0.05) -> bool:
        await asyncio.sleep(seconds)
        return not self.data and not self.end


@asynccontextmanager
async def calling(proxy: FaultProxy) -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, "127.0.0.1", proxy.port)
    yield client
    client.transport.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultProxy]:
    async with serving(server.talk) as port, FaultProxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.mark.every_loop
async def test_without_faults_everything_goes_through(server: Server, proxy: FaultProxy) -> None:
    async with calling(proxy) as client:
        for one in range(3):
            client.send(b"line %d\n" % one)
            assert await client.answer() == ANSWER
        assert proxy.open == 1
        client.transport.write_eof()
        assert await client.rest() == (b"", "fin")
    await until(lambda: proxy.open == 0)
    assert bytes(server.heard) == b"line 0\nline 1\nline 2\n"
    assert (server.ends, proxy.cuts, proxy.connections) == (["fin"], [], 1)


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_a_response_is_cut_after_exactly_so_many_bytes(proxy: FaultProxy, end: Any) -> None:
    for after in [*range(0, len(ANSWER), 103), len(ANSWER) - 1, len(ANSWER)]:
        proxy.inject(WireFault(direction="response", after=after, action=end))
        async with calling(proxy) as client:
            client.send(b"please\n")
            assert await client.rest() == (ANSWER[:after], end)
        cut = proxy.cuts[-1]
        assert (cut.action, cut.direction, cut.request_bytes, cut.response_bytes) == (end, "response", 7, after)
        assert (cut.connection, cut.turn, cut.fault.times) == (proxy.connections, 1, 0)
    await until(lambda: proxy.open == 0)


@pytest.mark.every_loop
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_a_request_is_cut_after_exactly_so_many_bytes(server: Server, proxy: FaultProxy, end: Any) -> None:
    request = b"0123456789\n"
    for after in range(len(request) + 1):
        server.heard.clear()
        server.ends.clear()
        proxy.inject(WireFault(direction="request", after=after, action=end))
        async with calling(proxy) as client:
            client.send(request)
            found, ending = await client.rest()
        await until(lambda: len(server.ends) == 1)
        assert bytes(server.heard) == request[:after]
        assert server.ends == [end]
        assert ending == end
        assert found in (b"", ANSWER if after == len(request) else b"")
        assert proxy.cuts[-1].request_bytes == after


async def test_all_before_a_cut_arrives_even_if_it_is_much(server: Server, proxy: FaultProxy) -> None:
    server.answer = b"a" * 3_000_000
    proxy.inject(WireFault(after=2_500_001, action="reset"))
    async with calling(proxy) as client:
        client.send(b"\n")
        found, end = await client.rest()
    assert (len(found), end) == (2_500_001, "reset")


@pytest.mark.every_loop
async def test_a_slow_reader_holds_back_the_sender(server: Server, proxy: FaultProxy) -> None:
    server.answer = b"a" * 20_000_000
    async with calling(proxy) as client:
        client.send(b"\n")
        await client.answer(1_000)
        client.transport.pause_reading()
        client.send(b"x" * 5_000_000)
        await until(lambda: len(server.heard) == 5_000_001)
        held = len(client.data)
        assert held < 19_000_000
        client.transport.resume_reading()
        await client.answer(19_999_000)


@pytest.mark.every_loop
async def test_after_a_fin_the_other_direction_goes_on(server: Server, proxy: FaultProxy) -> None:
    proxy.inject(WireFault(direction="response", after=10, action="fin"))
    async with calling(proxy) as client:
        client.send(b"one\n")
        assert await client.rest() == (ANSWER[:10], "fin")
        client.send(b"two\n")
        await until(lambda: bytes(server.heard) == b"one\ntwo\n")
        assert proxy.open == 1
    await until(lambda: proxy.open == 0)
    assert len(proxy.cuts) == 1


@pytest.mark.every_loop
async def test_frozen_until_thawed(server: Server, proxy: FaultProxy) -> None:
    proxy.inject(WireFault(after=10, action="freeze"))
    async with calling(proxy) as client:
        client.send(b"one\n")
        assert await client.answer(10) == ANSWER[:10]
        client.send(b"two\n")
        assert await client.silent()
        assert bytes(server.heard) == b"one\n"
        assert proxy.open == 1
        proxy.thaw()
        assert await client.answer(2 * len(ANSWER) - 10) == (ANSWER * 2)[10:]
        assert bytes(server.heard) == b"one\ntwo\n"


@pytest.mark.every_loop
async def test_frozen_for_a_time(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(direction="request", action="freeze", seconds=0.05))
    async with calling(proxy) as client:
        start = time.monotonic()
        client.send(b"one\n")
        assert await client.answer() == ANSWER
        assert time.monotonic() - start >= 0.05


async def test_what_was_frozen_arrives_late_although_its_sender_has_left(
    server: Server, proxy: FaultProxy
) -> None:
    proxy.inject(WireFault(direction="request", action="freeze"))
    async with calling(proxy) as client:
        client.send(b"an order\n")
        await until(lambda: len(proxy.cuts) == 1)
    await asyncio.sleep(0.02)
    assert not server.heard
    proxy.thaw()
    await until(lambda: bytes(server.heard) == b"an order\n")
    await until(lambda: proxy.open == 0)


@pytest.mark.every_loop
@pytest.mark.parametrize("direction", ["request", "response"])
async def test_delayed(server: Server, proxy: FaultProxy, direction: Any) -> None:
    proxy.inject(WireFault(direction=direction, after=2, action="delay", seconds=0.5))
    async with calling(proxy) as client:
        start = time.monotonic()
        client.send(b"one\n")
        if direction == "response":
            assert await client.answer(2) == ANSWER[:2]
            assert await client.silent(0.02)
        else:
            await until(lambda: bytes(server.heard) == b"on")
        assert await client.answer(len(ANSWER) - 2 * (direction == "response"))
        assert time.monotonic() - start >= 0.5
        client.send(b"two\n")
        assert await client.answer() == ANSWER
        assert time.monotonic() - start < 5


@pytest.mark.every_loop
async def test_dripped(server: Server, proxy: FaultProxy) -> None:
    server.answer = b"0123456789"
    proxy.inject(WireFault(after=4, action="drip", size=2, seconds=0.01))
    async with calling(proxy) as client:
        start = time.monotonic()
        client.send(b"\n")
        assert await client.answer(4) == b"0123"
        assert await client.answer(6) == b"456789"
        assert client.pieces == [b"0123", b"45", b"67", b"89"]
        assert time.monotonic() - start >= 0.03
        client.pieces.clear()
        client.send(b"\n")  # nothing was held back any more, and yet it drips on
        assert await client.answer(10) == b"0123456789"
        assert client.pieces == [b"01", b"23", b"45", b"67", b"89"]
        client.transport.write_eof()
        assert await client.rest() == (b"", "fin")


@pytest.mark.every_loop
async def test_turns(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(turn=3, after=5, action="reset"))
    async with calling(proxy) as client:
        for _ in range(2):
            client.send(b"one\n")
            assert await client.answer() == ANSWER
        client.send(b"three\n")
        assert await client.rest() == (ANSWER[:5], "reset")
    assert (proxy.cuts[0].turn, proxy.cuts[0].response_bytes) == (3, 2 * len(ANSWER) + 5)


async def test_the_whole_connection_counts_without_a_turn(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(after=len(ANSWER) + 5, action="reset"))
    async with calling(proxy) as client:
        client.send(b"one\n")
        assert await client.answer() == ANSWER
        client.send(b"two\n")
        assert await client.rest() == (ANSWER[:5], "reset")


async def test_what_is_past_does_not_come_again(proxy: FaultProxy) -> None:
    async with calling(proxy) as client:
        client.send(b"one\n")
        await client.answer()
        proxy.inject(WireFault(after=5, action="reset"))
        client.send(b"two\n")
        assert await client.answer() == ANSWER
    assert not proxy.cuts


@pytest.mark.every_loop
@pytest.mark.parametrize("direction", ["request", "response"])
async def test_only_requests_that_match(server: Server, proxy: FaultProxy, direction: Any) -> None:
    proxy.inject(WireFault(direction=direction, match=b"order", after=3, action="reset"))
    async with calling(proxy) as other, calling(proxy) as client:
        for text in (b"probe\n", b"read\n"):
            client.send(text)
            assert await client.answer() == ANSWER
        client.send(b"an order\n")
        assert await client.rest() == (ANSWER[:3] if direction == "response" else b"", "reset")
        other.send(b"probe\n")
        assert await other.answer() == ANSWER
    assert bytes(server.heard).startswith(
        b"probe\nread\n" + (b"an order\n" if direction == "response" else b"an ")
    )


async def test_a_match_that_comes_in_pieces(server: Server, proxy: FaultProxy) -> None:
    proxy.inject(WireFault(direction="request", match=b"order", after=1, action="reset"))
    async with calling(proxy) as client:
        for byte in b"an orde":
            client.send(bytes([byte]))
            await until(lambda byte=byte: server.heard.endswith(bytes([byte])))  # type: ignore[misc]
        client.send(b"r\n")
        assert await client.rest() == (b"", "reset")
    assert bytes(server.heard) == b"an orde"


async def test_only_one_connection(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(connection=2, after=3, action="reset"))
    async with calling(proxy) as first:
        first.send(b"\n")
        await first.answer()
        async with calling(proxy) as second:
            second.send(b"\n")
            assert await second.rest() == (ANSWER[:3], "reset")
    assert [cut.connection for cut in proxy.cuts] == [2]


async def test_oldest_first_and_so_many_times(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(after=50, action="reset"))
    proxy.inject(WireFault(after=10, action="fin", times=2))
    seen = []
    for _ in range(4):
        async with calling(proxy) as client:
            client.send(b"\n")
            client.transport.write_eof()
            found, end = await client.rest()
            seen.append((len(found), end))
    assert seen == [(50, "reset"), (10, "fin"), (10, "fin"), (len(ANSWER), "fin")]


async def test_once_per_connection_or_turn(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(after=0, action="delay", seconds=0.0, times=None))
    proxy.inject(WireFault(match=b"x", after=0, action="delay", seconds=0.0, times=None))
    async with calling(proxy) as client:
        for _ in range(3):
            client.send(b"x\n")
            assert await client.answer() == ANSWER
    assert [cut.turn for cut in proxy.cuts] == [1, 1, 2, 3]


@pytest.mark.every_loop
@pytest.mark.parametrize("action", ["reset", "fin"])
async def test_cut_on_connect(server: Server, proxy: FaultProxy, action: Any) -> None:
    proxy.inject(WireFault(direction="connect", action=action))
    async with calling(proxy) as client:
        assert await client.rest() == (b"", action)
    async with calling(proxy) as client:
        client.send(b"\n")
        assert await client.answer() == ANSWER
    await until(lambda: proxy.open == 0)
    assert server.ends == ["fin"]


@pytest.mark.every_loop
async def test_let_in_but_not_served(server: Server, proxy: FaultProxy) -> None:
    proxy.inject(WireFault(direction="connect", action="freeze"))
    proxy.inject(WireFault(direction="connect", action="delay", seconds=0.03))
    start = time.monotonic()
    async with calling(proxy) as frozen, calling(proxy) as late:
        frozen.send(b"frozen\n")
        late.send(b"late\n")
        assert await late.answer() == ANSWER
        assert time.monotonic() - start >= 0.03
        assert bytes(server.heard) == b"late\n"
        proxy.thaw()
        assert await frozen.answer() == ANSWER


@pytest.mark.every_loop
async def test_who_leaves_while_frozen_on_connect_is_forgotten_when_thawed(
    server: Server, proxy: FaultProxy
) -> None:
    proxy.inject(WireFault(direction="connect", action="freeze"))
    async with calling(proxy):
        await until(lambda: proxy.open == 1)
    await asyncio.sleep(0.01)
    assert proxy.open == 1
    proxy.thaw()
    await until(lambda: proxy.open == 0)
    assert server.ends == ["fin"]


@pytest.mark.every_loop
async def test_striking_now(proxy: FaultProxy) -> None:
    async with calling(proxy) as first, calling(proxy) as second:
        for client in (first, second):
            client.send(b"\n")
            await client.answer()
        assert proxy.strike(WireFault(connection=1, action="reset")) == 1
        assert await first.rest() == (b"", "reset")
        assert proxy.strike(WireFault(action="freeze")) == 1
        second.send(b"\n")
        assert await second.silent()
        proxy.thaw()
        await second.answer()
    async with calling(proxy) as later:
        later.send(b"\n")
        assert await later.answer() == ANSWER


async def test_clear(proxy: FaultProxy) -> None:
    proxy.inject(WireFault(action="reset", times=None))
    proxy.clear()
    async with calling(proxy) as client:
        client.send(b"\n")
        assert await client.answer() == ANSWER
    with pytest.raises(TypeError, match="WireFault"):
        proxy.inject("reset")  # type: ignore[arg-type]  # what is tested


@pytest.mark.every_loop
async def test_ends_pass_through_both_ways() -> None:
    ends: list[str] = []

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        sock: socket.socket = writer.get_extra_info("socket")
        with socket.socket(fileno=socket.dup(sock.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        ends.append("reset")

    async with serving(reset) as port, FaultProxy("127.0.0.1", port) as proxy:
        async with calling(proxy) as client:
            client.send(b"\n")
            assert await client.rest() == (b"", "reset")
        await until(lambda: proxy.open == 0)
    server = Server()
    async with serving(server.talk) as port, FaultProxy("127.0.0.1", port) as proxy:
        sock = socket.create_connection(("127.0.0.1", proxy.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: proxy.open == 1)
        sock.send(b"half")
        await until(lambda: bytes(server.heard) == b"half")
        sock.close()
        await until(lambda: server.ends == ["reset"])
        await until(lambda: proxy.open == 0)


@pytest.mark.every_loop
async def test_nobody_behind_it(unused_port: int) -> None:
    async with FaultProxy("127.0.0.1", unused_port) as proxy:
        async with calling(proxy) as client:
            client.send(b"\n")
            assert await client.rest() == (b"", "reset")
        assert proxy.open == 0


@pytest.mark.every_loop
@pytest.mark.parametrize("turns", range(6))
async def test_stopping_leaves_nothing_behind(server: Server, turns: int) -> None:
    async with serving(server.talk) as port:
        before = asyncio.all_tasks()
        proxy = FaultProxy("127.0.0.1", port)
        await proxy.start()
        await proxy.start()
        proxy.inject(WireFault(after=5, action="freeze"))
        proxy.inject(WireFault(after=6, action="drip", seconds=30.0))
        async with calling(proxy) as frozen, calling(proxy) as dripping:
            for client in (frozen, dripping):
                client.send(b"\n")
            await until(lambda: len(proxy.cuts) == 2)
            with socket.create_connection(("127.0.0.1", proxy.port)):
                for _ in range(turns):
                    await asyncio.sleep(0)
                await asyncio.wait_for(proxy.stop(), 5)
                await proxy.stop()
                assert proxy.open == 0
                await until(lambda: asyncio.all_tasks() <= before)
            assert (await frozen.rest())[1] == (await dripping.rest())[1] == "reset"
        assert len(server.ends) >= 2
        assert "stopped" in repr(proxy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "burn"},
        {"action": "reset", "direction": "up"},
        {"action": "reset", "after": -1},
        {"action": "delay"},
        {"action": "drip"},
        {"action": "drip", "seconds": 1, "size": 0},
        {"action": "freeze", "seconds": -1},
        {"action": "freeze", "seconds": float("nan")},
        {"action": "reset", "direction": "connect", "after": 1},
        {"action": "drip", "direction": "connect", "seconds": 1},
        {"action": "reset", "turn": 0},
        {"action": "reset", "connection": 0},
    ],
)
def test_faults_that_make_no_sense(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"there are|or more|needs|connect|from 1"):
        WireFault(**wrong)
