"""A server that says exactly what a test tells it to, byte by byte, and counts what it read."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import msgspec

from coinapi_ems_async import EMSClient, Settings

End = Literal["keep", "fin", "reset", "hang", "ragged"]
"""What becomes of the connection: `ragged` is TCP's FIN alone, where TLS would say good-bye first."""

Transport = Literal["http1", "http2", "aiohttp"]


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


@dataclass(frozen=True)
class Said:
    """An answer in the terms that every version of HTTP has."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class Reply:
    """What to write, and what to do with the connection then.

    data: the answer as HTTP/1.1. said: the same for HTTP/2, which has no use for `data`. frames: makes the answer
    as HTTP/2, given the number of its stream, where `said` will not do. cut: of its bytes so many are written.
    piece: bytes written at a time, with `pause` seconds between.
    """

    data: bytes = b""
    end: End = "keep"
    after: float = 0.0
    said: Said | None = None
    frames: Callable[[int], bytes] | None = None
    cut: int | None = None
    piece: int | None = None
    pause: float = 0.0

    def but(self, **changes: Any) -> "Reply":
        return replace(self, **changes)


def answer(body: bytes = b"", status: int = 200, *headers: str) -> Reply:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return Reply(data, said=Said(status, pairs, body))


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
    """Answers probes by itself and everything else by its script, in HTTP/1.1."""

    script: Callable[[Seen], Reply]
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None
    welcome: End = "keep"
    """What to do with a connection as soon as it is there."""
    idle: float | None = None
    """Seconds after which it ends a connection that asks nothing."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def port(self) -> int:
        assert self._server is not None
        return cast(int, self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._writers)

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
        writers = list(self._writers)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            if self.welcome == "keep":
                await self._converse(reader, writer, self.connections)
            else:
                await self.end(writer, self.welcome)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        turn = 0
        while True:
            try:
                async with asyncio.timeout(self.idle):
                    seen = await _read_request(reader, number, turn)
            except TimeoutError:
                return
            if seen is None:
                return
            if seen.target == "/":
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            self.seen.append(seen)
            turn += 1
            reply = self.script(seen)
            if reply.after:
                await asyncio.sleep(reply.after)
            await self.write(writer, reply, reply.data)
            if not await self.end(writer, reply.end):
                return

    async def write(self, writer: asyncio.StreamWriter, reply: Reply, data: bytes) -> None:
        """Write the data of a reply up to its cut, in its pieces."""
        data = data[: reply.cut]
        size = reply.piece or len(data) or 1
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            if reply.piece:
                await asyncio.sleep(reply.pause)  # if only to let the other side read
        await writer.drain()

    async def end(self, writer: asyncio.StreamWriter, end: End) -> bool:
        """Do that to the connection; returns whether it goes on."""
        sock = writer.get_extra_info("socket")
        if end == "ragged":
            with contextlib.closing(sock.dup()) as raw:  # past the transport, which would say good-bye
                raw.shutdown(socket.SHUT_WR)
        if end in ("hang", "ragged"):
            await self.release.wait()
        if end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return end == "keep"


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


def server_for(transport: Transport | None, script: Callable[[Seen], Reply], **fields: Any) -> ScriptedServer:
    """Return the scripted server that speaks what the transport does."""
    if transport != "http2":
        return ScriptedServer(script, **fields)
    from .wire2 import ScriptedServer2  # h2 is an extra

    return ScriptedServer2(script, **fields)


def client_of(url: str, transport: Transport | None = None, **options: Any) -> EMSClient:
    """Return a client of one server; `options` are those of the client, and numbers of its settings.

    It probes once and then leaves the server alone, and closes soon.
    """
    quick: dict[str, Any] = {
        "late_answer": 0.5,
        "close_wait": 0.5,
        "probe_interval": 60,
        "probe_interval_others": 60,
    }
    names = Settings.__struct_fields__
    numbers = quick | {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    if transport is not None:
        rest["transport"] = transport
    return EMSClient.self_hosted(url, settings=Settings(**numbers), **rest)


@asynccontextmanager
async def served(
    script: Callable[[Seen], Reply],
    transport: Transport | None = None,
    *,
    server: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[ScriptedServer, EMSClient]]:
    """A scripted server as the one site of an open client; `server` holds fields of the server's."""
    async with server_for(transport, script, **(server or {})) as one:
        async with client_of(one.url, transport, **options) as ems:
            yield one, ems


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
