"""The seam over aiohttp.

Three facts about aiohttp decide how this is written. The trace hook `on_request_headers_sent` runs before the
first byte, and an exception from it sends nothing: the mark is made there. aiohttp sends GET, PUT and DELETE
again by itself when a kept connection drops: the second run of the hook refuses the second mark. Its own
parse errors look like an answer of status 400: only a status read from a response object counts.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import re
import ssl
import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from .._version import __version__
from ..auth import Credentials
from ..matrix import Row
from ..operations import Request
from ..settings import Settings
from .base import Attempt, NotCommitted, Pool, TransportFailure, WireAnswer, has_pending_bytes, is_change
from .bodies import check_unframed, decoded_body, oversize
from .lent import lent_socket

__all__ = ["AiohttpPool"]

USER_AGENT: Final = f"coinapi-ems-async/{__version__}"
_CHUNK: Final = 256 * 1024
_TURNS: Final = 5

_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


async def _mark(_session: Any, context: SimpleNamespace, _params: Any) -> None:
    attempt = context.trace_request_ctx
    if not isinstance(attempt, Attempt):  # a session of the user's carries other requests too
        return
    for _ in range(_TURNS):
        if attempt.committed is not None or not _is_spoilt(attempt):
            break
        await asyncio.sleep(0)  # a new TLS connection may rightly have something to read: session tickets
    else:
        raise NotCommitted(Row.STALE_CONNECTION)
    attempt.mark()


def _is_spoilt(attempt: Attempt) -> bool:
    """Whether the connection has ended, or brought bytes nobody asked for: they would pass for our answer."""
    transport = attempt.transport
    if transport is None:  # a session of the user's
        return False
    handler = _handler_of(transport)
    return handler is None or handler.should_close or has_pending_bytes(transport)


_TRACE: Final = aiohttp.TraceConfig()
_TRACE.on_request_headers_sent.append(_mark)
_TRACE.freeze()
_watched: "weakref.WeakKeyDictionary[aiohttp.ClientSession, int]" = weakref.WeakKeyDictionary()
"""How many of our pools use a session of the user's: it is watched once, or each would mark an attempt."""

_next_number = itertools.count(1)


class _Handler(ResponseHandler):
    """Ends its connection at the first byte that arrives while it is kept and no answer is due.

    aiohttp itself would keep a whole stray answer for the next request, and forget the first half of one.
    `due` is the attempt whose answer is expected. aiohttp frees a connection before the attempt that used it
    runs on, so that the next may have it already: only its own attempt may say that nothing is due.
    """

    due: Attempt | None = None

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        is_due = self.due is not None and self.due.committed is not None
        if is_due or not data:  # without data aiohttp goes on with what it has
            super().data_received(data)
        elif self.transport is not None:
            self.force_close()
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Numbers its connections and tells each attempt which one it got."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # aiohttp has no public way to name the protocol.
        self._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # narrower
        # By protocol: uvloop's TLS transports take no weak references.
        self._numbers: weakref.WeakKeyDictionary[ResponseHandler, int] = weakref.WeakKeyDictionary()

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connect as aiohttp does, and note the connection on the attempt whose task this is."""
        connection = await super().connect(*args, **kwargs)
        while (kept := connection.protocol) is not None and kept in self._numbers and kept.should_close:
            connection.close()  # it was kept, and has received something since
            connection = await super().connect(*args, **kwargs)
        attempt, protocol = _attempt.get(), connection.protocol
        if isinstance(protocol, _Handler):
            protocol.due = attempt
        if attempt is not None and protocol is not None:
            attempt.reused = protocol in self._numbers
            if not attempt.reused:
                self._numbers[protocol] = next(_next_number)
            attempt.connection = self._numbers[protocol]
            attempt.transport = protocol.transport
        return connection

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for protocol in list(self._numbers):
            if isinstance(protocol, _Handler) and protocol.due is None and protocol.transport is not None:
                protocol.force_close()
                protocol.transport.abort()

    @property
    def open_connections(self) -> int:
        """Connections that have not ended."""
        return sum(protocol.connected for protocol in list(self._numbers))


class _NoCookies(aiohttp.DummyCookieJar):
    """Reads none, either: aiohttp would log the name of one that it does not like."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Do nothing."""


class _Exchange:
    """One attempt and the task that carries it, which outlives the caller's."""

    def __init__(self, pool: "AiohttpPool", attempt: Attempt) -> None:
        self._pool = pool
        self._attempt = attempt
        self._task = asyncio.get_running_loop().create_task(
            pool.run(attempt, self), name=f"exchange with {attempt.site}"
        )
        self.is_queued = True
        """Whether it still waits for a slot."""
        pool.running.add(self._task)
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._pool.running.discard(task)
        if not self._attempt.settled:  # cancelled before its first step
            self._attempt.fail(TransportFailure(*_interrupted(self._attempt)))

    def abort(self, attempt: Attempt) -> None:
        """Cancel the task; aiohttp then closes the connection."""
        if self.is_queued:
            attempt.fail(TransportFailure(Row.POOL_WAIT))
        self._task.cancel()


