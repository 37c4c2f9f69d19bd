"""After a crash: what the journal holds unresolved is looked up, and never sent again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Protocol

from ..doubts import Doubt
from ..ledger import OrderLedger
from ..outcomes import Evidence, Outcome, Unknown
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
        ledger.doubt(
            entry.client_order_id,
            exchange_id=entry.exchange_id,
            site=entry.site,
            evidence=(evidence,),
            number=entry.number,
        )
        if entry.is_reused:
            ledger.reused(entry.client_order_id)
        if entry.is_spent:
            ledger.spend(entry.client_order_id)


async def recover(
    journal: Journal, ledger: OrderLedger, resolve: Resolve, *, timeout: float
) -> list[RecoveredOrder]:
    """Settle what the journal holds unresolved, within `timeout` seconds in all; returns each with its outcome."""
    until = monotonic() + timeout
    entries = await journal.unresolved()
    copies = Counter(entry.client_order_id for entry in entries)
    doubts = {doubt.number: doubt for name in copies for doubt in ledger.doubts(name)}
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
                found[name] = await resolve(name, timeout=share)

    async with asyncio.TaskGroup() as group:
        for name in copies:
            group.create_task(settle(name))
    await journal.unresolved()  # what was found is in the file when it is told
    return [_recovered(entry, doubts.get(entry.number), found.get(entry.client_order_id)) for entry in entries]


def _recovered(entry: Entry, doubt: Doubt | None, found: Outcome | None) -> RecoveredOrder:
    """Of several orders with one id each has an outcome of its own: what is known of the id is not enough."""
    outcome = doubt.outcome if doubt is not None else None
    if outcome is None and isinstance(found, Unknown):
        outcome = found
    if outcome is None:
        said = "the time was over before its status was read"
        evidence = (Evidence(what=said, at=monotonic()),)
        outcome = Unknown(client_order_id=entry.client_order_id, evidence=evidence, message=said)
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
