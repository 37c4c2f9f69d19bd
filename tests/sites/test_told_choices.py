"""What the roster tells of its choice, and what a cost of the user's may do to it."""

from math import nan

import pytest

from coinapi_ems_async import Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.sites.selector import Candidate

from .fakes import ACCOUNT, FAR, NEAR, Clock, eject, measured, names, pair, site, table, url


def test_where_orders_would_go_is_told_without_changing_anything() -> None:
    clock = Clock()
    roster = measured(table(site("a"), site("b", ["OTHER", ACCOUNT])), {"a": NEAR, "b": FAR}, clock)
    chosen = roster.choices()
    assert {name: entry.site.id for name, entry in chosen.items()} == {ACCOUNT: "a", "OTHER": "b"}
    assert list(roster.choices(["OTHER", "NOBODY"])) == ["OTHER"]
    assert all(one.chosen_by == () for one in roster.views()), "none is in use"
    eject(roster, roster.entries[url("a")])
    assert roster.choices()[ACCOUNT].site.id == "b"


def test_what_is_kept_has_the_inertia_of_orders() -> None:
    clock = Clock()
    roster, a, b = pair(clock)
    assert roster.choices([ACCOUNT], keep=True) == {ACCOUNT: a}
    assert roster.views()[0].chosen_by == (ACCOUNT,)
    roster.sampled(b, NEAR / 2)
    roster.evaluate()
    assert roster.choices([ACCOUNT]) == {ACCOUNT: a} == {ACCOUNT: roster.ranked(ACCOUNT)[0]}


def test_where_orders_would_go_minds_the_home_if_orders_do() -> None:
    clock = Clock()
    sites = table(site("a"), site("b"), homes={ACCOUNT: "b"})
    roster = measured(sites, {"a": NEAR, "b": FAR}, clock, settings=Settings(prefer_home_for_orders=True))
    assert {entry.site.id for entry in roster.choices().values()} == {"b"}


@pytest.mark.parametrize("worth", [ZeroDivisionError(), nan])
def test_a_cost_that_fails_leaves_the_round_trip(worth: Exception | float) -> None:
    def cost(_candidate: Candidate) -> float:
        if isinstance(worth, Exception):
            raise worth
        return worth

    roster = measured(table(site("a"), site("b")), {"a": 0.050, "b": 0.005}, Clock(), cost=cost)
    assert names(roster.ranked(ACCOUNT)) == ["b", "a"]
    roster.note(roster.entries[url("b")], Row.LOST, "why", exchange_id=ACCOUNT)
    assert names(roster.ranked(ACCOUNT)) == ["a", "b"]
