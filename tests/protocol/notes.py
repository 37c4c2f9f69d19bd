"""The tables of docs/protocol.md, so that tests and page cannot drift apart."""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


class Table(NamedTuple):
    section: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def tables() -> list[Table]:
    found: list[Table] = []
    section, block = "", list[tuple[str, ...]]()
    for line in [*PAGE.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            block.append(_cells(line))
            continue
        if block:
            found.append(Table(section, block[0], tuple(block[2:])))
            block = []
        if line.startswith("#"):
            section = line.lstrip("# ")
    return found


def table(section: str) -> Table:
    (found,) = [one for one in tables() if one.section == section]
    return found


def decisions() -> dict[str, str]:
    """Name of each row -> section it stands in."""
    return {row[0]: one.section for one in tables() for row in one.rows if re.fullmatch(r"[CU]-[0-9]+", row[0])}
