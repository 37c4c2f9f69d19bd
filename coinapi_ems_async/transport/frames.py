"""HTTP/2 as bytes: frames out of a stream of bytes, and the header blocks of our requests. No I/O here."""

import re
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from .._version import __version__
from ..auth import Credentials
from ..operations import Request

__all__ = ["Frame", "FrameError", "FrameSplitter", "Goodbye", "RequestBlocks"]

USER_AGENT: Final = f"coinapi-ems-async/{__version__}"

# Types and flags of frames: RFC 9113, 6.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
ACK: Final = 0x1
END_HEADERS: Final = 0x4

_HEAD: Final = Struct(">HBBBL")
_HEAD_SIZE: Final = 9
_GOODBYE: Final = Struct(">LL")
_STREAM: Final = 0x7FFFFFFF  # the first bit is reserved


class FrameError(Exception):
    """What the peer sent breaks HTTP/2."""


class Frame(NamedTuple):
    """One frame as it came, its head included in `raw`."""

    kind: int
    flags: int
    stream: int
    raw: bytes


class FrameSplitter:
    """Cuts a stream of bytes into frames, however it was cut into segments.

    max_size: the largest payload that we told the peer to send (SETTINGS_MAX_FRAME_SIZE).
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._rest = b""

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now. Raises FrameError: as soon as a head tells of a larger one."""
        if self._rest:
            data = self._rest + data
        size = len(data)
        at = 0
        while size - at >= _HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            length = high << 8 | low
            if length > self._max_size:
                raise FrameError(f"a frame of {length} bytes")
            end = at + _HEAD_SIZE + length
            if end > size:
                break
            yield Frame(kind, flags, stream & _STREAM, data[at:end])
            at = end
        self._rest = data[at:]


class Goodbye(NamedTuple):
    """A GOAWAY frame: streams above `last` were not processed and never will be (RFC 9113, 6.8)."""

    last: int
    code: int

    @classmethod
    def read(cls, frame: Frame) -> "Goodbye":
        """Return what the frame says. Raises FrameError: if it is too short, or belongs to a stream."""
        if frame.stream or len(frame.raw) < _HEAD_SIZE + _GOODBYE.size:
            raise FrameError("a GOAWAY that cannot be read")
        last, code = _GOODBYE.unpack_from(frame.raw, _HEAD_SIZE)
        return cls(last & _STREAM, code)


class RequestBlocks:
    """The header blocks of requests to one site; stands in for h2's encoder.

    HPACK's dynamic table stays empty: what is the same in every request is encoded once, a block is the joining
    of a few pieces, and the key is never handed to code that may log it. This costs some 100 bytes a request.

    base_url: normalised, without trailing slash. Raises ValueError: if something would not fit into a header.
    """

    def __init__(self, base_url: str, credentials: Credentials) -> None:
        parts = urlsplit(base_url)
        self._prefix = parts.path
        self._credentials = credentials
        secure = parts.scheme == "https"
        authority = parts.netloc.removesuffix(":443" if secure else ":80")
        self._scheme = _indexed(7 if secure else 6)
        self._rest = b"".join(
            (
                _literal(1, authority),
                _literal(58, USER_AGENT),
                _literal(19, "application/json"),
                *(_literal(name.lower(), value, _NEVER_INDEXED) for name, value in credentials.headers),
            )
        )
        self._built: dict[str, bytes] = {}
        self._next = b""
        self._note = _EMPTY_TABLE

    def __repr__(self) -> str:  # the rest holds the key
        return f"<RequestBlocks {len(self._built)} built>"

    def of(self, request: Request, bearer: str | None) -> bytes:
        """Return the block of a request. Raises ValueError: if something would not fit into a header."""
        operation = request.operation
        block = self._built.get(operation.name) if request.target == operation.path else None
        if block is None:
            block = self._head(request)
            if request.target == operation.path:
                self._built[operation.name] = block
        if bearer is not None:
            block += _literal(23, f"Bearer {bearer}", _NEVER_INDEXED)
        if request.body is not None:
            block += _JSON + _literal(28, str(len(request.body)))
        return block

    def _head(self, request: Request) -> bytes:
        target = self._prefix + self._credentials.target(request.target)
        method = request.operation.method
        known = _METHODS.get(method)
        return b"".join((known or _literal(2, method), self._scheme, _literal(4, target), self._rest))

    def prepare(self, block: bytes) -> None:
        """Make it the block that `encode` returns."""
        self._next = block

    # What h2 uses of an encoder

    def encode(self, _headers: object) -> bytes:
        """Return the block prepared."""
        note, self._note = self._note, b""
        return note + self._next

    @property
    def header_table_size(self) -> int:
        """The size of the table in use."""
        return 0

    @header_table_size.setter
    def header_table_size(self, _size: int) -> None:
        self._note = _EMPTY_TABLE  # a peer that takes less than before waits for an answer (RFC 7541, 4.2)


_NOT_INDEXED: Final = 0x00
_NEVER_INDEXED: Final = 0x10
_EMPTY_TABLE: Final = b"\x20"
_FITS: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def _indexed(index: int) -> bytes:
    """Return a field of the static table (RFC 7541, appendix A)."""
    return bytes((0x80 | index,))


def _literal(name: int | str, value: str, how: int = _NOT_INDEXED) -> bytes:
    """Return a field outside the dynamic table; name: its index in the static table, or itself."""
    if isinstance(name, int):
        return _integer(how, 4, name) + _text(value)
    return bytes((how,)) + _text(name) + _text(value)


def _text(value: str) -> bytes:
    if not _FITS.fullmatch(value):
        raise ValueError("a header's value must be visible ASCII")  # it may be the key: not repeated here
    return _integer(0, 7, len(value)) + value.encode("ascii")


def _integer(first: int, bits: int, value: int) -> bytes:
    """RFC 7541, 5.1; `first` is what the first byte's other bits hold."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    said = bytearray((first | most,))
    value -= most
    while value >= 0x80:
        said.append(0x80 | value & 0x7F)
        value >>= 7
    said.append(value)
    return bytes(said)


_METHODS: Final = {"GET": _indexed(2), "POST": _indexed(3)}
_JSON: Final = _literal(31, "application/json")
