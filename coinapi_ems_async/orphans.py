"""Changes whose caller is gone: they are listened to for a while, and the ledger hears what became of them."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from .calls import Call, settled_late
from .ledger import OrderLedger
from .rounds import conclude
from .sites.roster import SiteEntry
from .transport.base import Attempt

__all__ = ["Orphans"]


class Orphans:
    """Committed changes that nobody waits for.

    late_answer: seconds for which a connection is still listened to after the call's own time is over. doubtful:
    told of the id of each new order that turns out to need looking after. ended: called when one is over.
    """

    def __init__(
        self,
        ledger: OrderLedger,
        late_answer: float,
        *,
        doubtful: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._late_answer: Final = late_answer
        self._doubtful = doubtful
        self._told = ended
        self._all: dict[Attempt, tuple[Call, SiteEntry, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def adopt(self, call: Call, entry: SiteEntry, attempt: Attempt) -> None:
        """Listen on to an attempt that is committed and not settled."""
        timer = asyncio.get_running_loop().call_later(max(0.0, call.until - monotonic()), self._overdue, attempt)
        self._all[attempt] = (call, entry, timer)
        attempt.on_settled = self._heard
        if attempt.done is not None:
            self._heard(attempt)

    def _overdue(self, attempt: Attempt) -> None:
        """Its own time is over: ask elsewhere what became of it, and listen a little longer."""
        call, entry, _ = self._all[attempt]
        timer = asyncio.get_running_loop().call_later(self._late_answer, attempt.abort)
        self._all[attempt] = (call, entry, timer)
        self._look_after(call)

    def _heard(self, attempt: Attempt) -> None:
        """It is settled."""
        call, entry, timer = self._all.pop(attempt)
        timer.cancel()
        if call.doubt is not None:
            outcome = settled_late(call, conclude(call, entry, attempt))
            self._ledger.settle(call.doubt, outcome)
            self._look_after(call)
        self._told()

    def _look_after(self, call: Call) -> None:
        if call.doubt is not None and not call.doubt.is_over:
            self._doubtful(call.doubt.name)

    def close(self) -> None:
        """Listen no more."""
        for _, _, timer in self._all.values():
            timer.cancel()