class AiohttpPool(Pool):
    """Connections of one base URL, or a user's session for it.

    base_url: normalised, without trailing slash. session: the user's own; it is neither configured nor
    closed here, only observed so that it does not send a change twice. proxy: URL of an HTTP proxy; trust_env:
    whether one may come from the environment.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        settings: Settings,
        *,
        tls: ssl.SSLContext | None = None,
        session: aiohttp.ClientSession | None = None,
        size: int | None = None,
        order_share: int = 0,
        proxy: str | None = None,
        trust_env: bool = False,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._settings = settings
        self._own = session is None
        self._proxy = proxy
        if session is None:
            session = self._new_session(tls, trust_env)
        else:
            _watch(session)
        self._watching = not self._own
        self._session = session
        limit = size or settings.pool_size
        self._slots = asyncio.Semaphore(limit)
        self._read_slots = asyncio.Semaphore(max(1, limit - order_share))
        self.running: set[asyncio.Task[None]] = set()

    def _new_session(self, tls: ssl.SSLContext | None, trust_env: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(
                limit=0,  # the slots below are the limit: they know orders from reads
                ssl=tls if tls is not None else True,
                keepalive_timeout=self._settings.idle_timeout,
                socket_factory=lent_socket,
            ),
            cookie_jar=_NoCookies(),
            trace_configs=[_TRACE],
            headers={"User-Agent": USER_AGENT},
            trust_env=trust_env,
            auto_decompress=False,  # it takes a compressed body that breaks off for whole
        )

    def __repr__(self) -> str:
        return f"<AiohttpPool {self._base_url} running={len(self.running)} connections={self.connections}>"

    @property
    def connections(self) -> int:
        """Connections open now, those in use included."""
        connector = self._session.connector
        return connector.open_connections if isinstance(connector, _Connector) else len(self.running)

    @property
    def in_flight(self) -> int:
        """Exchanges under way, those that wait for a slot included."""
        return len(self.running)

    def carry(self, attempt: Attempt) -> None:
        """Carry the attempt in a task; aiohttp itself connects, before the mark."""
        if self._session.closed:
            attempt.fail(TransportFailure(Row.ABANDONED, "the client is closed"))
            return
        attempt.carrier = _Exchange(self, attempt)

    def abort(self, attempt: Attempt) -> None:
        """Do nothing: the attempts are with their exchanges from the first."""

    def is_full(self, request: Request) -> bool:
        """Whether such a request has to wait until another one has ended."""
        return any(slots.locked() for slots in self._wanted(request))

    def _wanted(self, request: Request) -> tuple[asyncio.Semaphore, ...]:
        return (self._slots,) if is_change(request) else (self._read_slots, self._slots)

    async def run(self, attempt: Attempt, exchange: _Exchange) -> None:
        """Make the one exchange and deliver what came of it; never raises except on cancellation."""
        _attempt.set(attempt)
        try:
            async with contextlib.AsyncExitStack() as taken:
                for slots in self._wanted(attempt.request):
                    await taken.enter_async_context(slots)
                exchange.is_queued = False
                attempt.connected = monotonic()
                answer = await self._exchange(attempt)
            if not attempt.deliver(answer) and attempt.transport is not None:
                attempt.transport.abort()  # out of step, though aiohttp may have put it back already
        except asyncio.CancelledError:
            attempt.fail(TransportFailure(*_interrupted(attempt)))
            raise
        except TransportFailure as failure:
            attempt.fail(failure)
        except Exception as error:  # whatever aiohttp raises, the mark decides
            attempt.fail(_failure(error, attempt))

    async def _exchange(self, attempt: Attempt) -> WireAnswer:
        if self._session.closed:
            raise TransportFailure(Row.ABANDONED, "the client is closed")
        request = attempt.request
        headers = {"Accept": "application/json", **dict(self._credentials.headers)}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if attempt.bearer is not None:
            headers["Authorization"] = f"Bearer {attempt.bearer}"
        async with self._session.request(
            request.operation.method,
            URL(self._base_url + self._credentials.target(request.target), encoded=True),
            data=request.body,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.connect_timeout),
            trace_request_ctx=attempt,
            proxy=self._proxy,
        ) as response:
            attempt.answering()
            body = await self._body(response)
            _nothing_due(attempt)
            if self._own:
                body = decoded_body(response.raw_headers, body, self._settings.max_body)
            if not _is_framed(response, unpacked=not self._own):
                check_unframed(request, body)
            return WireAnswer(response.status, response.raw_headers, body)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := await self._part(response.content):
            parts.append(part)
            size += len(part)
            if size > self._settings.max_body:
                response.close()
                raise oversize(self._settings.max_body)
        return b"".join(parts)

    async def _part(self, content: aiohttp.StreamReader) -> bytes:
        if content.is_eof():  # the usual case: all of it is here, and no time-out is paid for
            return await content.read(_CHUNK)
        try:
            async with asyncio.timeout(self._settings.stall_timeout):
                return await content.read(_CHUNK)
        except TimeoutError:
            raise TransportFailure(Row.CUT_ANSWER, "the answer stopped arriving") from None

    def keep_warm(self, connections: int, *, exchanges: int = 0) -> None:
        """Do nothing: aiohttp has no way to open a connection without a request."""

    async def until_warm(self, within: float) -> None:
        """Return at once."""

    def clear(self) -> None:
        """Close idle connections."""
        connector = self._session.connector
        if isinstance(connector, _Connector):
            connector.close_idle()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self.running:
            await asyncio.wait(self.running)

    async def aclose(self) -> None:
        """Abort what is under way and close every connection; a session of the user's stays open."""
        for task in list(self.running):
            task.cancel()
        if self.running:
            await asyncio.wait(self.running)
        if not self._own:
            if self._watching:
                self._watching = False
                _unwatch(self._session)
            return
        await self._session.close()
        for _ in range(2):  # callbacks of closed transports; aiohttp does not wait for TLS ones
            await asyncio.sleep(0)


