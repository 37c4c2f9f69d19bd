"""The malformed answers, read from `tests/data/malformed`."""

import gzip
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from ...wire2 import head_block

_DATA = Path(__file__).parents[2] / "data" / "malformed"


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of HTTP/1.1; the fields are explained at the head of its file."""

    name: str
    data: bytes
    expected: tuple[int, bytes] | None
    open: bool
    cut: bool
    again: bool
    why: str


class MalformedFrames(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of HTTP/2: `frames` as bytes for a request on stream 1."""

    name: str
    frames: bytes
    expected: tuple[int, bytes] | None
    why: str


def http1() -> list[Malformed]:
    return [
        Malformed(
            name=entry["name"],
            data=_bytes(entry["bytes"]),
            expected=_expected(entry["expected"]),
            open=entry.get("open", False),
            cut=entry.get("cut", False),
            again=entry.get("again", False),
            why=entry["why"],
        )
        for entry in _read("http1.toml")
    ]


def http2() -> list[MalformedFrames]:
    return [
        MalformedFrames(
            name=entry["name"],
            frames=b"".join(map(_frames, entry["frames"])),
            expected=_expected(entry["expected"]),
            why=entry["why"],
        )
        for entry in _read("http2.toml")
    ]


def _read(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads((_DATA / name).read_text())["answer"]
    return entries


def _expected(parts: Any) -> tuple[int, bytes] | None:
    status, _, body = _bytes(parts).partition(b" ")
    return None if status == b"error" else (int(status), body)


# HTTP/1.1: text and what is easier told than written


def _bytes(parts: Any) -> bytes:
    return b"".join(_part(part) for part in (parts if isinstance(parts, list) else [parts]))


def _part(part: Any) -> bytes:
    if isinstance(part, str):
        return part.encode("latin-1")
    times = part.get("times", 1)
    if "gzip" in part:
        return gzip.compress(part["gzip"].encode() * times, mtime=0)[: part.get("keep")]
    return bytes(part["repeat"].encode("latin-1") * times)


# HTTP/2: frames in words

_LINE: Final = re.compile(r"(?:(\d+) \* )?([A-Z_]+)(?:@(\d+|next))?(!?)(-?) ?(.*)", re.DOTALL)
_STREAMS: Final = {None: 1, "next": 3}
_PROMISED: Final = 2


def _frames(line: str) -> bytes:
    match = _LINE.fullmatch(line)
    assert match is not None, line
    times, kind, stream, ends, goes_on, payload = match.groups()
    number = _STREAMS[stream] if stream in _STREAMS else int(stream)
    payload = re.sub(r"(.)\{(\d+)\}", lambda found: found[1] * int(found[2]), payload)
    payload = re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), payload)
    flags = [*(["END_STREAM"] if ends else []), *([] if goes_on else ["END_HEADERS"])]
    made = bytes.fromhex(payload) if kind == "RAW" else _MAKERS[kind](number, payload, flags).serialize()
    return bytes(made * int(times or 1))


def _block(payload: str) -> bytes:
    pairs = [field.split("=", 1) for field in payload.split("|")]
    return head_block(*((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs))


def _only(flags: list[str], *wanted: str) -> list[str]:
    return [flag for flag in flags if flag in wanted]


def _settings(payload: str) -> dict[int, int]:
    pairs = (pair.split("=") for pair in payload.split())
    return {int(name): int(value) for name, value in pairs}


def _at(frame: Frame, stream: int) -> Frame:
    """Move a frame to a stream on which hyperframe would not let it be made."""
    frame.stream_id = stream
    return frame


_MAKERS: Final[Mapping[str, Callable[[int, str, list[str]], Frame]]] = {
    "HEADERS": lambda stream, text, flags: _at(HeadersFrame(1, _block(text), flags=flags), stream),
    "CONTINUATION": lambda stream, text, flags: ContinuationFrame(
        stream, _block(text), flags=_only(flags, "END_HEADERS")
    ),
    "PUSH_PROMISE": lambda stream, text, flags: PushPromiseFrame(
        stream, _PROMISED, _block(text), flags=_only(flags, "END_HEADERS")
    ),
    "DATA": lambda stream, text, flags: _at(
        DataFrame(1, text.encode("latin-1"), flags=_only(flags, "END_STREAM")), stream
    ),
    "RST_STREAM": lambda stream, text, flags: _at(RstStreamFrame(1, int(text)), stream),
    "PING": lambda stream, text, flags: _at(PingFrame(0, text.encode()), stream),
    "SETTINGS": lambda stream, text, flags: _at(SettingsFrame(0, settings=_settings(text)), stream),
    "WINDOW_UPDATE": lambda stream, text, flags: WindowUpdateFrame(stream, int(text)),
}
