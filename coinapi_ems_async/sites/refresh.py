"""When the site table is read again: now and then, when somebody asks, and after failures until it succeeds."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Final

from ..errors import EMSError, RateLimited, TransportError
from ..settings import Settings
from .directory import Directory

__all__ = ["Refresher"]

log: Final = logging.getLogger("coinapi_ems_async.sites")

_MOST_BACKOFF: Final = 300.0
_MOST_DOUBLINGS: Final = 16

Pause = Callable[[float, asyncio.Event | None], Awaitable[None]]
"""Waits so many seconds, or until the event is set if there is one."""


async def _pause(seconds: float, until: asyncio.Event | None) -> None:
    if until is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()


class Refresher:
    """Keeps the site table current; whatever fails, the table there is stays as it is.

    load: returns the new table or raises EMSError. apply: takes it over.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Directory]],
        apply: Callable[[Directory], Awaitable[None]],
        settings: Settings,
        *,
        clock: Callable[[], float] = monotonic,
        pause: Pause = _pause,
    ) -> None:
        self._load = load
        self._apply = apply
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._random = random.Random()  # noqa: S311  # spreads readings, protects nothing
        self._asked = asyncio.Event()
        self._last = -inf
        self._told_until = -inf
        self._failures = 0

    def ask(self, reason: str) -> None:
        """Have the table read again: at once, or as soon as the last reading is `refresh_gap` seconds ago.

        Does not wait; asking again before that reading changes nothing.
        """
        if not self._asked.is_set():
            log.info("reading the site table again: %s", reason)
            self._asked.set()

    async def now(self) -> None:
        """Read the table now and take it over.

        Raises NoSites, AnswerError, TransportError: if it cannot be read.
        """
        try:
            directory = await self._load()
        except RateLimited as error:
            told = min(error.retry_after or 0.0, self._settings.refresh_interval)
            self._told_until = self._clock() + told
            raise
        finally:
            self._last = self._clock()
        await self._apply(directory)

    async def run(self, *, at_once: bool = False) -> None:
        """Read the table for ever; `at_once`: without waiting for the first interval to pass."""
        if not at_once:
            self._last = self._clock()
            await self._rest(self._interval())
        while True:
            await self._rest(await self._read())

    async def _read(self) -> float:
        """Read the table once; returns how long to wait then."""
        self._asked.clear()
        try:
            await self.now()
        except EMSError as error:
            level = logging.INFO if isinstance(error, TransportError) else logging.WARNING
            log.log(level, "the site table stays as it is: %s", error)
            self._failures += 1
            return self._backoff()
        self._failures = 0
        return self._interval()

    async def _rest(self, seconds: float) -> None:
        """Wait; whoever asks ends the wait, though not too soon after the last reading."""
        due = self._clock() + seconds
        await self._pause(seconds, self._asked)
        allowed = max(self._told_until, min(due, self._last + self._settings.refresh_gap))
        if (early := allowed - self._clock()) > 0:
            await self._pause(early, None)

    def _interval(self) -> float:
        return self._settings.refresh_interval * self._random.uniform(0.9, 1.1)

    def _backoff(self) -> float:
        most = min(_MOST_BACKOFF, self._settings.refresh_interval)
        doubled = self._settings.refresh_retry * 2.0 ** min(self._failures - 1, _MOST_DOUBLINGS)
        return min(doubled, most) * self._random.uniform(0.9, 1.0)
