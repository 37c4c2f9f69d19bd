"""Draws the table of docs/outcomes.md: `python -m tests.outcomes`."""

from coinapi_ems_async.matrix import MATRIX, REJECTED_AS, Kind, Move, Row

from .pages import DOCS, drawn, row

PAGE = DOCS / "outcomes.md"
_KINDS = (Kind.NEW_ORDER, Kind.CANCEL_ONE, Kind.CANCEL_ALL, Kind.READ)
_FIRST_COMMITTED = Row.LOST


def move(end: Row, kind: Kind) -> str:
    """What follows for a kind of call, in words; outcomes stand out."""
    found = MATRIX[end].for_kind(kind)
    if found is Move.REJECTED:
        return f"**rejected** ({REJECTED_AS[end]})"
    if found is Move.DONE:
        return "value" if kind is Kind.READ else "**accepted**"
    if found is Move.RECHECK:
        return "**unknown**, then recheck"
    if found is Move.IF_OPTED_IN:
        return f"**rejected** ({REJECTED_AS[end]}), unless opted in"
    return f"**{found.value}**" if found in (Move.NOT_SENT, Move.UNKNOWN) else found.value


def attempts() -> str:
    """One row for each way an attempt can end, one column for each kind of call."""
    rows = [row(["how it ended", "new order", "cancel", "cancel-all", "read"]), row(["---"] * 5)]
    for end in Row:
        if end is _FIRST_COMMITTED:
            rows.append(row(["*the mark: from here on the server may have acted*", "", "", "", ""]))
        rows.append(row([end.value, *(move(end, kind) for kind in _KINDS)]))
    return "\n".join(rows)


def page() -> str:
    return drawn(PAGE.read_text(encoding="utf-8"), {"attempts": attempts()})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
