"""`coinapi-ems orders place-many`: the orders of a file."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.text import Text

from .. import operations
from ..client import EMSClient
from ..outcomes import Accepted, NotSent, Outcome, Rejected, Unknown
from . import parsing
from .accounts import NOTHING_SENT, Execute
from .commands import command
from .context import Invocation
from .data import names, outcome_data, request_data, with_settled
from .exits import Exit, exit_of_outcome
from .order_ends import clean, note_kept
from .order_files import OrderLine, read_orders, read_text
from .order_options import Journal
from .order_view import order_words, recover_advice
from .orders import note_lacking
from .tables import plain, status_text, table

__all__ = ["register"]

_WORDS: Final[Mapping[type[Outcome], tuple[str, str]]] = {
    Accepted: ("accepted", "good"),
    Rejected: ("rejected", "bad"),
    NotSent: ("not sent", "warn"),
    Unknown: ("UNKNOWN", "bold white on red"),
}
_WORST_FIRST: Final = (Exit.UNKNOWN, Exit.REJECTED, Exit.NOT_SENT)


def register(group: typer.Typer) -> None:
    """Add the command to those of orders."""
    command(group, "place-many")(place_many)


async def place_many(
    run: Invocation,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON lines or CSV; - reads it from standard input.")
    ],
    limit: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many are in flight at a time; 8 by default.")
    ] = None,
    not_after: Annotated[
        str | None,
        typer.Option(metavar="ISO-TIME", help="Send nothing later than this; with its zone."),
    ] = None,
    journal: Journal = None,
    execute: Execute = False,
) -> Exit | None:
    """Place the limit orders of a file, one JSON object a line, or CSV with a header.

    Fields and columns: exchange_id, symbol_id_coinapi or symbol_id_exchange, side, amount_order, price, and if
    wanted time_in_force, expire_time, exec_inst, client_order_id; times in force and instructions also short.
    Give each order a client_order_id: it is what you will know it by, should this be interrupted.

    Nothing is sent if anything is wrong with any line. Every order is sent at most once, whatever becomes of the
    others. Those of unknown outcome are looked for, some seconds long. The exit status is 5 if any may have been
    executed all the same, else 3 if any was refused, else 4 if any was not sent.
    """
    lines = read_orders(await asyncio.to_thread(read_text, file), file)
    latest = parsing.latest("--not-after", not_after)
    for line in lines:
        for said in line.notes:
            run.out.note(f"note: line {line.line}: {said}", "warn")
    if not execute:
        _dry(run, lines)
        return None
    told: dict[int, Outcome] = {}
    settled: dict[int, Outcome] = {}
    recorded = None if journal is None else journal.expanduser()

    def note(place: int, outcome: Outcome) -> None:
        told[place] = outcome = clean(run, outcome)
        if not run.out.json and not isinstance(outcome, Accepted):
            run.out.note(f"line {lines[place].line}: {_WORDS[type(outcome)][0]}: {outcome.message}", "warn")

    async with run.client(journal=recorded) as ems:
        note_kept(run, ems, recorded)
        advice = "orders may have been executed: do NOT send them again; read their status"
        run.pending = f"{advice}; {recover_advice(recorded)}." if recorded else f"{advice}."
        if not run.out.json:
            run.out.note(f"placing {len(lines)} orders")
        try:
            await ems.orders.submit_many(
                [line.order for line in lines],
                limit=limit,
                timeout=run.timeout,
                not_after=latest,
                on_outcome=note,
            )
        except asyncio.CancelledError:
            run.ended = _interrupted(run, lines, told, ems, recorded)
            raise
        if any(isinstance(outcome, Unknown) for outcome in told.values()):
            run.out.note("some outcomes are unknown; looking for the orders", "warn")
    # Closing has waited for what the sites tell.
    for place, outcome in told.items():
        found = ems.orders.settled.get(lines[place].order.client_order_id)
        if isinstance(outcome, Unknown) and found is not None:
            settled[place] = clean(run, found)
    run.pending = None
    run.ended = _exit_of(told | settled)
    _show(run, lines, told, settled, recorded)
    return run.ended


def _dry(run: Invocation, lines: Sequence[OrderLine]) -> None:
    rows: list[dict[str, Any]] = []
    view = table("line", "would", "client_order_id", right=("line",), wrap=("would",))
    for line, order, _ in lines:
        request = request_data(operations.new_order(order))
        rows.append({"line": line, "client_order_id": order.client_order_id, "request": request})
        view.add_row(str(line), Text(order_words(order)), Text(order.client_order_id))
    note_lacking(run, *(line.order for line in lines))
    run.out.show({"executed": False, "orders": rows, "message": NOTHING_SENT}, view, NOTHING_SENT)


def _exit_of(told: Mapping[int, Outcome]) -> Exit:
    # That of the worst outcome.
    found = {exit_of_outcome(outcome) for outcome in told.values()}
    return next((status for status in _WORST_FIRST if status in found), Exit.OK)


def _data(
    lines: Sequence[OrderLine], told: Mapping[int, Outcome], settled: Mapping[int, Outcome]
) -> dict[str, Any]:
    rows = []
    for place, line in enumerate(lines):
        row = outcome_data(told[place]) if place in told else {"outcome": None}
        if place in settled:
            row = with_settled(row, settled[place])
        rows.append({"line": line.line, "client_order_id": line.order.client_order_id} | row)
    counts = Counter(names(outcome) for outcome in {**told, **settled}.values())
    return {"executed": True, "orders": rows, "counts": dict(counts)}


def _view(lines: Sequence[OrderLine], told: Mapping[int, Outcome]) -> RenderableType:
    made = table("line", "client_order_id", "ended", "status", "site", right=("line",), spare=("site", "status"))
    for place, line in enumerate(lines):
        if (outcome := told.get(place)) is None:
            continue
        word, style = _WORDS[type(outcome)]
        report = outcome.report if isinstance(outcome, Accepted | Rejected) else None
        made.add_row(
            str(line.line),
            Text(line.order.client_order_id),
            Text(word, style=style),
            status_text(report.status if report else None),
            plain(outcome.site),
        )
    return made


def _show(
    run: Invocation,
    lines: Sequence[OrderLine],
    told: Mapping[int, Outcome],
    settled: Mapping[int, Outcome],
    journal: Path | None,
) -> None:
    data, last = _data(lines, told, settled), {**told, **settled}
    counts = Counter(_WORDS[type(outcome)][0] for outcome in last.values())
    summary = ", ".join(f"{number} {word}" for word, number in counts.items())
    if settled:
        summary += f"; {len(settled)} of unknown outcome found out since"
    unknown = [outcome.client_order_id for outcome in last.values() if isinstance(outcome, Unknown)]
    advice = _advice(unknown, journal) if unknown else None
    if advice:
        data["advice"] = advice
    run.out.show(data, _view(lines, last), summary)
    if run.out.lost:
        run.out.note(f"{summary}; standard output could not be written: {run.out.lost}", "bold")
    if advice and not run.out.json:
        run.out.note(advice, "bold bad")


def _advice(unknown: Sequence[str | None], journal: Path | None) -> str:
    found = f"; {recover_advice(journal)}" if journal is not None else ""
    return (
        f"The outcome of {', '.join(map(str, unknown))} is UNKNOWN: do NOT send them again; read each with "
        f"`coinapi-ems orders status ID`, or wait for its end with `coinapi-ems orders wait ID`{found}."
    )


def _interrupted(
    run: Invocation,
    lines: Sequence[OrderLine],
    told: Mapping[int, Outcome],
    ems: EMSClient,
    journal: Path | None,
) -> Exit:
    """Tell of every order what is known: its outcome, or that it was sent, or that it never was."""
    left = [line.order.client_order_id for place, line in enumerate(lines) if place not in told]
    # An answer may have come between the cancellation and now: then the order has settled.
    sent = [name for name in left if name in ems.orders.unresolved or name in ems.orders.settled]
    unknown = sent + [one.client_order_id for one in told.values() if isinstance(one, Unknown)]
    said = f"interrupted: {len(told)} orders had ended, {len(left) - len(sent)} were never sent."
    if unknown:
        said = f"{said} {_advice(unknown, journal)}"
    data = _data(lines, told, {}) | {
        "error": {"type": "Interrupted", "message": said, "exit_code": int(Exit.INTERRUPTED)},
        "unresolved": sent,
    }
    if run.out.json:
        run.out.data(data)
    else:
        run.out.show(data, _view(lines, told))
        run.out.fail(said, Exit.INTERRUPTED)
    return Exit.INTERRUPTED
