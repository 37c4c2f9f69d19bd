"""Changes whose caller is gone: they are listened to for a while, and the ledger hears what became of them."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from .calls import Call, settled_as
from .ledger import OrderLedger
from .matrix import Kind
from .outcomes import Unknown
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
        self._disowned: set[Attempt] = set()
        """Those whose order was settled or forgotten meanwhile."""

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
        is_disowned = attempt in self._disowned
        self._disowned.discard(attempt)
        if call.kind is Kind.NEW_ORDER and not is_disowned:
            outcome = settled_as(call, conclude(call, entry, attempt))
            self._ledger.settle(outcome)
            if isinstance(outcome, Unknown):
                self._look_after(call)
        self._told()

    def disown(self, name: str) -> None:
        """The orders of an id are settled or forgotten: answers to them say nothing of a later one under it."""
        self._disowned.update(one for one, (call, *_) in self._all.items() if call.request.client_order_id == name)

    def _look_after(self, call: Call) -> None:
        name = call.request.client_order_id
        if call.kind is Kind.NEW_ORDER and name is not None:
            self._doubtful(name)

    def close(self) -> None:
        """Listen no more."""
        for _, _, timer in self._all.values():
            timer.cancel()
