"""What is under way on an HTTP/2 connection: h2's state of it, and every answer in the making. No I/O here."""

import contextlib
import logging
from collections import deque
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings

from ..matrix import Row
from .base import Attempt, TransportFailure, WireAnswer, is_change
from .bodies import decoded_body, oversize
from .frames import RequestBlocks

__all__ = ["Machine", "Stream", "Waiting", "is_burst", "malformed", "name_of"]

MAX_FRAME: Final = 16_384
"""The protocol's own default: larger frames would make short answers wait behind long ones."""
MAX_HEAD: Final = 65_536
"""Bytes of a decoded header block (h2, aiohttp in all: 64 K)."""
MAX_INTERIM: Final = 8
"""Interim answers (1xx) before the final one, as over HTTP/1.1."""
STREAM_WINDOW: Final = 4 * 1024 * 1024
"""What the server may send on one stream before we take note (curl: 10 MB, Chromium: 6 MB)."""
CONNECTION_WINDOW: Final = 16 * 1024 * 1024
_BURST: Final = 0.1
"""Seconds: what is sent within them is one use of the connection, whose end may still be on its way."""

logging.getLogger("hpack").setLevel(logging.INFO)  # below that it tells every header that a server sends


class Machine(H2Connection):
    """h2's state, with our header blocks, and without its walk over every open stream at each request."""

    def __init__(self, blocks: RequestBlocks) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.encoder = blocks  # type: ignore[assignment]  # it has what h2 uses of one
        self.local_settings = H2Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            },
        )
        del self.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]  # a server's setting

    @property
    def open_outbound_streams(self) -> int:
        """0: the connection counts its streams itself."""
        return 0

    def forget(self, number: int) -> None:
        """Let go of a stream that both sides have ended."""
        self.streams.pop(number, None)

    def abandon(self, number: int, code: ErrorCodes) -> None:
        """Reset a stream, and remember that it was: frames on their way to it are no error then."""
        with contextlib.suppress(ProtocolError):  # it has ended already
            self.reset_stream(number, code)
        _ = super().open_outbound_streams  # moves what is closed to what h2 remembers


class Stream:
    """A request under way, and what has come of its answer."""

    __slots__ = (
        "attempt",
        "body",
        "declared",
        "headers",
        "heard_at",
        "interim",
        "is_encoded",
        "is_first",
        "number",
        "seen",
        "size",
        "status",
        "unacknowledged",
    )

    def __init__(self, number: int, attempt: Attempt, *, is_first: bool) -> None:
        self.number = number
        self.attempt = attempt
        self.is_first = is_first
        self.seen = False
        """Whether any frame of the answer has arrived."""
        self.interim = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.declared: int | None = None
        self.is_encoded = False
        self.body: list[bytes] = []
        self.size = 0
        self.unacknowledged = 0
        self.heard_at = 0.0

    # What h2 has checked: there is a status in every head, and it comes first. All raise TransportFailure:
    # MALFORMED, if the answer breaks the protocol.

    def take_interim(self, headers: Any) -> None:
        """Take in the head of an interim answer."""
        self.interim += 1
        if _status_of(headers) == 101:
            raise malformed("status 101 was not asked for")
        if self.interim > MAX_INTERIM:
            raise malformed(f"more than {MAX_INTERIM} interim answers")

    def take_head(self, headers: Any) -> None:
        """Take in the final head."""
        self.status = _status_of(headers)
        self.headers = headers[1:]
        for name, value in self.headers:
            if name == b"content-length":
                if self.declared is not None:
                    raise malformed("it has two lengths")
                self.declared = _length_of(value)
            elif name == b"content-encoding":
                self.is_encoded = True

    def take_data(self, data: bytes, max_body: int) -> None:
        """Take in a piece of the body."""
        self.body.append(data)
        self.size += len(data)
        if self.size > max_body:
            raise oversize(max_body)

    def answer(self, max_body: int) -> WireAnswer:
        """Return the whole answer, if it is what its head said."""
        if self.status in (204, 304):
            if self.size:
                raise malformed(f"status {self.status} with a body")
        elif self.declared not in (None, self.size):
            # h2 checks this too, except where the head or a trailer ends the stream.
            raise malformed(f"{self.size} bytes instead of {self.declared}")
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        if self.is_encoded:
            body = decoded_body(self.headers, body, max_body)
        return WireAnswer(self.status, self.headers, body)


class Waiting:
    """Attempts that wait for a stream: orders and cancels before reads, else first in, first out."""

    def __init__(self) -> None:
        self._orders: deque[Attempt] = deque()
        self._reads: deque[Attempt] = deque()

    def __len__(self) -> int:
        return len(self._orders) + len(self._reads)

    @property
    def first(self) -> Attempt | None:
        """Who is next."""
        queue = self._orders or self._reads
        return queue[0] if queue else None

    def goes_before(self, attempt: Attempt) -> bool:
        """Whether anybody who waits goes before the attempt."""
        return bool(self._orders or (self._reads and not is_change(attempt.request)))

    def add(self, attempt: Attempt) -> None:
        """Let the attempt wait."""
        (self._orders if is_change(attempt.request) else self._reads).append(attempt)

    def remove(self, attempt: Attempt) -> bool:
        """Take the attempt out; returns whether it was there."""
        for queue in (self._orders, self._reads):
            if attempt in queue:
                queue.remove(attempt)
                return True
        return False


def is_burst(oldest: Attempt, newest: Attempt) -> bool:
    """Whether two that were sent belong together: if the oldest found the connection unused, so did the newest."""
    return (newest.committed or 0.0) - (oldest.committed or 0.0) < _BURST


def malformed(why: str) -> TransportFailure:
    """Return the failure of an answer that breaks the protocol."""
    return TransportFailure(Row.MALFORMED, f"{Row.MALFORMED.value}: {why}")


def _status_of(headers: Any) -> int:
    value: bytes = headers[0][1]
    if len(value) != 3 or not value.isdigit() or value < b"100":
        raise malformed("its status is not one")
    return int(value)


def _length_of(value: bytes) -> int:
    """h2 4.3 takes a sign too."""
    if not value.isdigit():
        raise malformed("its length is not one")
    return int(value)


def name_of(code: ErrorCodes | int) -> str:
    """Return the name of an error code."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return hex(code)
