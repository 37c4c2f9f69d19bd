"""Finding out what became of orders of unknown outcome: by looking, never by sending.

Any report of the order settles it, wherever it comes from, unless it may be of another with its id. That a site
does not know it proves nothing: it may be on its way still, so that is evidence and no more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from . import operations
from .calls import Try
from .errors import ConfigurationError
from .ledger import OrderLedger
from .matrix import Row
from .models.orders import ExecutionReport
from .operations import Request
from .outcomes import Evidence, Outcome, Unknown
from .settings import Settings
from .sites.roster import Roster, SiteEntry

__all__ = ["Reconciler"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

LookAt = Callable[[SiteEntry, Request, float], Awaitable[Try]]
"""Makes one attempt of a read at one site, and no more, until the monotonic clock says so."""

_ROUNDS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""When the order's own site is asked, seconds; the others from the second round on."""
_WITHIN: Final = 10.0
_AT_ONCE: Final = 32
"""Orders looked for at a time: when a site is lost there may be hundreds, and reads are not to drown in them."""


class Reconciler:
    """Looks for orders of unknown outcome, each in a task of its own that ends with the order's doubt."""

    def __init__(
        self,
        roster: Roster,
        ledger: OrderLedger,
        settings: Settings,
        look_at: LookAt,
        *,
        ended: Callable[[], None],
        rounds: Sequence[float] = _ROUNDS,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self._is_on = settings.reconcile
        self._look_at = look_at
        self._tell = ended
        self._rounds = rounds
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._given_up: set[str] = set()
        """Those that a search left unresolved, which is told once, however often they are looked for."""
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._searches)

    def start(self, name: str) -> None:
        """Begin to look for an unresolved order, unless that is switched off."""
        if self._is_on and not self._is_closed:
            self._search(name)

    async def resolve(self, name: str, timeout: float) -> Outcome:
        """Look for an unresolved order until it is settled, or the time is over; returns what is known then."""
        end = monotonic() + timeout
        while name in self._ledger.unresolved and (left := end - monotonic()) > 0 and not self._is_closed:
            await asyncio.wait({self._search(name)}, timeout=left)
        return self._known(name)

    def _known(self, name: str) -> Outcome:
        order = self._ledger.unresolved.get(name)
        if order is None and (settled := self._ledger.settled.get(name)) is not None:
            return settled
        evidence = order.evidence if order is not None else ()
        return Unknown(
            client_order_id=name,
            site=order.site if order is not None else None,
            evidence=evidence,
            message=evidence[-1].what if evidence else "no site has told anything of it",
        )

    def settled(self, name: str) -> None:
        """Stop looking for an order: its outcome is known, or its user knows better."""
        self._given_up.discard(name)
        if (search := self._searches.pop(name, None)) is not None:
            search.cancel()
            self._tell()

    def _search(self, name: str) -> asyncio.Task[None]:
        search = self._searches.get(name)
        if search is None:
            search = asyncio.get_running_loop().create_task(
                self._look_for(name), name=f"coinapi-ems: order {name}"
            )
            self._searches[name] = search
            search.add_done_callback(lambda task: self._over(name, task))
        return search

    def _over(self, name: str, search: asyncio.Task[None]) -> None:
        if self._searches.get(name) is search:
            del self._searches[name]
        self._tell()
        if search.cancelled():
            return
        if (error := search.exception()) is not None:
            log.error("looking for order %s failed", name, exc_info=error)
        elif name in self._ledger.unresolved and name not in self._given_up:
            self._given_up.add(name)
            log.warning("order %s is still unresolved: look at the exchange itself", name)

    async def _look_for(self, name: str) -> None:
        async with self._turn:
            begun = monotonic()
            looks: set[asyncio.Task[None]] = set()
            try:
                for number, pause in enumerate(self._rounds):
                    await asyncio.sleep(max(0.0, begun + pause - monotonic()))
                    if number and all(look.done() for look in looks) and name not in self._ledger.unresolved:
                        return
                    for entry in self._whom(name, everybody=number > 0):
                        looks.add(asyncio.create_task(self._look(name, entry, begun + _WITHIN)))
                await asyncio.gather(*looks)
            finally:
                for look in looks:
                    look.cancel()

    def _whom(self, name: str, *, everybody: bool) -> list[SiteEntry]:
        """The order's own site; or every site that serves its account, that one first."""
        order = self._ledger.unresolved.get(name)
        if order is None:
            return []
        ranked = self._roster.ranked(order.exchange_id, preferred=self._ledger.taker(name))
        return ranked if everybody else ranked[:1]

    async def _look(self, name: str, entry: SiteEntry, until: float) -> None:
        try:
            one = await self._look_at(entry, operations.order_status(name), until)
        except ConfigurationError as error:  # the bearer supplier may do better the next time
            self._ledger.observe(name, Evidence(what=str(error), site=entry.site.id, at=monotonic()))
            return
        if one.row is Row.SUCCESS and one.reading is not None and isinstance(one.reading.value, ExecutionReport):
            self._ledger.saw(one.reading.value, entry.site.id)
            return
        status = one.reading.status if one.reading is not None else None
        evidence = Evidence(what=one.message or one.row.value, site=entry.site.id, at=monotonic(), status=status)
        self._ledger.observe(name, evidence)

    async def aclose(self) -> None:
        """Stop looking."""
        self._is_closed = True
        searches = list(self._searches.values())
        for search in searches:
            search.cancel()
        if searches:
            await asyncio.wait(searches)
