"""What the client shows of its sites over time: states of health, the first choice, and estimates."""

import asyncio
import contextlib
from math import inf
from time import monotonic
from typing import Final

import msgspec

from coinapi_ems_async import EMSClient

from .ours import first_choice
from .rig import ACCOUNT

__all__ = ["Event", "History", "Watch"]

_LOOK: Final = 0.004
_KEEP_EACH: Final = 0.2


class Event(msgspec.Struct, frozen=True):
    """A site went from one state to another, or (`site` None) the first choice from one site to another.

    at: when that was seen. looked: when it was not so yet, at the look before.
    """

    at: float
    site: str | None
    before: str | None
    after: str
    looked: float | None = None


class History(msgspec.Struct):
    """What was seen: events, and now and then the estimates of all sites, ms, None where there is none."""

    events: list[Event] = []
    times: list[float] = []
    estimates: dict[str, list[float | None]] = {}

    def moment(self, site: str, states: frozenset[str], since: float) -> float | None:
        """Return when the site first was in one of these states, from `since` on."""
        of_site = [one for one in self.events if one.site == site]
        if any(one.after in states for one in [one for one in of_site if one.at <= since][-1:]):
            return since
        return next((one.at for one in of_site if one.at > since and one.after in states), None)

    def surely_before(self, site: str, state: str, since: float) -> float:
        """Return until when, from `since` on, a site was surely not in this state; infinite if it never was."""
        found = next(
            (one for one in self.events if one.site == site and one.at > since and one.after == state), None
        )
        return inf if found is None else found.at if found.looked is None else found.looked

    def entries(self, state: str) -> list[Event]:
        """Return every entry of a site into a state."""
        return [one for one in self.events if one.site is not None and one.after == state]

    @property
    def first(self) -> str:
        """The first choice as it was seen last. Raises LookupError: if there never was one."""
        return [one.after for one in self.events if one.site is None][-1]

    @property
    def switches(self) -> list[Event]:
        """Changes of the first choice, the first choice itself not among them."""
        return [one for one in self.events if one.site is None and one.before is not None]


class Watch:
    """Looks at a client every 4 ms: `async with Watch(ems) as watch`."""

    def __init__(self, ems: EMSClient) -> None:
        self._ems = ems
        self.history = History(events=[], times=[], estimates={})
        self._states: dict[str, str] = {}
        self._first: str | None = None
        self._kept_at = self._looked = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Watch":
        self._look()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, site: str, state: str, since: float, within: float) -> float | None:
        """Wait until a site has been in a state since then, so many seconds at most; returns when that was."""
        wanted = frozenset({state})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.history.moment(site, wanted, since) is None:
                    self._changed.clear()
                    await self._changed.wait()
        return self.history.moment(site, wanted, since)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        now, views, history = monotonic(), self._ems.sites, self.history
        for view in views:
            state, before = view.health.value, self._states.get(view.id)
            if state != before:
                self._states[view.id] = state
                history.events.append(Event(now, view.id, before, state, self._looked))
                self._changed.set()
        first = first_choice(views, ACCOUNT)
        if first is not None and first != self._first:
            history.events.append(Event(now, None, self._first, first, self._looked))
            self._first = first
        self._looked = now
        if now - self._kept_at >= _KEEP_EACH:
            self._kept_at = now
            history.times.append(now)
            for view in views:
                known = view.latency is not None
                history.estimates.setdefault(view.id, []).append(1e3 * (view.latency or 0) if known else None)
