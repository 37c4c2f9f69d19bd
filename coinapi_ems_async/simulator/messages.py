"""A request as a server reads it, and the answer it gives: the whole interface of the two APIs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote

from .numbers import read_json, write_json

JSON: Final = "application/json; charset=utf-8"
REFUSED_STREAM: Final = 7
"""The error code of HTTP/2 that proves that a request was not processed."""
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


@dataclass(kw_only=True)
class Request:
    """One complete request.

    `path` is raw: percent-encoded, with the query. `headers` has lower-case names. `connection` numbers
    the TCP connection, `certified` tells whether its peer showed a certificate of our own authority,
    `version` is that of HTTP: "1.0", "1.1" or "2".
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    connection: int = 0
    certified: bool = False
    version: str = "1.1"

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The decoded segments of the path, a single trailing slash ignored.

        Raises ValueError: if the percent-encoding is broken.
        """
        path = _ABSOLUTE.sub("", self.path, count=1).partition("?")[0]
        if _BAD_ESCAPE.search(path) or not path.startswith("/"):
            raise ValueError("the path is not properly encoded")
        parts = path[1:].removesuffix("/").split("/")
        return tuple(unquote(part, errors="strict") for part in parts) if parts != [""] else ()

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The decoded pairs of the query in their order.

        Raises ValueError: if the percent-encoding is broken.
        """
        text = self.path.partition("?")[2].partition("#")[0]
        if _BAD_ESCAPE.search(text):
            raise ValueError("the query is not properly encoded")
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1_000))

    @cached_property
    def json(self) -> Any:
        """The decoded body.

        Raises ValueError: if it is not JSON.
        """
        return read_json(self.body)

    @property
    def hidden_path(self) -> str:
        """The raw path with the value of every `apikey` hidden."""
        path, mark, query = self.path.partition("?")
        return path + mark + "&".join(_hide_key(pair) for pair in query.split("&"))

    def first(self, name: str) -> str | None:
        """Return the first value of a query key."""
        return next((value for key, value in self.query if key == name), None)

    def every(self, name: str) -> list[str]:
        """Return all values of a query key: repeats, each split at commas, empty ones dropped."""
        values = [part for key, value in self.query if key == name for part in value.split(",")]
        return [value for value in values if value]


def _hide_key(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    # Decoded as often as it takes: a name that hides behind its encoding still names the key.
    plain = name
    while "%" in plain and (decoded := unquote(plain)) != plain:
        plain = decoded
    return f"{name}{equals}<hidden>" if equals and "apikey" in plain.lower() else pair


End = Literal["keep", "fin", "reset"]
"""What becomes of a connection: it stays open, or ends in order, or is cut."""
GoAway = Literal["zero", "below", "equal", "above"]
"""The last stream a GOAWAY tells: none, or one that is below, at, or above that of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to an answer on its way to the socket; `Injection` says what each field means."""

    raw: bytes | None = None
    truncate: int | None = None
    copies: int = 1
    end: End = "keep"
    stream_error: int | None = None
    goaway: GoAway | None = None
    goaway_notice: bool = False
    goaway_cut: bool = False

    @property
    def whole(self) -> bool:
        """Whether a whole answer goes out."""
        return self.raw is None and self.truncate is None and not self.silent

    @property
    def disowns(self) -> bool:
        """Whether it tells the client that the server has not processed the request."""
        return self.stream_error == REFUSED_STREAM or self.goaway in ("zero", "below")

    @property
    def silent(self) -> bool:
        """Whether no part of an answer goes out."""
        ends = self.disowns or self.stream_error is not None
        return self.goaway_cut or (self.truncate is None and ends)


@dataclass(slots=True)
class Answer:
    """What goes back, `delay` seconds after the service function made it, never earlier.

    `reset` cuts the connection instead, `hang` gives no answer until it is released, `fault` damages it. The
    server calls `sent` when it hands the whole answer to the socket.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    reset: bool = False
    hang: bool = False
    fault: Fault | None = None
    sent: Callable[[int], None] | None = None


Service = Callable[[Request], Answer]
"""The function a server carries; it never raises and never waits."""


def json_answer(value: Any, *, status: int = 200, content_type: str = JSON, delay: float = 0.0) -> Answer:
    """Return an answer whose body is `value` as JSON."""
    return Answer(status, {"Content-Type": content_type}, write_json(value), delay)


def error_answer(status: int, message: str) -> Answer:
    """Return the platform's own error shape, `{"error": ...}` (general documentation, errors)."""
    return json_answer({"error": message}, status=status)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of an API: verb, path segments (None: a parameter), name."""

    method: str
    segments: tuple[str | None, ...]
    operation: str
    needs_key: bool = True

    def parameters(self, segments: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the values of the path's parameters, None if the path is another one."""
        if len(segments) != len(self.segments):
            return None
        pairs = list(zip(self.segments, segments, strict=True))
        if any(mine is not None and mine != other for mine, other in pairs):
            return None
        values = tuple(other for mine, other in pairs if mine is None)
        return values if all(values) else None


def route(method: str, path: str, operation: str, *, needs_key: bool = True) -> Route:
    """Return the route for a path such as `/v1/orders/status/{id}`."""
    parts = [part for part in path.split("/") if part]
    names = tuple(None if part.startswith("{") else part for part in parts)
    return Route(method, names, operation, needs_key)


def find_route(routes: tuple[Route, ...], request: Request) -> tuple[Route, tuple[str, ...]] | Answer:
    """Return the matching route and its parameters, else the framework's 400, 404 or 405."""
    try:
        segments = request.segments
        _ = request.query
    except ValueError:
        return Answer(400)
    allowed = []
    for one in routes:
        values = one.parameters(segments)
        if values is None:
            continue
        if one.method == request.method:
            return one, values
        allowed.append(one.method)
    return Answer(405, {"Allow": ", ".join(allowed)}) if allowed else Answer(404)
