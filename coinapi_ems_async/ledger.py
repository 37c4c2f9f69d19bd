"""What this client knows of its own orders: in flight, unresolved, and which site took them."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from .doubts import Doubt, UnresolvedOrder, is_of_another, maybe_another
from .models.orders import ExecutionReport
from .outcomes import Accepted, Evidence, NotSent, Outcome, Rejected, RejectedReason, Unknown
from .redaction import one_line

__all__ = ["OrderLedger"]

_T = TypeVar("_T")

log: Final = logging.getLogger("coinapi_ems_async.orders")


_LATE_OUTCOMES: Final = 1_000
_UNSENT_OUTCOMES: Final = 1_000
_EVIDENCE: Final = 50
"""Observations kept of one unresolved order: the first, and the latest."""


class OrderLedger:
    """In flight, unresolved, settled late, and where orders went.

    remembered: for how many orders, the most recent ones, the site is kept, and the id if the order was taken,
    so that no retry loop sends it twice.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._in_flight: dict[str, int] = {}
        self._unresolved: dict[str, UnresolvedOrder] = {}
        self._settled: OrderedDict[str, Outcome] = OrderedDict()
        self._doubts: dict[str, list[Doubt]] = {}
        self._takers: OrderedDict[str, str] = OrderedDict()
        self._unsent: OrderedDict[str, NotSent] = OrderedDict()
        """Of orders that were not sent, nor any other under their ids: none of them is among the takers."""
        self._spent: set[str] = set()
        """Ids of takers whose order was taken, or nobody knows: those that are not to be used again."""
        self._reused: set[str] = set()
        """Ids under which an order had been sent before: what a site says of one may be about another."""
        self.listeners: list[Callable[[Doubt, Outcome | None], None]] = []
        """Told of each order that stops being unresolved: its outcome, or None if it was forgotten."""
        self.unresolved: Mapping[str, UnresolvedOrder] = MappingProxyType(self._unresolved)
        self.settled: Mapping[str, Outcome] = MappingProxyType(self._settled)

    def is_spent(self, client_order_id: str) -> bool:
        """Whether an order with this id is in flight, unresolved, or was taken before."""
        return (
            client_order_id in self._in_flight
            or client_order_id in self._unresolved
            or client_order_id in self._spent
        )

    def begin(self, client_order_id: str, *, again: bool) -> bool:
        """Note that an order is in flight; returns False instead if its id is spent, unless `again`."""
        in_flight = self._in_flight
        if (
            client_order_id in self._takers
            or client_order_id in in_flight
            or client_order_id in self._unresolved
            or client_order_id in self._spent
        ):
            if not again and self.is_spent(client_order_id):
                return False
            self._reused.add(client_order_id)
        in_flight[client_order_id] = in_flight.get(client_order_id, 0) + 1
        return True

    def end(self, client_order_id: str, *, taken: bool) -> None:
        """Note that it is not any more, and, if it was taken, that its id is not to be used again."""
        left = self._in_flight[client_order_id] - 1
        if left:
            self._in_flight[client_order_id] = left
        else:
            del self._in_flight[client_order_id]
        if taken:
            self._spent.add(client_order_id)
        if not left and client_order_id not in self._takers:
            self._fade(client_order_id)

    def spend(self, client_order_id: str) -> None:
        """Note that an order with this id was taken, or that nobody knows: it is not to be used again."""
        self._spent.add(client_order_id)
        self.sent(client_order_id)

    def sent(self, client_order_id: str) -> None:
        """Note that an order with this id was sent: the next one under it is not the first."""
        if client_order_id not in self._takers:
            self.taken_by(client_order_id, "")

    def reused(self, client_order_id: str) -> None:
        """Note that an unresolved order is not the only one that was sent under its id."""
        self._reused.add(client_order_id)

    def not_sent(self, outcome: NotSent) -> None:
        """Remember that an order was not sent, without the story of its attempts."""
        name = outcome.client_order_id
        if name is not None and name not in self._takers:
            brief = msgspec.structs.replace(outcome, attempts=(), timing=None)
            _remember(self._unsent, name, brief, _UNSENT_OUTCOMES)

    def unsent(self, client_order_id: str) -> NotSent | None:
        """Return why an order was not sent; None if one was under its id, or may be, or nobody remembers."""
        return None if self.is_spent(client_order_id) else self._unsent.get(client_order_id)

    def taken_by(self, client_order_id: str, url: str) -> None:
        """Remember the site that an order was committed to."""
        if self._unsent:
            self._unsent.pop(client_order_id, None)
        takers = self._takers
        if client_order_id in takers:
            takers.move_to_end(client_order_id)
        takers[client_order_id] = url
        if len(takers) > self._remembered:
            oldest, _ = takers.popitem(last=False)
            self._fade(oldest)

    def _fade(self, name: str) -> None:
        """Forget an id that is not among the takers, unless there is an order whose end it may still decide."""
        if name not in self._unresolved and name not in self._in_flight:
            self._spent.discard(name)
            self._reused.discard(name)

    def taker(self, client_order_id: str | None) -> str | None:
        """Return the URL of the site that took the order, None if unknown."""
        return (self._takers.get(client_order_id) or None) if client_order_id is not None else None

    def doubts(self, client_order_id: str) -> tuple[Doubt, ...]:
        """Return the unresolved orders of an id."""
        return tuple(self._doubts.get(client_order_id, ()))

    def doubt(
        self,
        client_order_id: str,
        *,
        exchange_id: str | None,
        site: str | None,
        evidence: tuple[Evidence, ...] = (),
        number: int | None = None,
    ) -> Doubt:
        """Note that an order is unresolved, one log line for each id; returns what it is settled by."""
        before = self._unresolved.get(client_order_id)
        found = Doubt(client_order_id, exchange_id, site, number)
        self._doubts.setdefault(client_order_id, []).append(found)
        self._unresolved[client_order_id] = UnresolvedOrder(
            client_order_id=client_order_id,
            exchange_id=exchange_id,
            site=site,
            since=before.since if before else monotonic(),
            evidence=(before.evidence if before else ()) + evidence,
        )
        if before is None:
            self._settled.pop(client_order_id, None)  # that was of an earlier order
            said = "; ".join(map(str, evidence)) or "the caller went away before the answer"
            log.warning("order %s at site %s: outcome unknown: %s", client_order_id, site, said)
        return found

    def settle(self, doubt: Doubt, outcome: Outcome) -> None:
        """Take in the late outcome of an order that was unresolved; `Unknown` only adds evidence."""
        if doubt.is_over:
            return
        if isinstance(outcome, Unknown):
            self.observe(doubt.name, *outcome.evidence)
            return
        self._note(doubt, outcome)
        self._end(doubt, outcome)
        log.info("order %s at site %s is resolved: %s", doubt.name, outcome.site, type(outcome).__name__)

    def observe(self, client_order_id: str, *evidence: Evidence) -> None:
        """Add what was seen of an unresolved order."""
        if (order := self._unresolved.get(client_order_id)) is not None:
            seen = order.evidence + evidence
            if len(seen) > _EVIDENCE:
                seen = (seen[0], *seen[1 - _EVIDENCE :])
            self._unresolved[client_order_id] = msgspec.structs.replace(order, evidence=seen)

    def _note(self, doubt: Doubt, outcome: Outcome) -> None:
        """Keep what became of an order; that one copy was refused says nothing of one that was taken."""
        name = doubt.name
        if isinstance(outcome, Accepted):
            self.spend(name)
        elif name in self._spent:
            return
        elif isinstance(outcome, Rejected):
            self.sent(name)
        elif isinstance(outcome, NotSent) and name not in self._reused:
            self._takers.pop(name, None)
            self.not_sent(outcome)
        _remember(self._settled, name, outcome, _LATE_OUTCOMES)

    def _end(self, doubt: Doubt, outcome: Outcome | None) -> None:
        name = doubt.name
        doubt.is_over, doubt.outcome = True, outcome
        left = self._doubts[name]
        left.remove(doubt)
        if not left:
            del self._doubts[name], self._unresolved[name]
            if name not in self._takers:
                self._fade(name)
        for listener in self.listeners:
            listener(doubt, outcome)

    def forget(self, client_order_id: str) -> UnresolvedOrder:
        """Take what is unresolved under an id off the unresolved ones; the id stays spent.

        Raises KeyError: if nothing is.
        """
        order = self._unresolved[client_order_id]
        self.spend(client_order_id)
        self._settled.pop(client_order_id, None)  # that was of another order
        log.info("order %s is forgotten unresolved", client_order_id)
        for doubt in self.doubts(client_order_id):
            self._end(doubt, None)
        return order

    def is_ambiguous(self, report: ExecutionReport) -> bool:
        """Whether a report settles no unresolved order although it is about its id.

        Of several orders sent under one id, at this time or before, one may have been rejected and the others be
        in the book all the same; and where another one was taken, or may be any moment, the report may be about
        that one. So it is if it names another account: nothing keeps a stranger from using an id.
        """
        name = report.client_order_id
        doubts = self._doubts.get(name)
        if doubts is None:
            return False
        if len(doubts) > 1 or is_of_another(report, doubts[0].exchange_id):
            return True
        if report.is_rejected:
            return name in self._reused
        return name in self._spent or name in self._in_flight

    def saw(self, report: ExecutionReport, site: str | None) -> None:
        """Take in a report from any answer: unless it is ambiguous, it settles an unresolved order of its id."""
        name = report.client_order_id
        doubts = self._doubts.get(name)
        if doubts is None:
            return
        if self.is_ambiguous(report):
            self.observe(name, Evidence(what=maybe_another(report), site=site, at=monotonic()))
            return
        outcome: Outcome = Accepted(client_order_id=name, site=site, report=report)
        if report.is_rejected:
            reason, said = RejectedReason.EXCHANGE, one_line(report.error_message or "")
            outcome = Rejected(
                client_order_id=name, site=site, report=report, reason=reason, status=200, message=said
            )
        self.settle(doubts[0], outcome)


def _remember(memory: "OrderedDict[str, _T]", name: str, value: _T, most: int) -> None:
    if name in memory:
        memory.move_to_end(name)
    memory[name] = value
    if len(memory) > most:
        memory.popitem(last=False)
