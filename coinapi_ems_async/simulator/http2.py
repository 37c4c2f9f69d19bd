"""HTTP/2 on the server side: one connection that carries a service function, each stream a request."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from .endings import cut, cut_when_sent, send_at_once
from .frames import HIGHEST, FrameFilter, goaway
from .heads import headers_of, machine, read_headers
from .http1 import LOGGER, MAX_BODY, MAX_HEAD, Host
from .messages import Answer, End, Fault, Request
from .timers import Timer
from .variants import Http2

_WINDOW: Final = 65_535  # bytes of credit that streams start with, unless something else is said
_LINGER: Final = 0.5  # s, to let a peer read what was said before the line is closed


@dataclass(slots=True)
class _Stream:
    headers: dict[str, str]
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    served: bool = False
    timer: Timer | None = None
    rest: memoryview | None = None
    """What is still to be sent of the answer's body."""


class Connection(asyncio.Protocol):
    """One accepted connection. Streams are answered as their answers fall due; there is no task, only timers."""

    def __init__(self, host: Host, speech: Http2) -> None:
        self._host = host
        self._speech = speech
        self._loop = asyncio.get_running_loop()
        self._h2 = machine(speech)
        self._frames = FrameFilter()
        self._streams: dict[int, _Stream] = {}
        self._out = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = None
        self._early: bytearray | None = None
        self._withheld: list[tuple[int, int]] = []
        self._last = HIGHEST
        self._leaving = False
        self._deaf = False
        self._full = False
        self._certified = False
        self.number = 0
        self._events: Mapping[type[Any], Callable[[Any], None]] = {
            RequestReceived: self._begun,
            DataReceived: self._data,
            StreamEnded: self._ended,
            StreamReset: self._reset,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and say how we speak."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._certified = bool(transport.get_extra_info("peercert"))
        send_at_once(transport)
        self.number = self._host.joined(self)
        if self._speech.settings_delay:
            self._early = bytearray()
            self._timer = Timer(self._loop, self._speech.settings_delay, self._greet)
        else:
            self._greet()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; answers not yet given are never given."""
        self._deaf = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for number in list(self._streams):
            self._forget(number)
        self._host.hung.pop((self, 0), None)
        self._host.gone(self)

    def data_received(self, data: bytes) -> None:
        """Read on; broken HTTP/2 ends the connection."""
        if self._deaf:
            return
        if self._early is not None:
            self._early += data
            return
        try:
            events = self._h2.receive_data(self._frames.feed(data))
        except ProtocolError:
            self._end("fin")
            return
        for event in events:
            handle = self._events.get(type(event))
            if handle is not None and not self._deaf:
                handle(event)
        self._proceed()

    def pause_writing(self) -> None:
        """Send no more of the bodies."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on with them."""
        self._full = False
        self._proceed()

    def abort(self) -> None:
        """Cut the connection with a reset; nothing more is sent."""
        if self._transport is not None:
            self._deaf = True
            cut(self._transport)

    def _greet(self) -> None:
        early, self._early = self._early, None
        self._h2.initiate_connection()
        if not self._speech.credit:
            self._host.hung[self, 0] = self._grant
        self._flush()
        if early:
            self.data_received(bytes(early))

    # What the client says

    def _begun(self, event: RequestReceived) -> None:
        number, headers = event.stream_id, read_headers(event.headers)
        if number > self._last:
            return
        self._streams[number] = _Stream(headers)
        if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEAD:
            self._refuse(number, 431)

    def _data(self, event: DataReceived) -> None:
        number, size = event.stream_id, event.flow_controlled_length
        if self._speech.credit:
            self._h2.acknowledge_received_data(size, number)
        else:
            self._withheld.append((number, size))
        stream = self._streams.get(number)
        if stream is None or stream.served:
            return
        stream.body.append(bytes(event.data))
        stream.size += len(stream.body[-1])
        if stream.size > MAX_BODY:
            self._refuse(number, 413)

    def _grant(self) -> None:
        """Give back the credit that was withheld, and to streams as much as is usual."""
        withheld, self._withheld = self._withheld, []
        for number, size in withheld:
            self._h2.acknowledge_received_data(size, number)
        if self._h2.local_settings.initial_window_size < _WINDOW:
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self._host.hung[self, 0] = self._grant
        self._flush()

    def _reset(self, event: StreamReset) -> None:
        self._forget(event.stream_id)

    def _ended(self, event: StreamEnded) -> None:
        number = event.stream_id
        stream = self._streams.get(number)
        if stream is None or stream.served:
            return
        stream.served = True
        headers = stream.headers
        method = headers.pop(":method", "")
        path = headers.pop(":path", "")
        headers.setdefault("host", headers.pop(":authority", ""))
        request = Request(
            method=method,
            path=path,
            headers={name: value for name, value in headers.items() if not name.startswith(":")},
            body=b"".join(stream.body),
            connection=self.number,
            certified=self._certified,
            version="2",
        )
        self._serve(number, stream, request)

    def _serve(self, number: int, stream: _Stream, request: Request) -> None:
        try:
            answer = self._host.service(request)
        except Exception:
            LOGGER.exception("the simulator failed on %s", request.method)
            answer = Answer(500)
        if answer.fault is not None and answer.fault.goaway is not None:
            self._limit(number, answer.fault)
        head_only = request.method == "HEAD"
        if answer.hang:
            self._host.hung[self, number] = lambda: self._due(number, answer, head_only)
        elif answer.delay > 0:
            stream.timer = Timer(self._loop, answer.delay, lambda: self._due(number, answer, head_only))
        else:
            self._give(number, answer, head_only)

    def _refuse(self, number: int, status: int) -> None:
        stream = self._streams[number]
        stream.served = True
        stream.body.clear()
        self._give(number, Answer(status), head_only=False)

    def _limit(self, number: int, fault: Fault) -> None:
        """Settle the last stream of the coming GOAWAY: what was handed to an operation is not disowned."""
        told = {"zero": 0, "below": max(number - 2, 0), "equal": number, "above": number + 2}[
            fault.goaway or "zero"
        ]
        others = (one for one, stream in self._streams.items() if stream.served and one != number)
        self._last = min(self._last, max(told, *others, 0))
        if fault.goaway_notice:
            self._take()
            self._out += goaway(HIGHEST)

    # What we say

    def _due(self, number: int, answer: Answer, head_only: bool) -> None:
        if number in self._streams:
            self._give(number, answer, head_only)
            self._proceed()

    def _give(self, number: int, answer: Answer, head_only: bool) -> None:
        fault = answer.fault or Fault()
        if answer.reset:
            self._flush()
            self.abort()
            return
        if fault.goaway is not None and fault.truncate is None:
            self._go_away()
        if fault.raw is not None:
            self._take()
            self._out += fault.raw
            self._forget(number)
        elif fault.silent:
            self._drop(number, fault)
        else:
            self._write(number, answer, fault, head_only)
        self._end("fin" if fault.goaway_cut and fault.end == "keep" else fault.end)

    def _drop(self, number: int, fault: Fault) -> None:
        if fault.stream_error is not None:
            self._h2.reset_stream(number, fault.stream_error)
        self._forget(number)

    def _write(self, number: int, answer: Answer, fault: Fault, head_only: bool) -> None:
        self._take()
        start, stream = len(self._out), self._streams[number]
        body = b"" if head_only or answer.status in (204, 304) else answer.body
        self._h2.send_headers(number, headers_of(answer), end_stream=fault.truncate is None and not body)
        if fault.truncate is None and not body:
            self._forget(number)
        else:
            stream.rest = memoryview(body)[: fault.truncate] or None
            self._send_some(number, stream, end_stream=fault.truncate is None)
        self._take()
        self._out += self._out[start:] * (fault.copies - 1)
        if fault.truncate is not None:
            if fault.goaway is not None:
                self._go_away()
            self._drop(number, fault)
        elif answer.sent is not None:
            answer.sent(answer.status)

    def _go_away(self) -> None:
        self._take()
        self._out += goaway(self._last)
        self._leaving = True

    def _send_some(self, number: int, stream: _Stream, *, end_stream: bool = True) -> None:
        """Send as much of a body as there is credit for."""
        while stream.rest is not None:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if self._full or (room <= 0 and stream.rest):
                return
            part, stream.rest = stream.rest[:room], stream.rest[room:]
            done = not stream.rest
            self._h2.send_data(number, part.tobytes(), end_stream=done and end_stream)
            if done:
                stream.rest = None
                if end_stream:
                    self._forget(number)

    def _proceed(self) -> None:
        """Send what can be sent, in one write, and leave when all that was promised is done."""
        if self._transport is None or self._transport.is_closing():
            return
        for number, stream in list(self._streams.items()):
            if stream.rest is not None:
                self._send_some(number, stream)
        self._flush()
        if self._leaving and not self._deaf and not any(number <= self._last for number in self._streams):
            self._end("fin")

    def _end(self, end: End) -> None:
        if end == "keep" or self._transport is None:
            return
        self._deaf = True
        for number in list(self._streams):
            self._forget(number)
        self._host.hung.pop((self, 0), None)
        self._flush()
        if end == "reset":
            cut_when_sent(self._loop, self._transport)
        else:
            self._close()

    def _close(self) -> None:
        # A FIN first: closing with bytes unread would be a reset, and could overtake what was said.
        if self._transport is None:
            return
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the peer may be gone already
                self._transport.write_eof()
            self._timer = Timer(self._loop, _LINGER, self._transport.close)
        else:
            self._transport.close()

    def _forget(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        self._host.hung.pop((self, number), None)
        if stream is not None and stream.timer is not None:
            stream.timer.cancel()

    def _take(self) -> None:
        self._out += self._h2.data_to_send()

    def _flush(self) -> None:
        self._take()
        if self._out and self._transport is not None:
            self._transport.write(bytes(self._out))
            self._out.clear()
