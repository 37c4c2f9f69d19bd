"""After a crash: what the journal holds unresolved is looked up, and never sent again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Protocol

from ..ledger import OrderLedger
from ..outcomes import Evidence, Outcome, Rejected, Unknown
from .entries import Entry, Kept, RecoveredOrder
from .journal import Journal

__all__ = ["Resolve", "recover", "remember"]

_AT_ONCE: Final = 16


class Resolve(Protocol):
    """Finds out what became of an order by reading, within `timeout` seconds."""

    def __call__(self, client_order_id: str, *, timeout: float) -> Awaitable[Outcome]:
        """Return the outcome, Unknown if nothing was found."""
        ...


def remember(ledger: OrderLedger, kept: Kept) -> None:
    """Tell the ledger what an opened journal holds, so that no id is used twice over the lives of a client.

    Nor what a site says of an order that was rejected in an earlier one taken for the end of a later order.
    """
    for name in kept.refused:
        ledger.sent(name)
    for name in kept.taken:
        ledger.spend(name)
    for entry in kept.unresolved:
        moment = _moment(entry).isoformat(timespec="seconds")
        evidence = Evidence(what=f"found unresolved in the journal, recorded at {moment}", at=monotonic())
        ledger.doubt(entry.client_order_id, exchange_id=entry.exchange_id, site=entry.site, evidence=(evidence,))
        if entry.is_reused:
            ledger.reused(entry.client_order_id)


async def recover(journal: Journal, resolve: Resolve, *, timeout: float) -> list[RecoveredOrder]:
    """Settle what the journal holds unresolved, within `timeout` seconds in all; returns each with its outcome."""
    until = monotonic() + timeout
    entries = await journal.unresolved()
    copies = Counter(entry.client_order_id for entry in entries)
    left = len(copies)
    room = asyncio.Semaphore(_AT_ONCE)
    found: dict[str, Outcome] = {}

    async def settle(name: str) -> None:
        """Find out about the orders of one id."""
        nonlocal left
        async with room:
            # Each has its share of the time: one that nobody knows must not use up that of the others.
            time_left = until - monotonic()
            share = min(time_left, time_left * _AT_ONCE / left)
            left -= 1
            if share > 0:
                outcome = await resolve(name, timeout=share)
                found[name] = _told(outcome, copies[name])

    async with asyncio.TaskGroup() as group:
        for name in copies:
            group.create_task(settle(name))
    await journal.unresolved()  # what was found is in the file when it is told
    return [_recovered(entry, found.get(entry.client_order_id)) for entry in entries]


def _told(outcome: Outcome, copies: int) -> Outcome:
    """Return what is known of each of several copies: that one was refused says nothing of the others."""
    if isinstance(outcome, Rejected) and copies > 1:
        return _unknown(outcome.client_order_id, outcome.site, f"one of {copies} orders with this id was rejected")
    return outcome


def _unknown(name: str | None, site: str | None, said: str) -> Unknown:
    evidence = Evidence(what=said, site=site, at=monotonic())
    return Unknown(client_order_id=name, site=site, evidence=(evidence,), message=said)


def _recovered(entry: Entry, outcome: Outcome | None) -> RecoveredOrder:
    if outcome is None:
        outcome = _unknown(entry.client_order_id, None, "the time was over before its status was read")
    return RecoveredOrder(
        client_order_id=entry.client_order_id,
        exchange_id=entry.exchange_id,
        site=entry.site,
        sent_at=_moment(entry),
        outcome=outcome,
        generation=entry.generation,
        body=entry.body,
    )


def _moment(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.sent_at, UTC)
