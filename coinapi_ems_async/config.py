"""What a client was told, checked: the values a session is made from."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .auth import Auth
from .observer import CallHook, SettledHook
from .redaction import Redaction
from .settings import Settings
from .sites.selector import CostFunction
from .transport.choice import TransportName

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SessionConfig"]


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is made from; exactly one of the two URLs is given.

    with_sites: False for the Managed Cloud API alone. proxy: may hold a password. on_call: told of every call.
    on_settled: of every order of unknown outcome that is settled. journal: the file to keep one in.
    redaction: knows the key, also one that was given and is not used.
    """

    key: str
    auth: Auth
    settings: Settings
    management_url: str | None
    site_url: str | None
    tls: ssl.SSLContext | None
    management_session: "aiohttp.ClientSession | None"
    cost: CostFunction
    transport: TransportName = "http1"
    proxy: str | None = None
    trust_env: bool = False
    on_call: CallHook | None = None
    on_settled: SettledHook | None = None
    with_sites: bool = True
    journal: Path | None = None
    redaction: Redaction = msgspec.field(default_factory=Redaction)

    def __repr__(self) -> str:
        return f"SessionConfig({self.management_url or self.site_url})"

    def __rich_repr__(self) -> Iterator[str | None]:  # type: ignore[override]  # msgspec types it narrower
        yield self.management_url or self.site_url
