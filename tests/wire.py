"""A server that says exactly what a test tells it to, byte by byte, and counts what it read."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from coinapi_ems_async import EMSClient, Settings

End = Literal["keep", "fin", "reset", "hang"]


@dataclass
class Seen:
    """One request that was read whole."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    turn: int
    """How many requests this connection had carried before."""

    @property
    def operation(self) -> str:
        return f"{self.method} {self.target.partition('?')[0]}"


@dataclass
class Reply:
    """What to write, and what to do with the connection then; `head` False cuts before the request is read."""

    data: bytes = b""
    end: End = "keep"
    after: float = 0.0


def answer(body: bytes = b"", status: int = 200, *headers: str) -> Reply:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def report(seen: Seen, **changes: object) -> bytes:
    """The least report about the order in a request."""
    sent = msgspec.json.decode(seen.body) if seen.body else {}
    fields = {
        "exchange_id": sent.get("exchange_id", "KRAKEN"),
        "client_order_id": sent.get("client_order_id", seen.target.rpartition("/")[2]),
        "status": "ROUTED",
    }
    return msgspec.json.encode(fields | changes)


@dataclass
class ScriptedServer:
    """Answers probes by itself and everything else by its script."""

    script: Callable[[Seen], Reply]
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http{'s' if self.tls else ''}://127.0.0.1:{port}"

    def operations(self, wanted: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.operation == wanted]

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.release.set()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0)
        await self._server.wait_closed()

    def write_to_all(self, data: bytes) -> None:
        """Say something that nobody asked for on every open connection."""
        for writer in list(self._writers):
            writer.write(data)

    async def close_idle(self) -> None:
        """End every open connection with a FIN, as a server does with connections idle for too long."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            turn = 0
            while (seen := await _read_request(reader, number, turn)) is not None:
                if seen.target == "/":
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                self.seen.append(seen)
                turn += 1
                if not await self._reply(self.script(seen), writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.after:
            await asyncio.sleep(reply.after)
        writer.write(reply.data)
        await writer.drain()
        if reply.end == "hang":
            await self.release.wait()
        if reply.end == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return reply.end == "keep"


async def _read_request(reader: asyncio.StreamReader, connection: int, turn: int) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body, connection, turn)


@asynccontextmanager
async def served(
    script: Callable[[Seen], Reply], **settings: float
) -> AsyncIterator[tuple[ScriptedServer, EMSClient]]:
    """A scripted server as the one site of an open client."""
    async with ScriptedServer(script) as server:
        quick = {"late_answer": 0.5, "close_wait": 0.5, "probe_interval": 60, "probe_interval_others": 60}
        async with EMSClient.self_hosted(server.url, settings=Settings(**(quick | settings))) as ems:  # type: ignore[arg-type]  # numbers of every setting
            yield server, ems


@contextmanager
def a_listener_that_never_accepts() -> Iterator[str]:
    """Its backlog is full: connects hang, as they do behind a firewall that drops packets."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(16):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
