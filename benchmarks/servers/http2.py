"""HTTP/2 as far as a canned answer needs it: frames written by hand, header blocks never decoded.

A server on the h2 package would take longer for an answer than any client measured here for its request.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from ..canned import REPORT

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_MAX_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 2**16 - 1
_STREAMS: Final = 4096


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_block(length: int) -> bytes:
    """Return the response's headers without use of the dynamic table (RFC 7541, 6.2.2 and appendix A)."""
    kind, size = b"application/json", str(length).encode()
    return b"\x88" + b"\x0f\x10" + bytes((len(kind),)) + kind + b"\x0f\x0d" + bytes((len(size),)) + size


_BLOCK: Final = header_block(len(REPORT))
_GREETING: Final = frame(_SETTINGS, 0, 0, b"\x00\x03" + _STREAMS.to_bytes(4, "big")) + frame(
    _WINDOW_UPDATE, 0, 0, (_MAX_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
)
_ACKNOWLEDGED: Final = frame(_SETTINGS, _ACK, 0)
_HEAD: Final = frame(_HEADERS, _END_HEADERS, 0, _BLOCK)[:5]
_BODY: Final = frame(_DATA, _END_STREAM, 0, REPORT)[:5]


def answer(stream: int) -> bytes:
    """Return the frames of one whole response."""
    number = stream.to_bytes(4, "big")
    return _HEAD + number + _BLOCK + _BODY + number + REPORT


class Http2:
    """Answers every stream whose request has arrived whole with the report.

    Keeps to the client's window for the connection; a window for one stream smaller than the report is not
    foreseen.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._buffer = b""
        self._greeted = False
        self._window = _FIRST_WINDOW
        self._waiting: deque[int] = deque()
        self._received = 0

    def feed(self, data: bytes) -> bool:
        """Take what arrived; returns whether an order was answered, or anything else that was asked for."""
        self._buffer += data
        out: list[bytes] = []
        at = 0
        if not self._greeted:
            if len(self._buffer) < len(PREFACE):
                return False
            at, self._greeted = len(PREFACE), True
            out.append(_GREETING)
        while len(self._buffer) >= at + 9:
            end = at + 9 + int.from_bytes(self._buffer[at : at + 3], "big")
            if len(self._buffer) < end:
                break
            self._take(self._buffer[at:end], out)
            at = end
        self._buffer = self._buffer[at:]
        answered = self._answers(out)
        if out:
            self._write(b"".join(out))
        return answered

    def _take(self, one: bytes, out: list[bytes]) -> None:
        kind, flags, stream = one[3], one[4], int.from_bytes(one[5:9], "big")
        if kind in (_HEADERS, _DATA):
            if flags & _END_STREAM:
                self._waiting.append(stream)
            if kind == _DATA:
                self._received += len(one) - 9
        elif kind == _SETTINGS and not flags & _ACK:
            out.append(_ACKNOWLEDGED)
        elif kind == _PING and not flags & _ACK:
            out.append(frame(_PING, _ACK, 0, one[9:]))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(one[9:13], "big")

    def _answers(self, out: list[bytes]) -> bool:
        answered = False
        while self._waiting and self._window >= len(REPORT):
            self._window -= len(REPORT)
            out.append(answer(self._waiting.popleft()))
            answered = True
        if self._received > _MAX_WINDOW // 2:
            out.append(frame(_WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0
        return answered
