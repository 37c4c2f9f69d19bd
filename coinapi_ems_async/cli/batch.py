"""`coinapi-ems orders place-many`: the orders of a file."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
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
from .order_options import Journal, NotAfter
from .order_view import order_words, recover_advice
from .orders import note_lacking
from .tables import plain, status_text, table

__all__ = ["register"]

OrderFile = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON lines or CSV; - reads it from standard input.")
]
Limit = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="How many are in flight at a time; 8 by default.")
]
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
    file: OrderFile,
    limit: Limit = None,
    not_after: NotAfter = None,
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
    latest = parsing.moment("--not-after", not_after)
    for line in lines:
        for said in line.notes:
            run.out.note(f"note: line {line.line}: {said}", "warn")
    if not execute:
        _dry(run, lines)
        return None
    batch = _Batch(run, lines, None if journal is None else journal.expanduser())
    async with run.client(journal=batch.journal) as ems:
        await batch.place(ems, limit=limit, not_after=latest)
    # Closing has waited for what the sites tell.
    return batch.end(ems)


def _dry(run: Invocation, lines: Sequence[OrderLine]) -> None:
    rows: list[dict[str, Any]] = []
    view = table("line", "would", "client_order_id", right=("line",), wrap=("would",))
    for line, order, _ in lines:
        request = request_data(operations.new_order(order))
        rows.append({"line": line, "client_order_id": order.client_order_id, "request": request})
        view.add_row(str(line), Text(order_words(order)), Text(order.client_order_id))
    note_lacking(run, *(line.order for line in lines))
    run.out.show({"executed": False, "orders": rows, "message": NOTHING_SENT}, view, NOTHING_SENT)


class _Batch:
    """Orders on their way: what became of each, by its place, and what of those of unknown outcome since."""

    def __init__(self, run: Invocation, lines: Sequence[OrderLine], journal: Path | None) -> None:
        self.run = run
        self.lines = lines
        self.journal = journal
        self.told: dict[int, Outcome] = {}
        self.settled: dict[int, Outcome] = {}

    async def place(self, ems: EMSClient, *, limit: int | None, not_after: datetime | None) -> None:
        """Send them all; if interrupted, tell of each what is known before that goes on."""
        run = self.run
        note_kept(run, ems, self.journal)
        advice = "orders may have been executed: do NOT send them again; read their status"
        run.pending = f"{advice}; {recover_advice(self.journal)}." if self.journal else f"{advice}."
        if not run.out.json:
            run.out.note(f"placing {len(self.lines)} orders")
        orders = [line.order for line in self.lines]
        try:
            await ems.orders.submit_many(
                orders, limit=limit, timeout=run.timeout, not_after=not_after, on_outcome=self._note
            )
        except asyncio.CancelledError:
            with run.telling():
                run.ended = self._interrupted(ems)
            raise
        if any(isinstance(outcome, Unknown) for outcome in self.told.values()):
            run.out.note("some outcomes are unknown; looking for the orders", "warn")

    def _note(self, place: int, outcome: Outcome) -> None:
        self.told[place] = outcome = clean(self.run, outcome)
        if not self.run.out.json and not isinstance(outcome, Accepted):
            said = f"line {self.lines[place].line}: {_WORDS[type(outcome)][0]}: {outcome.message}"
            self.run.out.note(said, "warn")

    def end(self, ems: EMSClient) -> Exit:
        """Show how each ended; returns the exit status of the worst."""
        for place, outcome in self.told.items():
            found = ems.orders.settled.get(self.lines[place].order.client_order_id)
            if isinstance(outcome, Unknown) and found is not None:
                self.settled[place] = clean(self.run, found)
        with self.run.telling():
            self.run.pending = None
            self.run.ended = _worst(self._last.values())
            self._show()
        return self.run.ended

    @property
    def _last(self) -> dict[int, Outcome]:
        return {**self.told, **self.settled}

    def _show(self) -> None:
        out, last = self.run.out, self._last
        counts = Counter(_WORDS[type(outcome)][0] for outcome in last.values())
        summary = ", ".join(f"{number} {word}" for word, number in counts.items())
        if self.settled:
            summary += f"; {len(self.settled)} of unknown outcome found out since"
        unknown = [outcome.client_order_id for outcome in last.values() if isinstance(outcome, Unknown)]
        advice = self._advice(unknown) if unknown else None
        out.show(self._data() | ({"advice": advice} if advice else {}), self._view(), summary)
        if out.lost:
            out.note(f"{summary}; standard output could not be written: {out.lost}", "bold")
        if advice:
            out.advise(advice)

    def _interrupted(self, ems: EMSClient) -> Exit:
        """Tell of every order what is known: its outcome, or that it was sent, or that it never was."""
        left = [line.order.client_order_id for place, line in enumerate(self.lines) if place not in self.told]
        # An answer may have come between the cancellation and now: then the order has settled.
        sent = [name for name in left if name in ems.orders.unresolved or name in ems.orders.settled]
        unknown = sent + [one.client_order_id for one in self.told.values() if isinstance(one, Unknown)]
        said = f"interrupted: {len(self.told)} orders had ended, {len(left) - len(sent)} were never sent."
        if unknown:
            said = f"{said} {self._advice(unknown)}"
        error = {"type": "Interrupted", "message": said, "exit_code": int(Exit.INTERRUPTED)}
        out = self.run.out
        out.show(self._data() | {"error": error, "unresolved": sent}, self._view())
        if not out.json or out.lost:
            out.fail(said, Exit.INTERRUPTED)
        return Exit.INTERRUPTED

    def _data(self) -> dict[str, Any]:
        rows = []
        for place, line in enumerate(self.lines):
            row = outcome_data(self.told[place]) if place in self.told else {"outcome": None}
            if place in self.settled:
                row = with_settled(row, self.settled[place])
            rows.append({"line": line.line, "client_order_id": line.order.client_order_id} | row)
        counts = Counter(names(outcome) for outcome in self._last.values())
        return {"executed": True, "orders": rows, "counts": dict(counts)}

    def _view(self) -> RenderableType:
        made = table(
            *("line", "client_order_id", "ended", "status", "site"), right=("line",), spare=("site", "status")
        )
        last = self._last
        for place, line in enumerate(self.lines):
            if (outcome := last.get(place)) is None:
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

    def _advice(self, unknown: Sequence[str | None]) -> str:
        found = f"; {recover_advice(self.journal)}" if self.journal is not None else ""
        return (
            f"The outcome of {', '.join(map(str, unknown))} is UNKNOWN: do NOT send them again; read each with "
            f"`coinapi-ems orders status ID`, or wait for its end with `coinapi-ems orders wait ID`{found}."
        )


def _worst(outcomes: Iterable[Outcome]) -> Exit:
    found = {exit_of_outcome(outcome) for outcome in outcomes}
    return next((status for status in _WORST_FIRST if status in found), Exit.OK)
