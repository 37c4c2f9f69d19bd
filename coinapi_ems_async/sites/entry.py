"""One site in use: its pools, estimate and health."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from math import inf
from random import Random
from typing import Final

from ..settings import Settings
from ..transport.base import Pool
from .directory import Site
from .estimator import Estimator
from .health import Health, HealthRecord
from .selector import Candidate
from .view import SiteView

__all__ = ["PoolFactory", "SiteEntry"]

_HISTORY: Final = 60
"""Samples kept for whoever draws them."""

_BUSY: Final = 60
"""Rounds, of a second or less, for which it counts how busy a site was."""

PoolFactory = Callable[[Site, bool], Pool]
"""Makes the pool of a site; True for the one of its probes."""


class SiteEntry:
    """One site in use."""

    def __init__(self, site: Site, make_pool: PoolFactory, settings: Settings, random: Random) -> None:
        self.site = site
        self.pool = make_pool(site, False)
        self.probe_pool = make_pool(site, True)
        self.estimator = Estimator(settings)
        self.health = HealthRecord(settings, random)
        self.history: deque[tuple[float, float]] = deque(maxlen=_HISTORY)
        """Samples with their times, oldest first."""
        self.troubled = True
        """Whether a good answer would change anything: looked at for every order."""
        self.answered_in = 0.0
        """Seconds from when the last new order that it answered was sent until the answer began."""
        self.probed = asyncio.Event()
        """Set once there is a sample or the first probe has failed."""
        self.wake = asyncio.Event()
        """Tells the probing that something changed."""
        self.hurried = False
        """Whether a probe is wanted at once."""
        self.hurried_at = -inf
        """When one was last made for that reason."""
        self.suspected: deque[float] = deque((-inf, -inf), maxlen=2)
        """When it was last suspected, and when before that."""
        self.busy: deque[int] = deque(maxlen=_BUSY)
        """Most requests at a time in each of the last rounds, oldest first."""
        self.discarded = 0
        """Good probes in a row that gave no sample."""

    def __repr__(self) -> str:
        return f"<SiteEntry {self.site.id} {self.health.state} {self.pool!r}>"

    @property
    def is_lost(self) -> bool:
        """Whether it is ejected."""
        return self.health.state is Health.EJECTED

    @property
    def is_suspect(self) -> bool:
        """Whether it is suspected of having failed."""
        return self.health.state is Health.SUSPECT

    @property
    def in_flight(self) -> int | None:
        """Requests under way, None if the pool does not tell."""
        return getattr(self.pool, "in_flight", None)

    def hurry(self) -> None:
        """Ask for a probe at once."""
        self.hurried = True
        self.wake.set()

    def candidate(self, exchange_id: str | None, home: str | None, now: float) -> Candidate:
        """Return what the selector wants to know."""
        flags = self.health.flags
        return Candidate(
            self.site,
            self.health.state,
            self.estimator.at(now),
            home is not None and home == self.site.location_id,
            exchange_id,
            flags.is_flagged(now) or flags.is_down(exchange_id, now),
            self.in_flight or 0,
            self.health.last_success,
            self.estimator.doubt(now),
        )

    def view(self, now: float, chosen_by: tuple[str, ...]) -> SiteView:
        """Return what users see."""
        return SiteView(
            id=self.site.id,
            region=self.site.region,
            provider=self.site.provider,
            url=self.site.url,
            latency=self.estimator.at(now),
            health=self.health.state,
            connections=self.pool.connections,
            exchanges=tuple(sorted(self.site.exchanges)),
            last_error=self.health.last_error,
            flags=self.health.flags.now(now),
            unreachable=self.health.flags.down(now),
            chosen_by=chosen_by,
            in_flight=self.in_flight,
            samples=tuple(self.history),
        )

    async def leave(self, within: float) -> None:
        """Let what is under way end, within so many seconds, then close; what waits is to go elsewhere."""
        self.pool.keep_warm(0)
        self.pool.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.pool.drain()
        await self.aclose()

    async def aclose(self) -> None:
        """Close both pools."""
        await self.probe_pool.aclose()
        await self.pool.aclose()
