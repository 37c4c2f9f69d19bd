"""The tables of docs/sites.md, drawn from the code; `python -m tests.sites.page` writes them anew."""

import re
from collections.abc import Iterable
from pathlib import Path

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.effects import EFFECTS
from coinapi_ems_async.sites.health import RANK, TRANSITIONS, Event

PAGE = Path(__file__).parents[2] / "docs" / "sites.md"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def states() -> str:
    """One row for each state, one column for each event; a dash where that cannot happen."""
    rows = [_row(["state", *(event.value for event in Event)]), _row(["---"] * (len(Event) + 1))]
    for state in sorted(RANK, key=RANK.__getitem__):
        following = [TRANSITIONS[state].get(event) for event in Event]
        shown = ["–" if to is None else "stays" if to is state else f"**{to}**" for to in following]
        rows.append(_row([f"**{state}**", *shown]))
    return "\n".join(rows)


def effects() -> str:
    """One row for each way an attempt can end."""
    rows = [_row(["how an attempt ended", "what it does to the site"]), _row(["---"] * 2)]
    rows += [_row([row.value, EFFECTS[row].value]) for row in Row]
    return "\n".join(rows)


def drawn(text: str) -> str:
    """Return the page with its tables drawn anew."""
    for name, table in (("states", states()), ("effects", effects())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(pattern, rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
        assert count == 1, f"the page has {count} places for {name}"
    return text


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
