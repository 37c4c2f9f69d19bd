"""A site as users see it."""

import msgspec

from .flags import Flag
from .health import Health

__all__ = ["SiteView"]


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """One site as `ems.sites` shows it.

    latency: the estimated round trip, seconds. connections: open now. in_flight: requests under way, None if the
    transport does not tell. exchanges: the accounts it serves; chosen_by: those in use that go there first. flags:
    why it comes after others of the same health; unreachable: the accounts that it could not reach lately.
    samples: the last round trips of its probes, (monotonic time, seconds) each, oldest first.
    """

    id: str
    region: str | None
    provider: str | None
    url: str
    latency: float | None
    health: Health
    connections: int
    exchanges: tuple[str, ...]
    last_error: str | None = None
    flags: tuple[Flag, ...] = ()
    unreachable: tuple[str, ...] = ()
    chosen_by: tuple[str, ...] = ()
    in_flight: int | None = None
    samples: tuple[tuple[float, float], ...] = ()
