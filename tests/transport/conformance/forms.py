"""The ways to write one and the same answer, in HTTP/1.1 and in HTTP/2."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ...wire import End, Reply, Transport
from ...wire2 import head_block

Http1 = Callable[[bytes], bytes]
"""From a body to the answer of status 200."""
Frames = list[Frame | bytes]
Http2 = Callable[[int, bytes], Frames]
"""The same on a stream."""


class Form(NamedTuple):
    """`end` is what the server does afterwards in HTTP/1.1."""

    name: str
    http1: Http1 | None = None
    http2: Http2 | None = None
    end: End = "keep"

    def exists_in(self, transport: Transport) -> bool:
        return (self.http2 if transport == "http2" else self.http1) is not None

    def reply(self, body: bytes, *, piece: int | None = None) -> Reply:
        """Return the reply for either protocol."""
        frames = self.http2
        if frames is None:
            assert self.http1 is not None
            return Reply(self.http1(body), self.end, piece=piece)
        data = self.http1(body) if self.http1 is not None else b""
        end = self.end if self.http1 is not None and data else "keep"
        return Reply(data, end, frames=lambda stream: serialized(frames(stream, body)), piece=piece)


def serialized(frames: Frames) -> bytes:
    return b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)


# HTTP/1.1


def plain(*headers: str, version: str = "1.1", first: str = "", reason: str = " OK") -> Http1:
    """Framed by its length."""

    def write(body: bytes) -> bytes:
        lines = [f"HTTP/{version} 200{reason}", *headers, f"Content-Length: {len(body)}"]
        return (first + "\r\n".join(lines) + "\r\n\r\n").encode() + body

    return write


def unframed(version: str, *headers: str) -> Http1:
    return lambda body: "\r\n".join([f"HTTP/{version} 200 OK", *headers, "", ""]).encode() + body


def chunked(size: int, *headers: str, extension: str = "", trailers: str = "", digits: str = "x") -> Http1:
    def write(body: bytes) -> bytes:
        head = "\r\n".join(["HTTP/1.1 200 OK", *headers, "Transfer-Encoding: chunked", "", ""]).encode()
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        line = [f"{len(part):{digits}}{extension}\r\n".encode() + part + b"\r\n" for part in parts]
        return head + b"".join(line) + f"0{extension}\r\n{trailers}\r\n".encode()

    return write


def packed(encoding: str, pack: Callable[[bytes], bytes], way: Callable[[str], Http1] = plain) -> Http1:
    return lambda body: way(f"Content-Encoding: {encoding}")(pack(body))


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


# HTTP/2


def head(stream: int, *headers: tuple[str, str], ends: bool = False, **fields: int) -> HeadersFrame:
    flags = ["END_HEADERS", *(["END_STREAM"] if ends else []), *(["PADDED"] if fields else [])]
    return HeadersFrame(stream, head_block(*headers), flags=flags, **fields)


def raw_frame(kind: int, stream: int, body: bytes, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def data(stream: int, body: bytes, *, ends: bool = True, padding: int = 0) -> DataFrame:
    flags = [*(["END_STREAM"] if ends else []), *(["PADDED"] if padding else [])]
    return DataFrame(stream, body, flags=flags, pad_length=padding)


def in_frames(size: int, *, with_length: bool = True, padding: int = 0) -> Http2:
    """A head, and the body in frames of that size."""

    def write(stream: int, body: bytes) -> Frames:
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        last = len(parts) - 1
        length = [("content-length", str(len(body)))] if with_length else []
        frames = [data(stream, part, ends=at == last, padding=padding) for at, part in enumerate(parts)]
        return [head(stream, (":status", "200"), *length), *frames]

    return write


def _padded(stream: int, body: bytes) -> Frames:
    return [head(stream, (":status", "200"), pad_length=200), data(stream, body, padding=255)]


def _empty_last(stream: int, body: bytes) -> Frames:
    return [head(stream, (":status", "200")), data(stream, body, ends=False), data(stream, b"")]


def _trailed(stream: int, body: bytes) -> Frames:
    return [
        head(stream, (":status", "200")),
        data(stream, body, ends=False),
        head(stream, ("x-sum", "3"), ends=True),
    ]


def _interim(times: int, status: str) -> Http2:
    def write(stream: int, body: bytes) -> Frames:
        interim = [head(stream, (":status", status), ("link", "</x>")) for _ in range(times)]
        return [*interim, head(stream, (":status", "200")), data(stream, body)]

    return write


def _continued(stream: int, body: bytes) -> Frames:
    block = head_block((":status", "200"), ("server", "x"), ("content-length", str(len(body))))
    parts = [block[at : at + 3] for at in range(0, len(block), 3)]
    rest = [ContinuationFrame(stream, part) for part in parts[1:]]
    rest[-1].flags.add("END_HEADERS")
    return [HeadersFrame(stream, parts[0]), *rest, data(stream, body)]


def _weighed(stream: int, body: bytes) -> Frames:
    weighed = HeadersFrame(stream, head_block((":status", "200")), depends_on=0, stream_weight=7)
    weighed.flags.add("END_HEADERS")
    weighed.flags.add("PRIORITY")
    return [weighed, data(stream, body)]


def _between_others(stream: int, body: bytes) -> Frames:
    """Frames that may come at any time, known and unknown."""
    half = len(body) // 2
    return [
        SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 99, 0xFAFA: 1}),
        PingFrame(0, b"12345678"),
        head(stream, (":status", "200")),
        raw_frame(0xFA, stream, b"whatever"),
        data(stream, body[:half], ends=False),
        WindowUpdateFrame(0, 1000),
        WindowUpdateFrame(stream, 1000),
        PriorityFrame(stream + 2, depends_on=0, stream_weight=3),
        data(stream, b"", ends=False),
        data(stream, body[half:]),
    ]


def _packed2(encoding: str, pack: Callable[[bytes], bytes]) -> Http2:
    def write(stream: int, body: bytes) -> Frames:
        return [head(stream, (":status", "200"), ("content-encoding", encoding)), data(stream, pack(body))]

    return write


_HINT = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

FORMS: Final = (
    Form("as usual", plain(), in_frames(1000)),
    Form("no reason", plain(reason=" ")),
    Form("no reason and no blank", plain(reason="")),
    Form("names in capitals", lambda body: plain("SERVER: x")(body).replace(b"Content-Length", b"CONTENT-LENGTH")),
    Form("names in small letters", lambda body: plain()(body).replace(b"Content-Length", b"content-length")),
    Form("no blank after the colon", lambda body: plain()(body).replace(b"Length: ", b"Length:")),
    Form("many headers", plain(*(f"X-{n}: {n}" for n in range(100)))),
    Form("a long header", plain("X: " + "a" * 7_000)),
    Form("an empty header", plain("X:", "Y: ")),
    Form("letters outside ASCII", plain("X: café")),
    Form("an upgrade on offer", plain("Upgrade: h2,h2c", "Connection: Upgrade, Keep-Alive")),
    Form("an announced limit", plain("Connection: keep-alive", "Keep-Alive: timeout=60, max=1000")),
    Form("in one chunk", chunked(100_000)),
    Form("in chunks of one", chunked(1), in_frames(1)),
    Form("in odd chunks", chunked(7), in_frames(7, with_length=False)),
    Form("in chunks with large digits", chunked(30, digits="04X")),
    Form("in chunks with extensions", chunked(13, extension=';a=b;c="d"')),
    Form("with trailers", chunked(50, trailers="X-Sum: 3\r\nX-More: 4\r\n"), _trailed),
    Form("chunks in capitals", lambda body: chunked(9)(body).replace(b" chunked", b" Chunked")),
    Form("closing", plain("Connection: close"), end="fin"),
    Form("closing, and not done so", plain("Connection: close"), end="hang"),
    Form("chunks and closing", chunked(9, "Connection: close"), end="fin"),
    Form("HTTP/1.0 with a length", plain(version="1.0"), end="fin"),
    Form("HTTP/1.0 that keeps", plain("Connection: keep-alive", version="1.0")),
    Form("HTTP/1.0 to the end", unframed("1.0"), end="fin"),
    Form("to the end", unframed("1.1", "Server: x"), end="fin"),
    Form("to the end, as announced", unframed("1.1", "Connection: close"), end="fin"),
    Form("after 100", plain(first="HTTP/1.1 100 Continue\r\n\r\n"), _interim(1, "100")),
    Form("after 103", plain(first=_HINT), _interim(1, "103")),
    Form("after eight hints", plain(first=_HINT * 8), _interim(8, "103")),
    Form("gzip", packed("gzip", gzip.compress), _packed2("gzip", gzip.compress)),
    Form("gzip in chunks", packed("gzip", gzip.compress, lambda line: chunked(11, line))),
    Form("gzip to the end", packed("gzip", gzip.compress, lambda line: unframed("1.1", line)), end="fin"),
    Form("deflate", packed("deflate", zlib.compress), _packed2("deflate", zlib.compress)),
    Form("deflate without its header", packed("deflate", _raw_deflate)),
    Form("not packed, as announced", plain("Content-Encoding: identity")),
    Form("padded", None, _padded),
    Form("padded bit by bit", None, in_frames(9, padding=30)),
    Form("an empty frame last", None, _empty_last),
    Form("a head in bits", None, _continued),
    Form("with a weight", None, _weighed),
    Form("between other frames", None, _between_others),
)


def forms_in(transport: Transport) -> Iterator[Form]:
    return (form for form in FORMS if form.exists_in(transport))
