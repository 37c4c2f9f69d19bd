"""What can be told of a body: whether it is whole though nothing framed it, and what it was before compression."""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from ..matrix import Row
from ..operations import Request
from .base import TransportFailure, is_change

__all__ = ["check_unframed", "decoded_body", "is_json", "oversize"]

# The window bits that zlib takes for each encoding: 16 more means a gzip header.
_WINDOWS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


def is_json(body: bytes) -> bool:
    """Whether the body is one whole JSON value."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def check_unframed(request: Request, body: bytes) -> None:
    """Refuse a body whose end nothing told beforehand, unless it shows itself to be whole.

    Raises TransportFailure: CUT_ANSWER, if the request is a change and the body is not JSON from end to end;
    what reads decode is proof enough for them.
    """
    if is_change(request) and not is_json(body):
        raise TransportFailure(Row.CUT_ANSWER, "the answer may not be whole")


def oversize(limit: int) -> TransportFailure:
    """Return the failure of an answer that is too large."""
    return TransportFailure(Row.MALFORMED, f"the answer is larger than {limit} bytes")


def decoded_body(raw_headers: Sequence[tuple[bytes, bytes]], body: bytes, limit: int) -> bytes:
    """Return the body as it was before Content-Encoding (RFC 9110, 8.4), at most `limit` bytes.

    Raises TransportFailure: MALFORMED, if the encoding is not gzip or deflate, breaks off, or holds more.
    """
    if not body:  # gateways name the encoding even of answers without body
        return body
    names = [value for name, value in raw_headers if name.lower() == b"content-encoding"]
    for encoding in reversed(b",".join(names).lower().split(b",")):
        name = encoding.strip()
        if name not in (b"", b"identity"):
            body = _inflated(name, body, limit)
    return body


def _inflated(encoding: bytes, body: bytes, limit: int) -> bytes:
    window = _WINDOWS.get(encoding)
    if window is None:
        said = encoding.decode("latin-1")  # whole: half a secret could not be told from other text
        raise TransportFailure(Row.MALFORMED, f"the answer is encoded as {said!r}, which was not asked for")
    if encoding == b"deflate" and not _has_zlib_header(body):
        window = -15  # what several servers call deflate
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise TransportFailure(Row.MALFORMED, "the answer cannot be decompressed") from None
    if len(unpacked) > limit:
        raise oversize(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise TransportFailure(Row.MALFORMED, "the compressed answer is not whole")
    return unpacked


def _has_zlib_header(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
