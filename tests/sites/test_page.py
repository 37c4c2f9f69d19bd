"""The page about sites says what the code does."""

import re

import msgspec

from coinapi_ems_async import Settings
from coinapi_ems_async.sites.flags import Flag
from coinapi_ems_async.sites.health import Health

from .page import PAGE, drawn

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_code() -> None:
    assert drawn(TEXT) == TEXT, "run: python -m tests.sites.page"


def test_every_setting_it_names_exists() -> None:
    named = set(re.findall(r"`Settings\.(\w+)`", TEXT))
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    assert named
    assert named - fields == set()


def test_what_it_shows_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})


def test_it_explains_every_state_and_every_flag() -> None:
    for name in (*Health, *Flag):
        assert f"**{name}**" in TEXT
