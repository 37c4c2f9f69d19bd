"""The page that says what one may believe is what the code does."""

import ast
import re
import textwrap

from coinapi_ems_async.matrix import Row

from .outcomes import PAGE, page


def test_the_page_is_what_the_code_does() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.outcomes"


def test_every_end_of_an_attempt_is_told() -> None:
    ends = re.findall(r"^\| (.*?) \|", page(), re.MULTILINE)
    assert {row.value for row in Row} <= set(ends)


def test_its_example_is_python() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page(), re.DOTALL)
    module = ast.parse(f"async def bot(ems, order):\n{textwrap.indent(block, '    ')}")
    assert len(module.body) == 1
