"""One HTTP/2 connection of the client: many requests at a time, on h2 (sans-I/O).

The bytes are cut into frames here, and h2 gets one frame at a time: an error in a later frame cannot take away an
answer that was complete before it, and GOAWAY, after which h2 takes nothing more, never reaches it. GOAWAY and
REFUSED_STREAM prove that a request was not processed, but only while nothing of its answer has arrived.

An attempt waits here, before its mark, until a stream is free and its whole request fits both flow-control
windows: what is marked is handed to the socket at once and whole.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final, cast

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from ..auth import Credentials
from ..matrix import Row
from ..operations import Request
from ..settings import Settings
from . import frames
from .base import Attempt, Connection, Owner, TransportFailure
from .descriptors import GONE, nothing, unread_of
from .echo import Echo
from .frames import Frame, FrameError, FrameSplitter, Goodbye, RequestBlocks
from .streams import (
    CONNECTION_WINDOW,
    MAX_FRAME,
    STREAM_WINDOW,
    Machine,
    Stream,
    Waiting,
    is_burst,
    malformed,
    name_of,
)

__all__ = ["Http2Connection"]

DEFAULT_STREAMS: Final = 100
"""At a time, if the server sets no limit (RFC 9113, 6.5.2 wants it no smaller)."""
LAST_STREAM: Final = 2**31 - 1

_QUIET: Final = 0.1
"""Seconds of silence after which unread bytes are more likely a farewell than an echo of the last exchange."""
_SOON: Final = 0.001
_LINGER: Final = 1.0
"""Seconds that a goodbye may take to leave."""
_STOPPED: Final = "the answer stopped arriving"
_PING: Final = b"ems-ping"
_RESPONSE: Final = frozenset({frames.HEADERS, frames.DATA, frames.CONTINUATION})
_OF_OPENED: Final = _RESPONSE | {frames.RST_STREAM, frames.PUSH_PROMISE, frames.WINDOW_UPDATE}
"""Frames that make sense on streams only that we have opened; priorities and extensions do on any."""


class Http2Connection(Connection, asyncio.Protocol):
    """One connection, over TLS (ALPN h2) or plain with prior knowledge.

    base_url: normalised, without trailing slash. `ready` is settled when the server has said its settings, with
    a TransportFailure if the connection ends before. Raises ValueError: if a header could not carry the
    credentials.
    """

    def __init__(
        self, owner: Owner, generation: int, base_url: str, credentials: Credentials, settings: Settings
    ) -> None:
        super().__init__(owner, generation)
        self.is_shared = True
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._blocks = RequestBlocks(base_url, credentials)
        self._h2 = Machine(self._blocks)
        self._echo = Echo(self._h2, settings.http2_ping_timeout)
        self._splitter = FrameSplitter(MAX_FRAME)
        self._transport: asyncio.Transport | None = None
        self._unread: Callable[[], int] = nothing
        self._streams: dict[int, Stream] = {}
        self._waiting = Waiting()
        self._next = 1
        self._limit = 0
        self._stream_window = 0
        self._unacknowledged = 0
        self._in_head_block = False
        self._greeted = False
        self._paused = False
        self._closing = False
        self._over = False
        self._goodbye: Goodbye | None = None
        self._by_peer = False
        self._may_be_roomier = False
        self._inside = 0
        """Streams whose answer has begun and not ended."""
        self._heard_at = monotonic()
        self._pinged_at: float | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "closing" if self._closing else f"{self.running} running" if self._greeted else "new"
        return f"<Http2Connection {self.number} {state}, {self.served} served>"

    # What the pool asks

    @property
    def running(self) -> int:
        """Exchanges under way, those that wait for a stream included."""
        return len(self._streams) + len(self._waiting)

    def room(self) -> int:
        """Return how many more exchanges may begin now; 0 while any has to wait."""
        if self._closing or self._waiting:
            return 0
        return max(0, self._limit - len(self._streams))

    def is_usable(self) -> bool:
        """Whether a request may be sent now; asks the descriptor itself.

        Unread bytes may be a GOAWAY, which nobody can tell under TLS. On a new connection, or after a silence,
        they are reason enough to wait until they are read; in the midst of traffic they are to be expected.
        """
        transport = self._transport
        if self._closing or transport is None or transport.is_closing():
            return False
        unread = self._unread()
        if not unread:
            return True
        if unread & GONE:
            return False
        if self._streams or (self.served and monotonic() - self._heard_at < _QUIET):
            return True
        # TLS may have something to read of which we never hear.
        asyncio.get_running_loop().call_later(_SOON, self._look_again)
        return False

    def _look_again(self) -> None:
        self._may_be_roomier = True
        self._settle_up()

    def close(self) -> None:
        """Begin nothing more, and end when what is under way has ended."""
        self._closing = True
        self._fail_waiting()
        self._settle_up()

    def kill(self, reason: str) -> None:
        """End at once; what is under way fails."""
        if not self._over:
            self._over = self._closing = True
            self._fail_all(lambda stream: self._lost(stream, reason))
            self._not_ready(reason)
            self._stop_watching()  # uvloop tells of no end while a connection is being made
            if self._transport is not None:
                self._transport.abort()

    # Exchanges

    def exchange(self, attempt: Attempt) -> None:
        """Carry the attempt, at once or when there is room for it."""
        attempt.connection = self.number
        attempt.transport = self._transport
        if self._closing:
            self._fail(attempt, TransportFailure(Row.STALE_CONNECTION))
            return
        if self._waiting.goes_before(attempt) or not self._fits(attempt.request):
            self._waiting.add(attempt)
        else:
            self._send(attempt)

    def _fits(self, request: Request) -> bool:
        if len(self._streams) >= self._limit or self._paused:
            return False
        size = len(request.body) if request.body is not None else 0
        return size <= self._h2.outbound_flow_control_window and size <= self._stream_window

    def _send(self, attempt: Attempt) -> None:
        """Mark the attempt and write its request, all of it at once."""
        request = attempt.request
        attempt.reused = self.served > 0
        transport = self._transport
        if transport is None or transport.is_closing():
            self._fail(attempt, TransportFailure(Row.STALE_CONNECTION))
            return
        try:
            block = self._blocks.of(request, attempt.bearer)
            attempt.mark()
        except TransportFailure as failure:
            self._fail(attempt, failure)
            return
        except ValueError as error:
            self._fail(attempt, TransportFailure(Row.ABANDONED, str(error)))
            return
        attempt.unused_since = self.idle_since
        if self._streams:
            oldest = next(iter(self._streams.values())).attempt
            if not is_burst(oldest, attempt):
                attempt.unused_since = attempt.committed
            self._echo.look(oldest, attempt, self.close)
        number = self._next
        self._next += 2
        self._streams[number] = Stream(number, attempt, is_first=self.served == 0)
        self.served += 1
        try:
            data = self._frames_of(number, block, request.body)
        except Exception as error:  # a bug in h2: nothing can be told of its state
            self.kill(f"h2 failed: {type(error).__name__}")
            return
        transport.write(data)
        if self._next > LAST_STREAM:
            self.close()

    def _frames_of(self, number: int, block: bytes, body: bytes | None) -> bytes:
        h2 = self._h2
        self._blocks.prepare(block)
        h2.send_headers(number, (), end_stream=not body)
        if body:
            most = h2.max_outbound_frame_size
            for start in range(0, len(body), most):
                end = start + most
                h2.send_data(number, body[start:end], end_stream=end >= len(body))
        return h2.data_to_send()

    def _serve(self) -> None:
        """Send what waits and fits now."""
        while (attempt := self._waiting.first) is not None:
            if not self._fits(attempt.request):
                return
            self._waiting.remove(attempt)
            self._send(attempt)
        self._may_be_roomier = True

    def abort(self, attempt: Attempt) -> None:
        """Stop the attempt's exchange, and nothing else."""
        if self._waiting.remove(attempt):
            self._fail(attempt, TransportFailure(Row.ABANDONED, "given up before the commit point"))
        else:
            stream = next((one for one in self._streams.values() if one.attempt is attempt), None)
            if stream is None:
                return
            row = Row.CUT_ANSWER if stream.seen else Row.NO_ANSWER
            self._drop(stream, TransportFailure(row, "given up waiting for the answer"))
        if not self._closing:
            self._echo.ask(self.close)
        self._settle_up()

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and say hello."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._unread = unread_of(transport)
        self._heard_at = monotonic()
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65_535)  # RFC 9113, 6.9.2
        self._flush()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take in the frames that are whole now."""
        if self._over:
            return
        self._heard_at = monotonic()
        try:
            for frame in self._splitter.feed(data):
                if not self._take(frame):
                    return
        except FrameError as error:
            self._break(str(error))
            return
        self._settle_up()

    def eof_received(self) -> None:
        """Take in a FIN: the server has nothing more to say."""
        self._note_farewell()
        self._closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way; nothing holds on to the connection then."""
        self._over = self._closing = True
        self._fail_all(self._lost)
        why = "" if exc is None else f" ({getattr(exc, 'reason', None) or type(exc).__name__})"
        self._not_ready(f"the server ended the connection before it said its settings{why}")
        self._stop_watching()
        self._transport = None
        self._unread = nothing
        vars(self._h2).clear()  # it refers to itself
        self.owner.ended(self, by_peer=self._by_peer)

    def pause_writing(self) -> None:
        """Send nothing more for now: the server does not read, and what is marked should leave."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._may_be_roomier = True
        self._settle_up()

    @property
    def _is_amid(self) -> bool:
        """Whether a frame or a header block has begun and not ended."""
        return self._in_head_block or self._splitter.is_inside

    # What the server says

    def _take(self, frame: Frame) -> bool:
        """Do what a frame says; returns whether to go on."""
        kind, flags, number, raw = frame
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise FrameError("it does not begin as HTTP/2 does")
        if kind == frames.GOAWAY:
            self._said_goodbye(frame)
            return not self._over
        stream = self._streams.get(number)
        if stream is not None:
            if kind in _RESPONSE:
                stream.seen = True
        elif number and kind in _OF_OPENED and (number >= self._next or not number & 1):
            raise FrameError("a frame on a stream that was never opened")
        if kind == frames.HEADERS or kind == frames.CONTINUATION:  # twice as fast
            self._in_head_block = not flags & frames.END_HEADERS
        try:
            for event in self._events_of(raw):
                self._tell(event, stream)
        except TransportFailure as failure:
            assert stream is not None  # noqa: S101  # only streams raise it
            self._drop(stream, failure, is_malformed=True)
        return not self._over

    def _events_of(self, raw: bytes) -> list[Event]:
        try:
            return self._h2.receive_data(raw)
        except ProtocolError as error:
            # Its text may hold what the server sent, and that anything.
            raise FrameError(type(error).__name__) from None
        except Exception as error:  # a bug in h2, brought out by what came
            raise FrameError(f"h2 failed: {type(error).__name__}") from None

    def _tell(self, event: Event, stream: Stream | None) -> None:
        kind = type(event)
        if kind is DataReceived:
            self._acknowledge(cast(DataReceived, event), stream)
        if stream is not None and (of_stream := _OF_STREAM.get(kind)) is not None:
            of_stream(self, stream, event)
        elif (of_connection := _OF_CONNECTION.get(kind)) is not None:
            of_connection(self, event)

    def _settings_changed(self, _event: RemoteSettingsChanged) -> None:
        theirs = self._h2.remote_settings
        self._limit = theirs.get(SettingCodes.MAX_CONCURRENT_STREAMS, DEFAULT_STREAMS)
        self._stream_window = theirs.initial_window_size
        self._may_be_roomier = self._greeted
        self._greeted = True
        if not self.ready.done():
            self.ready.set_result(None)

    def _echoed(self, event: PingAckReceived) -> None:
        self._echo.heard(event.ping_data)

    def _acknowledge(self, event: DataReceived, stream: Stream | None) -> None:
        """Open the windows again, when half of one is used up."""
        self._unacknowledged += event.flow_controlled_length
        if self._unacknowledged >= CONNECTION_WINDOW // 2:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        if stream is None or event.stream_ended is not None:
            return
        stream.unacknowledged += event.flow_controlled_length
        if stream.unacknowledged >= STREAM_WINDOW // 2:
            self._h2.increment_flow_control_window(stream.unacknowledged, stream.number)
            stream.unacknowledged = 0

    def _interim_received(self, stream: Stream, event: InformationalResponseReceived) -> None:
        stream.take_interim(event.headers)

    def _head_received(self, stream: Stream, event: ResponseReceived) -> None:
        stream.take_head(event.headers)
        stream.heard_at = self._heard_at
        self._inside += 1
        stream.attempt.answering()

    def _data_received(self, stream: Stream, event: DataReceived) -> None:
        stream.heard_at = self._heard_at
        stream.take_data(event.data, self._settings.max_body)

    def _stream_ended(self, stream: Stream, _event: StreamEnded) -> None:
        self._h2.forget(stream.number)
        answer = stream.answer(self._settings.max_body)
        self._remove(stream)
        attempt = stream.attempt
        if not attempt.deliver(answer):
            self.close()
        self._finished(attempt)

    def _stream_reset(self, stream: Stream, event: StreamReset) -> None:
        if not event.remote_reset:  # by h2, for an overflowing window
            failure = malformed("flow control")
        elif event.error_code == ErrorCodes.REFUSED_STREAM and not stream.seen:
            failure = TransportFailure(Row.REFUSED_STREAM)
        else:
            failure = TransportFailure(Row.STREAM_RESET, f"{Row.STREAM_RESET.value} ({name_of(event.error_code)})")
        self._drop(stream, failure)

    def _said_goodbye(self, frame: Frame) -> None:
        """Begin nothing more; of several the last one counts, and it can only take back more."""
        goodbye = Goodbye.read(frame)
        if self._in_head_block:
            raise FrameError("a GOAWAY inside a header block")
        self._goodbye = goodbye
        self._note_farewell()
        self._closing = True
        self._fail_waiting()
        row = Row.GOAWAY_UNPROCESSED
        for stream in list(self._streams.values()):
            if stream.number > goodbye.last and not stream.seen:
                self._remove(stream)
                self._fail(stream.attempt, TransportFailure(row, f"{row.value} ({name_of(goodbye.code)})"))

    # How exchanges end

    def _remove(self, stream: Stream) -> None:
        del self._streams[stream.number]
        if stream.status:
            self._inside -= 1

    def _drop(self, stream: Stream, failure: TransportFailure, *, is_malformed: bool = False) -> None:
        """Fail one stream. After a malformed answer the connection ends too, though not under the others."""
        self._remove(stream)
        self._h2.abandon(stream.number, ErrorCodes.PROTOCOL_ERROR if is_malformed else ErrorCodes.CANCEL)
        if is_malformed:
            self._closing = True
            self._fail_waiting()
        self._fail(stream.attempt, failure)

    def _fail(self, attempt: Attempt, failure: TransportFailure) -> None:
        # A traceback would hold on to the frames it passed, and those to us.
        attempt.fail(failure.with_traceback(None))
        self._finished(attempt)

    def _finished(self, attempt: Attempt) -> None:
        if attempt.committed is not None:
            self.idle_since = attempt.done or monotonic()
        self.owner.finished(self, attempt)

    def _fail_waiting(self) -> None:
        while (attempt := self._waiting.first) is not None:
            self._waiting.remove(attempt)
            self._fail(attempt, TransportFailure(Row.STALE_CONNECTION))

    def _fail_all(self, failure: "Callable[[Stream], TransportFailure]") -> None:
        self._fail_waiting()
        for stream in list(self._streams.values()):
            self._remove(stream)
            self._fail(stream.attempt, failure(stream))

    def _lost(self, stream: Stream, reason: str = "") -> TransportFailure:
        """How an exchange failed whose connection is gone."""
        if self._goodbye is not None:
            row = Row.GOAWAY_LOST
        elif stream.seen:
            row = Row.CUT_ANSWER
        else:
            row = Row.LOST if stream.is_first else Row.LOST_REUSED
        return TransportFailure(row, reason)

    # How the connection ends

    def _settle_up(self) -> None:
        """Do what is due after anything has happened: send, acknowledge, watch, close."""
        if self._over:
            return
        if self._waiting:
            self._serve()
        self._flush()
        if self._closing and not self._streams:
            self._end(ErrorCodes.NO_ERROR)
            return
        if (self._inside or self._is_amid) and self._stall_timer is None:
            self._watch_for_stalls()
        if self._may_be_roomier and self.room() > 0:
            self._may_be_roomier = False
            self.owner.roomier(self)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _break(self, why: str) -> None:
        """End the connection: after an error in the framing nothing that follows can be trusted."""
        self._closing = True  # before the pool hears of those that fail
        self._fail_all(lambda _stream: malformed(why))
        self._not_ready(f"the server does not speak HTTP/2 ({why})")
        self._end(ErrorCodes.PROTOCOL_ERROR)

    def _end(self, code: ErrorCodes) -> None:
        """Say goodbye, as far as that is possible, and close."""
        self._over = True
        self._not_ready("the connection was closed")
        self._stop_watching()
        transport = self._transport
        if transport is None:
            return
        with contextlib.suppress(ProtocolError):
            self._h2.close_connection(code)
        self._flush()
        transport.close()
        # A server that does not read must not keep it open.
        self._pulse = asyncio.get_running_loop().call_later(_LINGER, transport.abort)

    def _not_ready(self, message: str) -> None:
        if not self.ready.done():
            tls = self._transport is not None and self._transport.get_extra_info("ssl_object") is not None
            self.ready.set_exception(TransportFailure(Row.TLS_HANDSHAKE if tls else Row.REFUSED, message))
            self.ready.exception()  # whether anybody waits for it or not

    def _note_farewell(self) -> None:
        """Note that the server ends the connection, if that was because nobody used it."""
        if not self._closing and not self._streams and monotonic() - self.idle_since > _QUIET:
            self._by_peer = True

    # Silence

    def _watch(self) -> None:
        """Ask for a sign of life after a silence, and end the connection if none comes. One timer for ever."""
        now = monotonic()
        if self._pinged_at is None or self._heard_at > self._pinged_at:
            self._pinged_at = None
            left = self._heard_at + self._settings.http2_ping - now
            if left <= 0:
                self._h2.ping(_PING)
                self._flush()
                self._pinged_at = now
                left = min(self._settings.http2_ping, self._settings.http2_ping_timeout)
        else:
            left = self._pinged_at + self._settings.http2_ping_timeout - now
            if left <= 0:
                self.kill("the server does not answer pings")
                return
        self._pulse = asyncio.get_running_loop().call_later(left, self._watch)

    def _watch_for_stalls(self) -> None:
        """Give up answers that have stopped arriving. Runs only while there are any under way.

        Amid a frame every byte is a sign of life, and without its rest no other answer can come either.
        """
        self._stall_timer = None
        stall = self._settings.stall_timeout
        since = monotonic() - stall
        left = stall
        if self._is_amid:
            left = self._heard_at - since
            if left <= 0:
                self._closing = True
                self._fail_all(lambda _stream: TransportFailure(Row.CUT_ANSWER, _STOPPED))
        else:
            for stream in [one for one in self._streams.values() if one.status]:
                if stream.heard_at <= since:
                    self._drop(stream, TransportFailure(Row.CUT_ANSWER, _STOPPED))
                else:
                    left = min(left, stream.heard_at - since)
        if left > 0 and (self._inside or self._is_amid):
            self._stall_timer = asyncio.get_running_loop().call_later(left, self._watch_for_stalls)
        self._settle_up()

    def _stop_watching(self) -> None:
        for timer in (self._pulse, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._pulse = self._stall_timer = None
        self._echo.stop()


_OF_STREAM: Final[Mapping[type[Event], Callable[[Http2Connection, Stream, Any], None]]] = {
    ResponseReceived: Http2Connection._head_received,
    DataReceived: Http2Connection._data_received,
    StreamEnded: Http2Connection._stream_ended,
    StreamReset: Http2Connection._stream_reset,
    InformationalResponseReceived: Http2Connection._interim_received,
}
_OF_CONNECTION: Final[Mapping[type[Event], Callable[[Http2Connection, Any], None]]] = {
    RemoteSettingsChanged: Http2Connection._settings_changed,
    PingAckReceived: Http2Connection._echoed,
}