def _watch(session: aiohttp.ClientSession) -> None:
    _watched[session] = _watched.get(session, 0) + 1
    if _watched[session] == 1:
        session.trace_configs.append(_TRACE)


def _unwatch(session: aiohttp.ClientSession) -> None:
    _watched[session] -= 1
    if not _watched[session]:
        del _watched[session]
        session.trace_configs.remove(_TRACE)


def _nothing_due(attempt: Attempt) -> None:
    handler = None if attempt.transport is None else _handler_of(attempt.transport)
    if handler is not None and handler.due is attempt:
        handler.due = None


def _handler_of(transport: asyncio.Transport) -> _Handler | None:
    """Whom the transport reports to; None once it is closed, which TLS transports of asyncio say like this."""
    try:
        protocol = transport.get_protocol()
    except AttributeError:
        return None
    return protocol if isinstance(protocol, _Handler) else None


def _is_framed(response: aiohttp.ClientResponse, *, unpacked: bool) -> bool:
    """Whether the end of the body was told beforehand, and aiohttp has not unpacked it.

    Else it takes a body for whole that a reset cut short, or a compressed one that breaks off.
    """
    if response.status in (204, 304):
        return True
    headers = response.headers
    told = "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()
    return told and not (unpacked and "Content-Encoding" in headers)


def _interrupted(attempt: Attempt) -> tuple[Row, str]:
    if attempt.committed is None:
        return Row.ABANDONED, "given up before the commit point"
    if attempt.first_byte is None:
        return Row.NO_ANSWER, "given up waiting for the answer"
    return Row.CUT_ANSWER, "given up inside the answer"


def _failure(error: Exception, attempt: Attempt) -> TransportFailure:
    """The mark decides first, the kind of exception only refines."""
    before = attempt.committed is None
    row = _row_before(error) if before else _row_after(error, attempt)
    return TransportFailure(row, f"{row.value} ({_said(error) or type(error).__name__})")


_QUOTED: Final = re.compile(r"""b?(['"]).*\1""", re.DOTALL)

_Rule = tuple[tuple[type[BaseException], ...], Row]

_BEFORE: Final[tuple[_Rule, ...]] = (
    ((aiohttp.ClientConnectorDNSError,), Row.NAME_LOOKUP),
    ((aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch), Row.TLS_VERIFICATION),
    ((aiohttp.ClientConnectorSSLError, ssl.SSLError), Row.TLS_HANDSHAKE),
    ((TimeoutError,), Row.CONNECT_TIMEOUT),
    ((aiohttp.ClientConnectorError,), Row.REFUSED),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, OSError), Row.STALE_CONNECTION),
)


def _row_before(error: Exception) -> Row:
    return next((row for kinds, row in _BEFORE if isinstance(error, kinds)), Row.REFUSED)


def _row_after(error: Exception, attempt: Attempt) -> Row:
    if isinstance(error, aiohttp.ClientResponseError):
        return Row.MALFORMED
    if attempt.first_byte is not None:
        return Row.CUT_ANSWER
    if isinstance(error, TimeoutError):
        return Row.NO_ANSWER
    return Row.LOST_REUSED if attempt.reused else Row.LOST


def _said(error: Exception) -> str:
    """The reason in words of ours: aiohttp's errors may quote the URL, or what the server sent, cut anywhere."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return getattr(error.certificate_error, "verify_message", "")
    if isinstance(error, aiohttp.ClientResponseError):
        return _QUOTED.sub("...", error.message).strip(" \n\t.:^")
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else ""
