"""`coinapi-ems orders recover`: what became of orders of a run that was killed."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from ..journal.entries import RecoveredOrder
from ..outcomes import Accepted, Outcome, Rejected, Unknown
from .commands import command
from .context import Invocation
from .data import as_data, names, outcome_data
from .exits import Exit, Failure
from .order_ends import clean
from .sheet import Sheet
from .tables import clock, plain, status_text, table

__all__ = ["register"]

_STYLES: Final = {"accepted": "good", "rejected": "bad", "not_sent": "warn", "unknown": "bold white on red"}
_TIMEOUT: Final = 10.0
_UNKNOWN: Final = (
    "They may have been executed: do NOT send them again; look at the exchange itself, and run this again later."
)


def register(group: typer.Typer) -> None:
    """Add the command to those of orders."""
    command(group, "recover")(recover)


async def recover(
    run: Invocation,
    journal: Annotated[
        Path, typer.Option("--journal", metavar="FILE", help="The journal of the run that was killed.")
    ],
) -> Exit | None:
    """Find out what became of orders that a journal holds unresolved.

    It looks for --timeout seconds at most, 10 by default, and up to 5 more while it closes.

    Such orders were about to be sent, or were sent, and no outcome was recorded: the program that keeps the
    journal was killed, or no site told. Their status is read; nothing is sent again. The journal takes in what is
    found.

    The exit status is 5 if any is still unknown. It may have been executed, however often this finds nothing: look
    at the exchange itself.
    """
    file = journal.expanduser()
    if not await asyncio.to_thread(file.exists):
        raise Failure(f"there is no journal {file}.")
    async with run.client(journal=file) as ems:
        found = await ems.orders.recover(timeout=_TIMEOUT if run.timeout is None else run.timeout)
    orders = [_latest(run, order, ems.orders.settled.get(order.client_order_id)) for order in found]
    return _tell(run, orders)


def _latest(run: Invocation, order: RecoveredOrder, settled: Outcome | None) -> RecoveredOrder:
    """What was found while the client closed counts as well."""
    outcome = settled if settled is not None and isinstance(order.outcome, Unknown) else order.outcome
    return msgspec.structs.replace(order, outcome=clean(run, outcome))


def _tell(run: Invocation, orders: Sequence[RecoveredOrder]) -> Exit | None:
    counts = Counter(names(order.outcome) for order in orders)
    data: dict[str, Any] = {"orders": [_data(order) for order in orders], "counts": dict(counts)}
    said = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items())
    views = [_view(orders), said] if orders else [Text("The journal holds no unresolved order.", style="faint")]
    unknown = [order for order in orders if isinstance(order.outcome, Unknown)]
    if unknown:
        data["advice"] = f"{len(unknown)} of {len(orders)} stay UNKNOWN. {_UNKNOWN}"
    run.out.show(data, *views)
    if unknown:
        run.out.advise(data["advice"])
    return Exit.UNKNOWN if unknown else None


def _data(order: RecoveredOrder) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "exchange_id": order.exchange_id,
        "site": order.site,
        "sent_at": as_data(order.sent_at),
        "generation": order.generation,
        "order": msgspec.Raw(order.body) if order.body else None,
        "outcome": outcome_data(order.outcome),
    }


def _view(orders: Sequence[RecoveredOrder]) -> Sheet:
    made = table(
        *("client_order_id", "exchange account", "recorded (UTC)", "site", "ended", "status"),
        spare=("recorded (UTC)", "site", "exchange account", "status"),
    )
    for order in orders:
        outcome, word = order.outcome, names(order.outcome)
        report = outcome.report if isinstance(outcome, Accepted | Rejected) else None
        made.add_row(
            Text(order.client_order_id),
            plain(order.exchange_id),
            clock(order.sent_at, None),
            plain(outcome.site or order.site),
            Text(word.replace("_", " "), style=_STYLES[word]),
            status_text(report.status if report else None),
        )
    return made
