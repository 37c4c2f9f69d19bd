"""Heads of HTTP/2, and the machine of the `h2` package that reads and writes them."""

from collections.abc import Iterable
from time import time
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from .http1 import MAX_HEAD, http_date
from .messages import Answer
from .variants import Http2

_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


def machine(speech: Http2) -> H2Connection:
    """Return the protocol machine of a server that speaks so."""
    # Headers go out as they are told: what is wrong with them is what a test wants.
    config = H2Configuration(
        client_side=False,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    machine = H2Connection(config)
    limits = {
        SettingCodes.MAX_CONCURRENT_STREAMS: speech.streams,
        SettingCodes.INITIAL_WINDOW_SIZE: speech.window,
        SettingCodes.MAX_HEADER_LIST_SIZE: 2 * MAX_HEAD,
    }
    machine.local_settings = Settings(client=False, initial_values=limits)
    return machine


def read_headers(pairs: Iterable[tuple[bytes | str, bytes | str]]) -> dict[str, str]:
    """Return the headers by name; a repeated one is joined with a comma."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, text = (one if isinstance(one, str) else one.decode("latin-1") for one in pair)
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    """Return an answer's head; a content-length among its headers is believed, right or wrong."""
    given = {name.lower(): value for name, value in answer.headers.items()}
    found = {":status": str(answer.status), "date": http_date(int(time())), "server": "Kestrel"}
    if answer.status not in (204, 304):
        found["content-length"] = str(len(answer.body))
    found |= {name: value for name, value in given.items() if name not in _HOP}
    return list(found.items())
