"""Whoever waits for something with a deadline: one timer for all of them."""

import asyncio
from collections.abc import Iterator
from math import inf
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Waiting", "Watch"]


class Waiting(Protocol):
    """Somebody who waits: `until` is monotonic, `wake` ends the wait because that has come."""

    until: float
    waiter: asyncio.Future[Any] | None

    def wake(self) -> None:
        """End the wait."""
        ...


_W = TypeVar("_W", bound=Waiting)


class Watch(Generic[_W]):
    """Wakes whoever waits when the time is over.

    A timer for each order would cost more than all else that is done while it waits (1.2 us of 15): there is one,
    for the earliest deadline, and it looks through all when it fires.

    busy_poll: seconds for which `stay_awake` keeps the loop from sleeping, at most.
    """

    def __init__(self, busy_poll: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._busy_poll = busy_poll
        self._awake_until = -inf
        self._is_awake = False
        self._waiting: set[_W] = set()
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        self._left: asyncio.Event | None = None

    def __iter__(self) -> Iterator[_W]:
        return iter(self._waiting)

    def enter(self, who: _W) -> asyncio.Future[Any]:
        """Begin to wait for the future that is returned; `wake` is called if `until` comes first."""
        self._waiting.add(who)
        if who.until < self._due:
            self._schedule(who.until)
        who.waiter = waiter = self._loop.create_future()
        return waiter

    def leave(self, who: _W) -> None:
        """Wait no more."""
        self._waiting.discard(who)
        who.waiter = None
        if self._left is not None:
            self._left.set()

    def stay_awake(self) -> None:
        """Keep the loop turning until nobody waits, or so many seconds after the last call of this."""
        self._awake_until = monotonic() + self._busy_poll
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """With something to do soon, the loop only looks at its sockets and does not wait for them."""
        self._is_awake = bool(self._waiting) and monotonic() < self._awake_until
        if self._is_awake:
            self._loop.call_soon(self._turn)

    def _schedule(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(due - monotonic(), self._expire)

    def _expire(self) -> None:
        self._timer, self._due = None, inf
        now, due = monotonic(), inf
        for who in list(self._waiting):
            if who.until <= now:
                who.wake()
            elif who.until < due:
                due = who.until
        if due < inf:
            self._schedule(due)

    async def change(self) -> None:
        """Return when somebody has left, or `nudge` was called."""
        if self._left is None:
            self._left = asyncio.Event()
        self._left.clear()
        await self._left.wait()

    def nudge(self) -> None:
        """Make `change` return."""
        if self._left is not None:
            self._left.set()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
