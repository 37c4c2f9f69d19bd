"""A site as users see it."""

import msgspec

from .health import Health

__all__ = ["SiteView"]


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """One site as `ems.sites` shows it; `latency` is the estimated round trip, seconds."""

    id: str
    region: str | None
    provider: str | None
    url: str
    latency: float | None
    health: Health
    connections: int
    exchanges: tuple[str, ...]
    last_error: str | None = None
