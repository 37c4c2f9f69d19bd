"""One HTTP/1.1 connection of the client: an `asyncio.Protocol` on httptools (llhttp), one request at a time.

Strict about what comes back (RFC 9112): llhttp refuses conflicting and repeated lengths, bare line ends and broken
chunks; what it lets pass and an order must not rest on is refused here. The verdict never depends on how the bytes
were cut into segments.
"""

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from .._version import __version__
from ..auth import Credentials
from ..matrix import Row
from ..operations import Request
from ..settings import Settings
from .base import Attempt, Connection, Owner, TransportFailure, WireAnswer, poll_of
from .bodies import check_unframed, decoded_body, oversize

__all__ = ["BufferedHttp1Connection", "Http1Connection", "RequestHeads"]

USER_AGENT: Final = f"coinapi-ems-async/{__version__}"

MAX_HEAD: Final = 65_536
"""Bytes within which the final head must end, interim answers included (aiohttp and nginx: 8 K a line)."""
MAX_INTERIM: Final = 8
"""Interim answers (1xx) before the final one (curl: none to be sent, any number taken; hyper: 8)."""


_SLICE: Final = 4_096
_USUAL: Final = b"HTTP/1.1 200 OK\r\n"
_CHUNKS_END: Final = b"\r\n\r\n\r\n"
_JSON_ENDS: Final = frozenset(b"}]")
_JSON_BEGINS: Final = frozenset(b"{[")
_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []
_BROKEN: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class RequestHeads:
    """The heads of requests to one site, each built once.

    base_url: normalised, without trailing slash.
    """

    def __init__(self, base_url: str, credentials: Credentials) -> None:
        parts = urlsplit(base_url)
        self._prefix = parts.path
        self._credentials = credentials
        lines = [f"Host: {parts.netloc}", f"User-Agent: {USER_AGENT}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in credentials.headers]
        self._rest = " HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n"
        self._built: dict[str, bytes] = {}

    def __repr__(self) -> str:  # the rest holds the key
        return f"<RequestHeads {len(self._built)} built>"

    def write(self, request: Request, bearer: str | None) -> bytes:
        """Return the whole request, ready to be sent."""
        operation = request.operation
        if request.target == operation.path:
            head = self._built.get(operation.name)
            if head is None:
                head = self._built[operation.name] = self._head(request)
        else:
            head = self._head(request)
        if bearer is not None:
            head += b"Authorization: Bearer %b\r\n" % bearer.encode("ascii")
        body = request.body
        if body is None:
            return head + b"\r\n" if operation.method == "GET" else head + b"Content-Length: 0\r\n\r\n"
        return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _head(self, request: Request) -> bytes:
        target = self._credentials.target(request.target)
        return f"{request.operation.method} {self._prefix}{target}{self._rest}".encode("ascii")


class Http1Connection(Connection, asyncio.Protocol):
    """One connection, plain or TLS; never used again after a time-out, an abandoned read or a broken answer."""

    # Beyond 30 attributes CPython keeps them in a dict for each object, and many connections crowd the caches.
    __slots__ = (
        "_attempt",
        "_broken",
        "_closed_by_peer",
        "_closing",
        "_has_pending",
        "_head",
        "_heads",
        "_heard_at",
        "_in_head",
        "_interim",
        "_is_chunked",
        "_is_framed",
        "_is_usual",
        "_keeps",
        "_max_body",
        "_parser",
        "_parts",
        "_received",
        "_size",
        "_stall",
        "_stall_timer",
        "_status",
        "_tail",
        "_transport",
        "_whole",
    )

    def __init__(self, owner: Owner, generation: int, heads: RequestHeads, settings: Settings) -> None:
        super().__init__(owner, generation)
        self._heads = heads
        self._max_body = settings.max_body
        self._stall = settings.stall_timeout
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._has_pending: Callable[[], object] = _never
        self._attempt: Attempt | None = None
        """Whose answer is due."""
        self._closing = False
        self._closed_by_peer = False
        self._stall_timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        # Of the answer that is due.
        self._head = b""
        self._tail = b""
        self._parts: list[bytes] = []
        self._received = 0
        self._size = 0
        self._in_head = True
        self._is_usual = False
        self._is_chunked = False
        self._is_framed = True
        self._interim = 0
        self._status = 0
        self._broken: TransportFailure | None = None
        self._whole: list[bytes] | None = None
        self._keeps = False

    def __repr__(self) -> str:
        state = "closing" if self._closing else "busy" if self._attempt else "idle"
        return f"<Http1Connection {self.number} {state}, {self.served} served>"

    # What the pool asks

    @property
    def running(self) -> int:
        """Exchanges under way."""
        return self._attempt is not None

    def room(self) -> int:
        """Return how many more exchanges may begin now."""
        return 0 if self._closing or self._attempt is not None else 1

    def is_usable(self) -> bool:
        """Whether a request may be sent now; asks the descriptor itself."""
        transport, has_pending = self._transport, self._has_pending  # a function in a name costs less to call
        if self._closing or self._attempt is not None or transport is None or transport.is_closing():
            return False
        return not has_pending()

    def close(self) -> None:
        """End, when the exchange under way has ended if there is one."""
        self._closing = True
        if self._attempt is None and self._transport is not None:
            self._transport.close()

    def kill(self, reason: str) -> None:
        """End at once; what is under way fails."""
        self._fail(self._lost(reason))

    # One exchange

    def exchange(self, attempt: Attempt) -> None:
        """Carry the attempt: one write, and the mark the instant before it."""
        attempt.connection = self.number
        attempt.reused = self.served > 0
        transport = self._transport
        if self._closing or self._attempt is not None or transport is None or transport.is_closing():
            attempt.fail(TransportFailure(Row.STALE_CONNECTION))
            self.owner.finished(self, attempt)
            return
        try:
            data = self._heads.write(attempt.request, attempt.bearer)
            attempt.mark()
        except TransportFailure as failure:
            attempt.fail(failure)
            self.owner.finished(self, attempt)
            return
        self._attempt = attempt
        self.served += 1
        self._parts = []
        self._received = self._size = self._interim = 0
        self._in_head = True
        self._is_chunked = False
        self._whole = None
        transport.write(data)

    def abort(self, attempt: Attempt) -> None:
        """Stop the attempt's exchange, which ends the connection."""
        if self._attempt is attempt:
            row = Row.NO_ANSWER if attempt.first_byte is None else Row.CUT_ANSWER
            self._fail(TransportFailure(row, "given up waiting for the answer"))

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._has_pending = poll_of(transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        attempt = self._attempt
        if attempt is None:
            self._fail(None)  # nobody asked for this
            return
        if attempt.first_byte is None:
            attempt.first_byte = monotonic()
        if not self._received and len(data) < _SLICE and data.startswith(_USUAL):
            # How all but the largest answers come.
            self._is_usual = True
            self._received = len(data)
            self._head, self._tail = data, b""
            try:
                self._parser.feed_data(data)
            except _BROKEN as error:
                self._gave_up(error)
        else:
            self._take_in(data)
        if self._broken is None and self._whole is not None:
            if data[-1] not in _JSON_ENDS and not self._ends_with_it(data):
                self._keeps = False
            self._finish(attempt, self._whole)
        elif self._broken is not None:
            self._fail(self._broken)
        else:
            self._wait_for_more(data)

    def _wait_for_more(self, data: bytes) -> None:
        if self._is_usual and not self._in_head and not self._is_chunked:
            self._check_codings()
            if self._broken is not None:
                self._fail(self._broken)
                return
        self._is_usual = False
        self._tail = (self._tail + data)[-len(_CHUNKS_END) :]
        self._heard_at = monotonic()
        if self._stall_timer is None:
            self._watch_for_stall()

    def _take_in(self, data: bytes) -> None:
        """Feed in slices that begin at fixed places of the answer, so that no limit depends on the segments."""
        if not self._received:
            self._is_usual, self._head, self._tail = False, b"", b""
        while data and self._whole is None and self._broken is None:
            if not self._in_head and not self._is_chunked:
                self._feed(data)
                return
            piece, data = _split(data, _SLICE - self._received % _SLICE)
            self._received += len(piece)
            if self._in_head:
                self._head += piece
            self._feed(piece)
            if self._received % _SLICE == 0:
                self._check_limits()
        if data:
            self._keeps = False

    def _check_limits(self) -> None:
        """Refuse a head that does not end, and chunks that are mostly talk (RFC 9112, 7.1.1)."""
        if self._in_head and self._received >= MAX_HEAD:
            self._break(f"its head is larger than {MAX_HEAD} bytes")
        elif self._is_chunked and self._received - self._size > MAX_HEAD + 8 * self._size:
            self._break("its chunks have more to say than their data")

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except _BROKEN as error:
            self._gave_up(error)

    def _gave_up(self, error: Exception) -> None:
        """The parser reads no further: an answer that was whole by then stays, its connection does not."""
        self._keeps = False
        if self._whole is None:
            self._break(str(error))

    def _ends_with_it(self, data: bytes) -> bool:
        """Whether the last segment ends where the answer does: llhttp passes over line ends behind it."""
        if self._parts and not self._is_chunked:
            return data.endswith(self._parts[-1][-len(data) :])
        end = self._tail + data if self._is_chunked else self._head
        return end.endswith(b"\r\n\r\n") and not end.endswith(_CHUNKS_END)

    def eof_received(self) -> None:
        """Take in a FIN, or TLS's close_notify: the end of a body that nothing else delimits."""
        attempt = self._attempt
        if attempt is None:
            self._closed_by_peer = not self._closing
            self._closing = True
            return
        if not self._in_head and self._broken is None and self._ends_with_the_connection():
            self._status = self._parser.get_status_code()
            self._is_framed = self._keeps = False
            self._finish(attempt, self._parts)
            return
        self._fail(self._lost())

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way; nothing holds on to the connection then."""
        by_peer = self._closed_by_peer or (exc is None and self._attempt is None and not self._closing)
        self._closing = True
        if self._attempt is not None:
            self._fail(self._lost(_alert(exc)))
        self._stop_watching()
        self._transport = None
        self._has_pending = _never
        del self._parser  # it holds on to us
        self.owner.ended(self, by_peer=by_peer)

    def _ends_with_the_connection(self) -> bool:
        """Whether nothing in the head tells where the body ends, and the peer does."""
        names = {name.lower() for name, _ in _headers_of(self._final_head())}
        return not names & {b"content-length", b"transfer-encoding"} and self._ended_cleanly()

    def _ended_cleanly(self) -> bool:
        """Whether the peer said that it ends: a FIN alone is not enough under TLS, anybody can send one."""
        if self._transport is None:
            return False
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            # After close_notify it has nothing to read for ever; before, it would wait for more.
            return not tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, OSError, ValueError):
            return False

    # What the parser tells

    # These run for every answer, most often in cold caches: what is rare is looked at where it shows itself.

    def on_message_begin(self) -> None:
        """Note that something follows a complete answer; it must not mix with that."""
        if self._whole is not None:
            self._keeps = False
            self._parts = []

    def on_headers_complete(self) -> None:
        """Note that a head is whole."""
        if self._whole is None:
            self._in_head = False
            if not self._is_usual and self._parser.get_status_code() >= 200:
                self._check_heads()

    def on_chunk_header(self) -> None:
        """Note that the body comes in chunks."""
        if not self._is_chunked and self._whole is None:
            self._check_codings()

    def _check_heads(self) -> None:
        """Refuse what llhttp lets pass: other protocols, blank lines, control characters in a status line."""
        for head in self._head.split(b"\r\n\r\n", self._interim + 1)[: self._interim + 1]:
            line = head.partition(b"\r\n")[0]
            if not line.startswith(b"HTTP/1.") or min(line) < 0x20 or 0x7F in line:
                self._break("no status line of HTTP/1.1 or HTTP/1.0")
        self._check_codings()

    def _check_codings(self) -> None:
        """Refuse transfer codings that llhttp lets pass and does not undo."""
        head = self._final_head()
        codings = [value.lower() for name, value in _headers_of(head) if name.lower() == b"transfer-encoding"]
        self._is_chunked = bool(codings)
        if codings and (codings != [b"chunked"] or head.startswith(b"HTTP/1.0")):
            self._break("its transfer encoding is not plain chunks")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._size += len(body)
        if self._size <= self._max_body:
            self._parts.append(body)
        elif self._broken is None:
            self._parts.clear()
            self._broken = oversize(self._max_body)

    def on_message_complete(self) -> None:
        """Note that the answer is whole, unless it was an interim one."""
        if self._whole is not None or self._broken is not None:
            return
        self._status = status = self._parser.get_status_code()
        if status >= 200:
            self._whole = self._parts
            self._keeps = self._parser.should_keep_alive()
            return
        self._in_head = True
        self._interim += 1
        self._is_usual = False
        if status == 101 or status < 100:
            self._break(f"status {status} was not asked for")
        elif self._interim > MAX_INTERIM:
            self._break(f"more than {MAX_INTERIM} interim answers")

    def _final_head(self) -> bytes:
        """The head of the answer itself, after those of interim ones, without the blank line at its end."""
        head, start = self._head, 0
        for _ in range(self._interim):
            start = head.index(b"\r\n\r\n", start) + 4
        return head[start : head.index(b"\r\n\r\n", start)]

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = TransportFailure(Row.MALFORMED, f"{Row.MALFORMED.value}: {why}")

    # How it ends

    def _finish(self, attempt: Attempt, parts: list[bytes]) -> None:
        """Deliver the answer; go on with the connection only if nothing is left to doubt."""
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        headers = _NO_HEADERS
        # Each first answer is looked at closely, for its idle limit too; later ones only where they are not plain
        # JSON: an encoding that is merely claimed takes nothing from an answer that reads well.
        if not self._is_usual or self.served == 1 or not body or body[0] not in _JSON_BEGINS:
            headers = _headers_of(self._final_head())
            try:
                body = self._look_at(headers, body)
                if not self._is_framed:
                    check_unframed(attempt.request, body)
            except TransportFailure as failure:
                self._fail(failure)
                return
        self._attempt = None
        if self._stall_timer is not None:
            self._stop_watching()
        in_step = attempt.deliver(WireAnswer(self._status, headers, body))
        self.idle_since = attempt.done or monotonic()
        if not (self._keeps and in_step) or self._closing:
            self._closing = True
            if self._transport is not None:
                self._transport.close()
        self.owner.finished(self, attempt)

    def _look_at(self, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        for name, value in headers:
            lower = name.lower()
            if lower == b"keep-alive":
                self.keep_alive = _timeout_of(value)
            elif lower == b"content-encoding":
                body = decoded_body(headers, body, self._max_body)
            elif lower == b"content-length" and self._status == 204 and value != b"0":
                self._keeps = False  # there is none, and yet it may come
        return body

    def _fail(self, failure: TransportFailure | None) -> None:
        """End the connection; fail what is under way."""
        attempt, self._attempt = self._attempt, None
        self._closing = True
        self._stop_watching()
        if self._transport is not None:
            self._transport.abort()
        if attempt is not None:
            attempt.fail(failure or self._lost())
            self.owner.finished(self, attempt)

    def _lost(self, reason: str = "") -> TransportFailure:
        """How an exchange failed whose connection is gone."""
        attempt = self._attempt
        if attempt is not None and attempt.first_byte is not None:
            return TransportFailure(Row.CUT_ANSWER, reason)
        return TransportFailure(Row.LOST_REUSED if self.served > 1 else Row.LOST, reason)

    # Silence inside an answer

    def _watch_for_stall(self) -> None:
        """One timer for each answer that comes in more than one piece; it looks when the last piece came."""
        left = self._heard_at + self._stall - monotonic()
        if left <= 0:
            self._stall_timer = None
            self._fail(TransportFailure(Row.CUT_ANSWER, "the answer stopped arriving"))
            return
        self._stall_timer = asyncio.get_running_loop().call_later(left, self._watch_for_stall)

    def _stop_watching(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


class BufferedHttp1Connection(Http1Connection, asyncio.BufferedProtocol):
    """The same, reading into a buffer of its site's.

    asyncio's own loop makes a new object of 256 KiB for each read of a plain socket, which glibc maps and unmaps
    every time: 5 us of an order's 80. Everything read is taken in before the next read, so one buffer serves all.
    """

    __slots__ = ("_buffer", "_view")

    def __init__(
        self, owner: Owner, generation: int, heads: RequestHeads, settings: Settings, buffer: bytearray
    ) -> None:
        super().__init__(owner, generation, heads, settings)
        self._buffer = buffer
        self._view = memoryview(buffer)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on."""
        self.data_received(bytes(self._view[:nbytes]))


def _alert(error: Exception | None) -> str:
    """What the server's TLS said as it ended the connection: that it wants another client certificate, say."""
    return f"the server ended the connection ({error.reason})" if isinstance(error, ssl.SSLError) else ""


def _split(data: bytes, at: int) -> tuple[bytes, bytes]:
    return (data, b"") if len(data) <= at else (data[:at], data[at:])


def _headers_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head that llhttp has found well-formed; it does not know codings with blanks behind them."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [(name, value.lstrip(b" \t")) for name, _, value in pairs]


def _timeout_of(keep_alive: bytes) -> float | None:
    """The seconds in a header such as `Keep-Alive: timeout=60, max=100`."""
    for part in keep_alive.lower().split(b","):
        name, _, value = part.partition(b"=")
        if name.strip() == b"timeout" and value.strip().isdigit():
            return float(value.strip()[:9])
    return None


def _never() -> bool:
    return False
