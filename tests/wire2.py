"""The scripted server in HTTP/2: over TLS where ALPN agrees on h2, over plain TCP with prior knowledge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from .wire import Reply, Said, ScriptedServer, Seen

__all__ = ["ScriptedServer2", "head_block"]


def head_block(*headers: tuple[str, str] | tuple[bytes, bytes]) -> bytes:
    """Return a header block that leaves no trace in the peer's table, so that it can be made by hand."""
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(*header) for header in headers], huffman=False)
    return block


@dataclass
class ScriptedServer2(ScriptedServer):
    """Answers probes by itself and everything else by its script, each stream on its own.

    A reply that ends in `hang` holds up its stream only, or the whole connection if it is cut. settings: the
    server's own.
    """

    settings: dict[SettingCodes, int] = field(default_factory=dict)
    goodbye_after: int | None = None
    """Requests of a connection after which it says GOAWAY, beside an answer, and takes no more."""
    resets: list[int] = field(default_factory=list)
    """Codes of the streams that the client reset."""

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        line = _Line(self, writer, number)
        try:
            await line.run(reader)
        finally:
            await line.stop()


class _Line:
    """One connection."""

    def __init__(self, server: ScriptedServer2, writer: asyncio.StreamWriter, number: int) -> None:
        self._server = server
        self._writer = writer
        self._number = number
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        if server.settings:
            self._h2.local_settings = Settings(client=False, initial_values=dict(server.settings))
        self._heads: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._turn = 0
        self._last: int | None = None
        """Stream after which nothing is taken any more."""
        self._goodbye = b""
        self._replies: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()
        self._writing = asyncio.Lock()
        """Pieces of one frame must not mix with another."""

    async def run(self, reader: asyncio.StreamReader) -> None:
        self._h2.initiate_connection()
        self._flush()
        try:
            while data := await self._read(reader):
                self._receive(data)
        except TimeoutError:
            self._h2.close_connection()
            self._flush()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(None if self._replies else self._server.idle):
            return await reader.read(65_536)

    async def stop(self) -> None:
        for task in self._replies:
            task.cancel()
        if self._replies:
            await asyncio.wait(self._replies)

    def _receive(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._flush()
            self._writer.close()
            return
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert event.stream_id is not None
            self._heads[event.stream_id] = {str(name): str(value) for name, value in event.headers or ()}
            self._bodies[event.stream_id] = bytearray()
        elif isinstance(event, DataReceived):
            assert event.stream_id is not None
            self._bodies[event.stream_id] += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, StreamEnded):
            assert event.stream_id is not None
            self._answer(event.stream_id)
        elif isinstance(event, StreamReset):
            self._server.resets.append(int(event.error_code or 0))
            self._moved.set()
        elif isinstance(event, WindowUpdated):
            self._moved.set()

    def _answer(self, stream: int) -> None:
        head, body = self._heads.pop(stream), bytes(self._bodies.pop(stream))
        seen = Seen(head[":method"], head[":path"], head, body, self._number, self._turn)
        if seen.target == "/":
            self._h2.send_headers(stream, [(":status", "404")], end_stream=True)
            return
        if self._last is not None:
            return
        self._turn += 1
        if self._turn == self._server.goodbye_after:
            self._last = stream
            self._goodbye = GoAwayFrame(0, last_stream_id=stream).serialize()
        self._server.seen.append(seen)
        task = asyncio.create_task(self._reply(stream, self._server.script(seen)))
        self._replies.add(task)
        task.add_done_callback(self._replied)

    def _replied(self, task: asyncio.Task[None]) -> None:
        self._replies.discard(task)
        if self._last is not None and not self._replies:
            self._writer.close()

    async def _reply(self, stream: int, reply: Reply) -> None:
        if reply.after:
            await asyncio.sleep(reply.after)
        with suppress(OSError, ProtocolError):  # the client has gone away, or taken the stream back
            if reply.frames is not None:
                await self._write(reply, reply.frames(stream))
            elif reply.said is not None:
                await self._say(stream, reply, reply.said)
            else:
                assert not reply.data, "there is no HTTP/2 in it"
            if not await self._server.end(self._writer, reply.end):
                self._writer.close()

    async def _write(self, reply: Reply, data: bytes) -> None:
        async with self._writing:
            data, self._goodbye = self._goodbye + data, b""
            await self._server.write(self._writer, reply, data)
            if reply.cut is not None and reply.end == "hang":
                await self._server.release.wait()
        self._flush()

    async def _say(self, stream: int, reply: Reply, said: Said) -> None:
        if reply.cut is None:
            async for data in self._frames(stream, said):
                await self._write(reply, data)
        else:
            await self._write(reply, b"".join([data async for data in self._frames(stream, said)]))

    async def _frames(self, stream: int, said: Said) -> AsyncIterator[bytes]:
        """Its frames, as the client's windows let them out."""
        self._flush()
        headers = [(":status", str(said.status)), *((name.lower(), value) for name, value in said.headers)]
        self._h2.send_headers(stream, headers, end_stream=not said.body)
        yield self._h2.data_to_send()
        rest = said.body
        while rest:
            while not (size := min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)):
                self._moved.clear()
                await self._moved.wait()
            part, rest = rest[:size], rest[size:]
            self._h2.send_data(stream, part, end_stream=not rest)
            yield self._h2.data_to_send()

    def _flush(self) -> None:
        if not self._writing.locked() and (data := self._h2.data_to_send()):
            self._writer.write(data)
