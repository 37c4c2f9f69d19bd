"""Whether an HTTP/2 connection that brings something still brings it in time. No I/O here.

A line may crawl and yet never fall silent: all that is said on it arrives, too late. No answer tells that from a
server that takes its time; a ping does, since it waits behind what is on its way, and servers answer it at once.
Over HTTP/1.1 whoever gives up an answer ends its connection; here it would be used again and again.
"""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

from h2.connection import H2Connection

from .base import Attempt

__all__ = ["Echo"]

_QUESTION: Final = b"ems-echo"
_WITHIN: Final = 1.0
"""Seconds that any usable line takes there and back."""
_LONG: Final = 1.0
"""Seconds without an answer that are reason to ask: an order may be given half a minute."""
_PAUSE: Final = 1.0
"""Between two questions, seconds: servers may take many pings for an attack."""


class Echo:
    """Asks for an echo when answers are late, one at a time, and calls `late` if it is late too.

    within: seconds that it may take; no more than 1 is given.
    """

    def __init__(self, machine: H2Connection, within: float) -> None:
        self._machine = machine
        self._within = min(within, _WITHIN)
        self._asked_at = -inf
        self._timer: asyncio.TimerHandle | None = None

    def look(self, oldest: Attempt, newest: Attempt, late: Callable[[], None]) -> None:
        """Ask, if the oldest attempt under way has waited for long when the newest is committed."""
        if (newest.committed or 0.0) - (oldest.committed or 0.0) > _LONG:
            self.ask(late)

    def ask(self, late: Callable[[], None]) -> None:
        """Put the question to what is sent next, unless one is open or was a moment ago."""
        now = monotonic()
        if self._timer is None and now - self._asked_at >= _PAUSE:
            self._asked_at = now
            self._machine.ping(_QUESTION)
            self._timer = asyncio.get_running_loop().call_later(self._within, late)

    def heard(self, data: bytes) -> None:
        """Take in the answer to a ping."""
        if data == _QUESTION:
            self.stop()

    def stop(self) -> None:
        """Wait for it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
