"""HTTP/1.1 on the server side: one connection that carries a service function."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final, Protocol, cast

import httptools

from .door import Line
from .endings import cut, cut_when_sent, send_at_once
from .messages import Answer, Fault, Request, Service
from .timers import Timer

LOGGER: Final = logging.getLogger("coinapi_ems_async.simulator")
MAX_BODY: Final = 1_000_000
"""Bytes of a request body; more is answered 413."""
MAX_HEAD: Final = 32_768
"""Bytes of a request's target and headers; more is answered 431."""

_MAX_UNREAD_HEAD: Final = 524_288  # a head that never ends; above what one read can bring
_MAX_QUEUE: Final = 64  # pipelined requests after which we stop reading
_LINGER: Final = 0.5  # s, to let a peer read the refusal of what it is still sending
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Host(Protocol):
    """What a connection needs from the listener it belongs to; `hung` says how to go on with what hangs."""

    service: Service
    hung: dict[Hashable, Callable[[], None]]

    def joined(self, connection: Line) -> int:
        """Note a new connection and return its number."""
        ...

    def gone(self, line: Line) -> None:
        """Note that a connection is no more."""
        ...


class Connection(asyncio.Protocol):
    """One accepted connection. Requests are answered in order; there is no task, only timers."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Request | Answer, bool]] = deque()
        self._timer: Timer | None = None
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._deaf = False
        self._paused = False
        self._in_head = False
        self._unread_head = 0
        self._certified = False
        self.number = 0
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._certified = bool(transport.get_extra_info("peercert"))
        send_at_once(transport)
        self.number = self._host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; an answer not yet given is never given."""
        if self._timer is not None:
            self._timer.cancel()
        self._host.hung.pop(self, None)
        self._host.gone(self)
        self._queue.clear()
        self._transport = None
        self._deaf = True

    def data_received(self, data: bytes) -> None:
        """Read on; broken HTTP is refused and ends the connection."""
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The offer to change protocols is ignored: the request is answered, the rest is not ours.
            self._deaf = True
        except httptools.HttpParserError:
            self._refuse(400)
        self._unread_head = self._unread_head + len(data) if self._in_head else 0
        if self._unread_head > _MAX_UNREAD_HEAD:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """Start a request."""
        self._in_head = True
        self._begin()

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; a repeated one is joined with a comma."""
        self._count_head(len(name) + len(value))
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Refuse a body that is announced too large; encourage a peer that waits to send one."""
        self._in_head = False
        length = self._headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 9 or int(length) > MAX_BODY):
            self._refuse(413)
        elif self._headers.get("expect", "").lower() == "100-continue" and not self._busy:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body_size += len(body)
        if self._body_size > MAX_BODY:
            self._body.clear()
            self._refuse(413)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request behind those that wait."""
        if self._deaf:
            return
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=self._target.decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            connection=self.number,
            certified=self._certified,
            version=self._parser.get_http_version(),
        )
        self._queue.append((request, self._parser.should_keep_alive()))
        if len(self._queue) > _MAX_QUEUE and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._pump()

    def abort(self) -> None:
        """Cut the connection with a reset; nothing more is sent."""
        if self._transport is not None:
            cut(self._transport)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        if not self._deaf:
            self._deaf = True
            self._queue.append((Answer(status), False))
            self._pump()

    def _pump(self) -> None:
        while self._queue and not self._busy:
            item, keep = self._queue.popleft()
            self._handle(item, keep)
        if self._paused and not self._queue and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _handle(self, item: Request | Answer, keep: bool) -> None:
        self._busy = True
        if isinstance(item, Answer):
            self._give(item, keep, "")
            return
        method = item.method
        try:
            answer = self._host.service(item)
        except Exception:
            LOGGER.exception("the simulator failed on %s", method)
            answer = Answer(500)
        if answer.hang:
            self._host.hung[self] = lambda: self._resume(answer, keep, method)
        elif answer.delay > 0:
            self._timer = Timer(self._loop, answer.delay, lambda: self._resume(answer, keep, method))
        else:
            self._give(answer, keep, method)

    def _resume(self, answer: Answer, keep: bool, method: str) -> None:
        self._timer = None
        self._give(answer, keep, method)
        self._pump()

    def _give(self, answer: Answer, keep: bool, method: str) -> None:
        self._busy = False
        if self._transport is None or self._transport.is_closing():
            return
        if answer.reset:
            self._deaf = True
            self._queue.clear()
            self.abort()
            return
        data, fault = encode(answer, keep=keep, head_only=method == "HEAD"), answer.fault
        self._write(data if fault is None else _damaged(data, answer.body, fault))
        if answer.sent is not None and (fault is None or fault.whole):
            answer.sent(answer.status)
        if fault is not None and fault.end == "reset":
            self._deaf = True
            self._queue.clear()
            cut_when_sent(self._loop, self._transport)
        elif not keep or (fault is not None and fault.end == "fin"):
            self._close()

    def _close(self) -> None:
        self._queue.clear()
        if self._transport is not None and self._deaf:
            self._timer = Timer(self._loop, _LINGER, self._transport.close)
        elif self._transport is not None:
            self._deaf = True
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def encode(answer: Answer, *, keep: bool, head_only: bool) -> bytes:
    """Return an answer as HTTP/1.1; a Content-Length among its headers is believed, right or wrong."""
    names = {name.lower() for name in answer.headers}
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}",
        f"Date: {http_date(int(time()))}",
        "Server: Kestrel",
    ]
    empty = answer.status in (204, 304)
    if "content-length" not in names and not empty:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep:
        lines.append("Connection: close")
    lines.extend(f"{name}: {value}" for name, value in answer.headers.items())
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head if head_only or empty else head + answer.body


def _damaged(data: bytes, body: bytes, fault: Fault) -> bytes:
    """What a fault leaves of an answer that was encoded as `data`."""
    if fault.raw is not None:
        data = fault.raw
    elif fault.truncate is not None and data.endswith(body):
        data = data[: len(data) - len(body) + fault.truncate]
    return data * fault.copies


@lru_cache(maxsize=2)
def http_date(second: int) -> str:
    """Return a time, seconds since 1970, as headers write it."""
    return formatdate(second, usegmt=True)
