"""HTTP/2 by hand: frames as they come, and which of them came in one piece."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hpack.hpack import Decoder

from coinapi_ems_async.simulator import Simulator

from .helpers import EAST

DATA, HEADERS, RST, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM = 1
HIGHEST = 2**31 - 1


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes
    piece: int
    """Number of the read it came with."""

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[-4:], "big")

    @property
    def last(self) -> int:
        """The last stream a GOAWAY tells."""
        return int.from_bytes(self.payload[:4], "big")


class Peer:
    """A client that answers nothing by itself but PING and SETTINGS: credit is given by `credit` only."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: Mapping[SettingCodes | int, int] | None = None,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.local_settings.update(settings or {})
        self.h2.local_settings.acknowledge()
        self.frames: list[Frame] = []
        self.ended = ""
        """How the connection ended: "", "fin" or "reset"."""
        self._hpack = Decoder()
        self._heads: dict[int, list[dict[str, str]]] = {}
        self._held = b""
        self._pieces = 0

    def greeting(self) -> bytes:
        self.h2.initiate_connection()
        return self.h2.data_to_send()

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Return the stream of a request, and its frames."""
        number = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.h2.send_headers(number, [*fields, *more], end_stream=not body)
        if body:
            self.h2.send_data(number, body, end_stream=True)
        return number, self.h2.data_to_send()

    def order(self, sim: Simulator, fields: Mapping[str, Any]) -> tuple[int, bytes]:
        body = json.dumps(fields).encode()
        return self.request("POST", "/v1/orders", body, content_type="application/json", x_coinapi_key=sim.api_key)

    def write(self, *data: bytes) -> None:
        """Send in one piece."""
        self.writer.write(b"".join(data))

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        number, data = self.request(method, path, body, **headers)
        self.write(data)
        return number

    def place(self, sim: Simulator, fields: Mapping[str, Any]) -> int:
        number, data = self.order(sim, fields)
        self.write(data)
        return number

    def get(self, sim: Simulator, path: str) -> int:
        return self.send("GET", path, x_coinapi_key=sim.api_key)

    def credit(self, size: int, stream: int) -> None:
        """Allow `size` more bytes, on the connection (0) or on a stream."""
        self.write(b"\0\0\4\10\0" + stream.to_bytes(4, "big") + size.to_bytes(4, "big"))

    def reset(self, stream: int) -> None:
        self.write(b"\0\0\4\3\0" + stream.to_bytes(4, "big") + (8).to_bytes(4, "big"))

    def goaway(self) -> None:
        self.write(b"\0\0\10\7\0" + bytes(4) + bytes(8))

    async def read(self) -> None:
        """Wait for one more piece, or the end."""
        try:
            data = await asyncio.wait_for(self.reader.read(1_000_000), 5)
        except ConnectionResetError:
            self.ended = "reset"
            return
        self._pieces += 1
        self.ended = "" if data else "fin"
        self._held += data
        while len(self._held) >= 9 and len(self._held) >= 9 + int.from_bytes(self._held[:3], "big"):
            size = int.from_bytes(self._held[:3], "big")
            head, payload, self._held = self._held[:9], self._held[9 : 9 + size], self._held[9 + size :]
            stream = int.from_bytes(head[5:9], "big")
            self._note(Frame(head[3], head[4], stream, payload, self._pieces), head + payload)

    def _note(self, frame: Frame, raw: bytes) -> None:
        self.frames.append(frame)
        if frame.kind == HEADERS:
            pairs = {str(name): str(value) for name, value in self._hpack.decode(frame.payload)}
            self._heads.setdefault(frame.stream, []).append(pairs)
        if frame.kind in (SETTINGS, 6):
            self.h2.receive_data(raw)
            if not self.writer.is_closing():
                self.write(self.h2.data_to_send())

    async def until_end(self) -> str:
        while not self.ended:
            await self.read()
        return self.ended

    def of(self, kind: int, stream: int | None = None) -> list[Frame]:
        return [one for one in self.frames if one.kind == kind and stream in (None, one.stream)]

    async def frame(self, kind: int, stream: int | None = None) -> Frame:
        """Wait for a frame."""
        while not self.of(kind, stream):
            assert not self.ended, f"{self.ended} after {self.frames}"
            await self.read()
        return self.of(kind, stream)[0]

    def body(self, stream: int) -> bytes:
        return b"".join(one.payload for one in self.of(DATA, stream))

    def head(self, stream: int) -> dict[str, str]:
        """The first response head of a stream."""
        return self._heads[stream][0]

    async def answer(self, stream: int) -> tuple[int, bytes]:
        """Wait for a whole answer; return its status and body."""
        while not any(one.flags & END_STREAM for one in self.of(HEADERS, stream) + self.of(DATA, stream)):
            assert not self.ended, f"{self.ended} after {self.frames}"
            await self.read()
        return int(self.head(stream)[":status"]), self.body(stream)


@asynccontextmanager
async def speaking(
    sim: Simulator,
    site: str = EAST,
    *,
    settings: Mapping[SettingCodes | int, int] | None = None,
    tls: ssl.SSLContext | None = None,
    greet: bool = True,
) -> AsyncIterator[Peer]:
    """A connection to a site that speaks HTTP/2 from its first byte."""
    port = int(sim.site_urls[site].rpartition(":")[2])
    name = None if tls is None else "127.0.0.1"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    peer = Peer(reader, writer, settings)
    if greet:
        peer.write(peer.greeting())
    try:
        yield peer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
