"""HTTP/1.1 as far as a canned answer needs it."""

from collections.abc import Callable, Mapping

from ..canned import REPORT


def answer(body: bytes) -> bytes:
    """Return the whole response with `body`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


ANSWER = answer(REPORT)


class Http1:
    """Answers once for every request that has arrived whole, by its path; the report where there is no other."""

    def __init__(self, write: Callable[[bytes], None], routes: Mapping[bytes, Callable[[], bytes]]) -> None:
        self._write = write
        self._routes = routes
        self._buffer = b""

    def feed(self, data: bytes) -> bool:
        """Take what arrived; returns whether an order was answered."""
        self._buffer += data
        was_order = False
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            rest = end + 4 + _content_length(head)
            if len(self._buffer) < rest:
                break
            self._buffer = self._buffer[rest:]
            route = self._routes.get(head.split(b" ", 2)[1]) if self._routes else None
            self._write(ANSWER if route is None else answer(route()))
            was_order = was_order or head.startswith(b"POST")
        return was_order


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
