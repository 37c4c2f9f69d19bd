"""How long a connection may stay unused."""

import pytest

from coinapi_ems_async.transport.idle import IdleLimit


def test_the_setting_is_the_limit_until_something_is_known() -> None:
    limit = IdleLimit(45.0)
    limit.closed_by_peer(10.0, 100.0)
    assert limit.limit == 45.0  # once proves nothing


def test_what_the_server_says_counts_for_three_quarters() -> None:
    limit = IdleLimit(45.0)
    limit.told_by_peer(5.0)
    assert limit.limit == pytest.approx(3.75)
    limit.told_by_peer(600.0)
    assert limit.limit == 45.0


def test_two_connections_that_ended_at_the_same_age_show_the_servers_limit() -> None:
    limit = IdleLimit(45.0)
    limit.closed_by_peer(0.200, 100.0)
    limit.closed_by_peer(0.204, 101.0)
    assert limit.limit == pytest.approx(0.15)
    limit.closed_by_peer(0.160, 102.0)
    assert limit.limit == pytest.approx(0.12)


@pytest.mark.parametrize(
    "closings",
    [
        [(3.0, 100.0), (30.0, 100.2)],  # different ages: a restart
        [(8.0, 100.0), (8.0, 100.001)],  # at the same moment: a restart
    ],
)
def test_a_restart_teaches_nothing(closings: list[tuple[float, float]]) -> None:
    limit = IdleLimit(45.0)
    for age, now in closings:
        limit.closed_by_peer(age, now)
    assert limit.limit == 45.0


def test_what_was_seen_is_forgotten_by_and_by() -> None:
    limit = IdleLimit(45.0)
    limit.closed_by_peer(20.0, 0.0)
    limit.closed_by_peer(20.0, 10.0)
    assert limit.limit == 15.0
    limit.relax(60.0)
    assert limit.limit == 15.0
    limit.relax(71.0)
    assert limit.limit == 30.0
    limit.relax(100.0)
    assert limit.limit == 30.0
    limit.relax(132.0)
    assert limit.limit == 45.0


def test_no_limit_is_so_short_that_every_request_would_need_a_handshake() -> None:
    limit = IdleLimit(45.0)
    limit.told_by_peer(0.0)
    assert limit.limit == 0.05
