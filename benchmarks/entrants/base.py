"""What every entrant is: a name, its rows in the tables, and how its client is opened."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from ..measure import Call

__all__ = ["Calls", "Entrant", "Target"]

Calls = AbstractAsyncContextManager[Mapping[str, Call]]


class Target(NamedTuple):
    """Where requests go: base URLs for HTTP/1.1 and HTTP/2, and the authority of their certificates, if any."""

    url: str
    h2_url: str
    authority: bytes | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Return a new verifying context; None in cleartext."""
        if self.authority is None:
            return None
        return ssl.create_default_context(cadata=self.authority.decode())

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `url`."""
        return address(self.url)


def address(url: str) -> tuple[str, int]:
    """Return host and port of a base URL that names both."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return host, int(port)


class Entrant(NamedTuple):
    """One client to be measured.

    rows: names of the calls that `open` yields. `open` takes a target and how many requests will be in flight,
    opens a client with connections enough for them, and raises Skipped if it cannot take part.
    needs: modules that it loads; they are loaded before anything is opened, for some take a second.
    tls: whether it takes part over TLS. connected: whether it holds a connection for each request in flight.
    alone: whether it is timed one request at a time. widest: most requests in flight that it is measured with.
    """

    name: str
    rows: tuple[str, ...]
    open: Callable[[Target, int], Calls]
    needs: tuple[str, ...] = ()
    ours: bool = False
    tls: bool = False
    connected: bool = True
    alone: bool = True
    widest: int | None = None

    def takes(self, width: int) -> bool:
        """Whether it is measured with `width` requests in flight, 1 being one at a time."""
        return self.alone if width == 1 else self.widest is None or width <= self.widest
