"""Frames of HTTP/2 that the `h2` package must not see, or does not let us write."""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first."""
HIGHEST: Final = 2**31 - 1
"""The highest number a stream can have."""

_HEAD: Final = 9
_GOAWAY: Final = 7


def goaway(last: int, code: int = 0) -> bytes:
    """Return a GOAWAY; h2 would send nothing more after one of its own."""
    return struct.pack(">HBBBLLL", 0, 8, _GOAWAY, 0, 0, last, code)


class FrameFilter:
    """Takes a client's GOAWAY out of what it sends: h2 would then refuse the rest of the conversation."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._preface = len(PREFACE)

    def feed(self, data: bytes) -> bytes:
        """Return the preface and the frames that are complete by now."""
        self._held += data
        end, kept = min(self._preface, len(self._held)), bytearray()
        self._preface -= end
        kept += self._held[:end]
        while not self._preface and len(self._held) >= end + _HEAD:
            size = int.from_bytes(self._held[end : end + 3], "big") + _HEAD
            if len(self._held) < end + size:
                break
            if self._held[end + 3] != _GOAWAY:
                kept += self._held[end : end + size]
            end += size
        del self._held[:end]
        return bytes(kept)
