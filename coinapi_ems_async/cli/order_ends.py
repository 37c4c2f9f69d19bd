"""Around the sending of an order: what is said before, and what when its outcome is there."""

from pathlib import Path
from shlex import quote

import msgspec

from ..client import EMSClient
from ..outcomes import Accepted, Outcome, Unknown
from .context import Invocation
from .data import names, outcome_data, with_settled
from .exits import Exit, exit_of_outcome
from .order_view import outcome_view, recover_advice, settled_view, unknown_advice

__all__ = ["announce", "clean", "ended", "note_kept"]


def note_kept(run: Invocation, ems: EMSClient, journal: Path | None) -> None:
    """Note that the journal holds orders of earlier runs whose outcome is unknown."""
    if journal is not None and ems.orders.unresolved:
        left = len(ems.orders.unresolved)
        orders = (
            "1 earlier order of unknown outcome is"
            if left == 1
            else f"{left} earlier orders of unknown outcome are"
        )
        run.out.note(f"note: {orders} in the journal; {recover_advice(journal)}", "warn")


def announce(
    run: Invocation, client_order_id: str | None, exchange: str, words: str, journal: Path | None = None
) -> None:
    """Tell what is being sent before it is, and what to do if this is interrupted."""
    run.pending = unknown_advice(client_order_id, exchange, journal)
    if not run.out.json:
        named = f", client_order_id {client_order_id}" if client_order_id else ""
        run.out.note(f"{words}{named}")


def clean(run: Invocation, outcome: Outcome) -> Outcome:
    """Blot out secrets before a table's line breaks hide them."""
    return msgspec.structs.replace(outcome, message=run.out.clean(outcome.message or "") or outcome.message)


def ended(
    run: Invocation,
    outcome: Outcome,
    exchange: str,
    *,
    settled: Outcome | None = None,
    journal: Path | None = None,
) -> Exit:
    """Show how it ended; settled: what was found out since, if it was unknown."""
    with run.telling():
        run.pending = None
        run.ended = _told(run, outcome, exchange, settled, journal)
    return run.ended


def _told(run: Invocation, outcome: Outcome, exchange: str, settled: Outcome | None, journal: Path | None) -> Exit:
    outcome = clean(run, outcome)
    data, views, last = outcome_data(outcome), [outcome_view(outcome)], outcome
    if settled is not None:
        last = clean(run, settled)
        data, views = with_settled(data, last), [*views, settled_view(last)]
    advice = _advice(last, exchange, journal)
    if advice:
        data["advice"] = advice
    run.out.show(data, *views)
    if run.out.lost:
        named = f"{names(last)} at {last.site}, client_order_id {last.client_order_id}"
        run.out.note(f"{named}; standard output could not be written: {run.out.lost}", "bold")
    if advice:
        run.out.advise(advice, "bold bad" if isinstance(last, Unknown) else "faint")
    elif not run.out.json and not isinstance(last, Accepted):
        run.out.fail(str(outcome_data(last)["error"]["message"]), exit_of_outcome(last))
    return exit_of_outcome(last)


def _advice(outcome: Outcome, exchange: str, journal: Path | None) -> str | None:
    if isinstance(outcome, Unknown):
        return f"The outcome is UNKNOWN: {unknown_advice(outcome.client_order_id, exchange, journal)}"
    if isinstance(outcome, Accepted) and outcome.report is None:
        left = f"`coinapi-ems orders list {quote(exchange)}`"
        return f"This acknowledges the request only; see what is left with {left}."
    return None
