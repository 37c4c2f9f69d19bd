"""One order, and how a call about it ended, for people."""

from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..models.orders import ExecutionReport, NewOrder
from ..outcomes import Accepted, AttemptRecord, NotSent, Outcome, Rejected, Unknown
from .sheet import Sheet
from .tables import amount, clock, plain, status_text, table

__all__ = [
    "attempts_table",
    "order_words",
    "outcome_view",
    "pairs",
    "recover_advice",
    "report_view",
    "settled_view",
    "unknown_advice",
]

_FACTS: Final = ("exchange_id", "client_order_id", "exchange_order_id", "symbol_id_coinapi", "symbol_id_exchange")


def pairs(rows: Iterable[tuple[str, Text]]) -> Table:
    """Return names and values in two columns."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="faint")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def order_words(order: NewOrder) -> str:
    """Return what an order asks for, as a sentence without verb."""
    symbol = order.symbol_id_coinapi or order.symbol_id_exchange
    size, limit = amount(order.amount_order), amount(order.price)
    return f"{order.side.lower()} {size} of {symbol} at {limit} on {order.exchange_id} ({order.time_in_force})"


def report_view(report: ExecutionReport) -> RenderableType:
    """Return an order with its walk and its fills."""
    facts = [(name, plain(getattr(report, name))) for name in _FACTS if getattr(report, name)]
    filled = Text.assemble(amount(report.amount_filled), " of ", amount(report.amount_order))
    if report.amount_filled and report.avg_px is not None:
        filled = Text.assemble(filled, " at ", amount(report.avg_px), " on average")
    price = Text.assemble(str(report.side or ""), " ", amount(report.amount_order), " at ", amount(report.price))
    facts += [("order", price), ("status", status_text(report.status)), ("filled", filled)]
    facts.append(("time in force", plain(report.time_in_force)))
    if report.error_message:
        facts.append(("error", Text(report.error_message, style="bad")))
    parts: list[RenderableType] = [pairs(facts)]
    if report.history:
        walk = table("status", "time (UTC)")
        for step in report.history:
            walk.add_row(status_text(step.status), clock(step.time, step.text))
        parts.append(walk)
    if report.fills:
        fills = table("fill", "price", "time (UTC)", right=("fill", "price"))
        for fill in report.fills:
            fills.add_row(amount(fill.amount), amount(fill.price), clock(fill.at, fill.time))
        parts.append(fills)
    return Group(*parts)


def attempts_table(attempts: Iterable[AttemptRecord]) -> Sheet:
    """Return every try of a call: where, how far it came, how it ended."""
    made = table(
        "attempt",
        "site",
        "came to",
        "ended",
        "time",
        right=("attempt", "time"),
        spare=("attempt",),
        wrap=("ended",),
    )
    for number, one in enumerate(attempts, 1):
        ended = f"HTTP {one.status}" if one.status is not None else short(one.failure)
        made.add_row(
            str(number),
            Text(one.site, style="name"),
            Text(str(one.phase)),
            Text(ended, style="good" if one.status == 200 else "bad"),
            f"{one.milliseconds:.1f} ms",
        )
    return made


def short(failure: str | None) -> str:
    """Return a failure without the library's own words in brackets."""
    return (failure or "no answer").partition(" (")[0]


def outcome_view(outcome: Outcome) -> RenderableType:
    """Return how an order call ended: the verdict, the order, the tries, the time it took."""
    parts: list[RenderableType] = [_verdict(outcome)]
    report = outcome.report if isinstance(outcome, Accepted | Rejected) else None
    if report is not None:
        parts.append(report_view(report))
    elif outcome.client_order_id:
        parts.append(pairs([("client_order_id", Text(outcome.client_order_id))]))
    if outcome.attempts:
        parts.append(attempts_table(outcome.attempts))
    parts.append(_timing(outcome))
    return Group(*parts)


def _verdict(outcome: Outcome) -> Text:
    match outcome:
        case Accepted():
            said = f": {outcome.message}" if outcome.message else ""
            return Text(f"ACCEPTED by {outcome.site}{said}", style="bold good")
        case Rejected():
            said = f": {outcome.message}" if outcome.message else ""
            return Text(f"REJECTED ({outcome.reason}, HTTP {outcome.status}){said}", style="bold bad")
        case NotSent():
            return Text(f"NOT SENT ({outcome.reason}): {outcome.message}", style="bold warn")
        case Unknown():
            return Text(f"OUTCOME UNKNOWN: {outcome.message}", style="bold white on red")


def _timing(outcome: Outcome) -> Text:
    timing = outcome.timing
    if timing is None or timing.round_trip is None or timing.total is None:
        return Text("")
    return Text(
        f"{timing.round_trip * 1000:.2f} ms on the wire, {timing.total * 1000:.2f} ms in all", style="faint"
    )


def unknown_advice(client_order_id: str | None, exchange_id: str, journal: Path | None = None) -> str:
    """Return what to do, and not to do, about an unknown outcome; journal: the file that records the order."""
    if client_order_id:
        named = f"{quote(client_order_id)} --exchange {quote(exchange_id)}"
        ways = (
            f"with `coinapi-ems orders status {named}`, or wait for its end with `coinapi-ems orders wait {named}`"
        )
    else:
        ways = f"with `coinapi-ems orders list {quote(exchange_id)}`"
    if journal is not None:
        ways += f"; {recover_advice(journal)}"
    return f"it may have been executed: do NOT send it again; read what became of it {ways}."


def recover_advice(journal: Path) -> str:
    """Return which command looks up all that a journal holds unresolved."""
    command = f"coinapi-ems orders recover --journal {quote(str(journal))}"
    return f"`{command}` looks up all that the journal holds unresolved"


def settled_view(outcome: Outcome) -> RenderableType:
    """Return what was found out later about an order whose outcome was unknown."""
    return Group(Text("found out since:", style="bold"), outcome_view(outcome))
