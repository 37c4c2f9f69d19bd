"""The page of the protocol, the code and the tests name the same things."""

import re
from pathlib import Path

import pytest

from coinapi_ems_async import ORDER_TRANSITIONS

from .notes import PAGE, decisions, table

HERE = Path(__file__).parent
PACKAGE = PAGE.parents[1] / "coinapi_ems_async"


def covered() -> set[str]:
    source = "\n".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    found = re.findall(r"^(?:async )?def test_([cu])([0-9]{2})_", source, re.MULTILINE)
    return {f"{letter.upper()}-{int(number)}" for letter, number in found}


def test_every_decision_about_rest_has_a_test() -> None:
    rest = {name for name, section in decisions().items() if name.startswith("C-") and section != "Not REST"}
    assert len(rest) == 36
    assert rest - covered() == set()


def test_no_test_names_a_row_that_is_not_there() -> None:
    assert covered() - set(decisions()) == set()


def test_every_row_is_on_the_page_once() -> None:
    names = re.findall(r"^\| ([CU]-[0-9]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {f"C-{number}" for number in range(1, 39)} <= set(names)
    assert {f"U-{number}" for number in range(1, 31)} - {"U-26"} <= set(names)


def test_the_code_names_only_rows_of_the_page() -> None:
    known = set(decisions())
    for path in PACKAGE.rglob("*.py"):
        named = set(re.findall(r"\b[CU]-[0-9]+\b", path.read_text(encoding="utf-8")))
        assert named <= known, path


@pytest.mark.parametrize("section", sorted(set(decisions().values()) - {"Not REST", "Not documented anywhere"}))
def test_every_place_in_the_code_exists(section: str) -> None:
    for row in table(section).rows:
        for place in re.findall(r"`([^`]+\.py)`", row[-1]):
            assert (PACKAGE / place).is_file(), row[0]


def test_the_life_of_an_order_is_that_of_the_code() -> None:
    rows = table("Life of an order").rows
    page = {before: frozenset(after.split(", ")) - {"–"} for before, after in rows}
    code = {str(before or "(none)"): frozenset(map(str, after)) for before, after in ORDER_TRANSITIONS.items()}
    assert page == code
