"""Pages of the documentation whose tables are drawn from the code."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def drawn(text: str, tables: Mapping[str, str]) -> str:
    """Return the page with its tables, by name, drawn anew."""
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(pattern, rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
        assert count == 1, f"the page has {count} places for {name}"
    return text
