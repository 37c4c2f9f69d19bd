"""The tables of docs/sites.md, drawn from the code; `python -m tests.sites.page` writes them anew."""

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.effects import EFFECTS
from coinapi_ems_async.sites.health import RANK, TRANSITIONS, Event

from .. import pages
from ..pages import DOCS, drawn

PAGE = DOCS / "sites.md"


def states() -> str:
    """One row for each state, one column for each event; a dash where that cannot happen."""
    rows = [pages.row(["state", *(event.value for event in Event)]), pages.row(["---"] * (len(Event) + 1))]
    for state in sorted(RANK, key=RANK.__getitem__):
        following = [TRANSITIONS[state].get(event) for event in Event]
        shown = ["–" if to is None else "stays" if to is state else f"**{to}**" for to in following]
        rows.append(pages.row([f"**{state}**", *shown]))
    return "\n".join(rows)


def effects() -> str:
    """One row for each way an attempt can end."""
    rows = [pages.row(["how an attempt ended", "what it does to the site"]), pages.row(["---"] * 2)]
    rows += [pages.row([row.value, EFFECTS[row].value]) for row in Row]
    return "\n".join(rows)


def page() -> str:
    return drawn(PAGE.read_text(encoding="utf-8"), {"states": states(), "effects": effects()})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
