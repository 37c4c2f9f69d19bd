"""How many connections the roster keeps open, and to which sites."""

from .fakes import Clock, eject, measured, pair, pool_of, site, table, url


def test_entering_ejection_clears_the_pool_once() -> None:
    roster, a, _ = pair(Clock())
    roster.bad(a, "silent")
    assert pool_of(a).cleared == 0
    roster.bad(a, "silent")
    roster.bad(a, "silent")
    assert pool_of(a).cleared == 1


def test_the_second_site_is_kept_as_warm_as_the_first_is_busy() -> None:
    roster = measured(table(*(site(name) for name in "abc")), {"a": 0.010, "b": 0.020, "c": 0.030}, Clock())

    def warm() -> list[int]:
        roster.keep_warm(2)
        return [pool_of(entry).warm for entry in roster.entries.values()]

    pool_of(roster.entries[url("a")]).in_use = 7
    assert warm() == [7, 14, 0]  # there each call takes twice as long
    pool_of(roster.entries[url("a")]).in_use = 1000
    assert warm() == [16, 16, 0]
    pool_of(roster.entries[url("a")]).in_use = 0
    for _ in range(59):
        assert warm() == [16, 16, 0]
    assert warm() == [2, 2, 0]  # a minute of rest
    pool_of(roster.entries[url("b")]).in_use = 7
    assert warm() == [7, 7, 0]
    pool_of(roster.entries[url("b")]).in_use = 0
    pool_of(roster.entries[url("a")]).in_use = 7
    roster.keep_warm(0)
    assert [pool_of(entry).warm for entry in roster.entries.values()] == [0, 0, 0]


def test_a_site_that_is_much_farther_is_kept_no_more_than_twice_as_warm() -> None:
    roster = measured(table(site("a"), site("b")), {"a": 0.001, "b": 0.100}, Clock())
    for busy, expected in ((1, [2, 2]), (3, [3, 6])):
        pool_of(roster.entries[url("a")]).in_use = busy
        roster.keep_warm(2)
        assert [pool_of(entry).warm for entry in roster.entries.values()] == expected


def test_the_two_best_sites_of_the_accounts_in_use_are_kept_warm() -> None:
    estimates = {"a": 0.010, "b": 0.020, "c": 0.030, "d": 0.040, "e": 0.050}
    both, one = ("KRAKEN", "DERIBIT"), ("DERIBIT",)
    directory = table(site("a", both), site("b", both), site("c", both), site("d", one), site("e", ("BITMEX",)))
    roster = measured(directory, estimates, Clock())

    def warm() -> str:
        roster.keep_warm(2)
        assert {pool_of(entry).warm for entry in roster.entries.values()} <= {0, 2}
        return "".join(entry.site.id for entry in roster.entries.values() if pool_of(entry).warm)

    assert warm() == "abe"
    roster.ranked(None)
    assert warm() == "abe"
    roster.ranked("DERIBIT")
    assert warm() == "ab"
    assert roster.is_among_the_best(roster.entries[url("b")])
    assert not roster.is_among_the_best(roster.entries[url("e")])
    roster.ranked("BITMEX")
    assert warm() == "abe"
    eject(roster, roster.entries[url("a")])
    eject(roster, roster.entries[url("e")])
    assert warm() == "bc"
