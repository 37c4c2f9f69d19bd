"""A line of HTTP/2 that crawls: it brings something all the time, and everything too late."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from h2.events import PingReceived, StreamReset

from coinapi_ems_async import EMSClient, EMSError, Settings
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.simulator import Pace, Simulator, WireFault
from coinapi_ems_async.transport import echo

from ..conftest import an_order
from .peer import READ, Line, ping, report, row, settings_frame, until

pytestmark = pytest.mark.every_loop

SOON = 0.05


def questions(line: Line) -> list[bytes]:
    """What was asked since."""
    return [event.ping_data for event in line.listen() if isinstance(event, PingReceived)]


def given_up(line: Line) -> bytes:
    """Give a request up, and return what is asked then."""
    line.listen()
    line.connection.abort(line.send(READ))
    (asked,) = questions(line)
    return asked


async def test_a_line_that_crawls_takes_nothing_more_and_brings_what_is_under_way() -> None:
    line = Line(http2_ping_timeout=SOON)
    order = line.send()
    asked_at = monotonic()
    given_up(line)
    assert line.connection.is_usable()
    while line.connection.room():
        line.hear(settings_frame(None, "ACK"))  # whatever it brings, it is not what was asked for
        await asyncio.sleep(0.005)
        assert monotonic() - asked_at < 5
    assert monotonic() - asked_at >= SOON
    assert not line.connection.is_usable()
    assert row(line.send()) is Row.STALE_CONNECTION
    line.hear(line.answer(1, report(order.request)))
    assert row(order) is Row.SUCCESS
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]


async def test_a_server_that_takes_its_time_may() -> None:
    line = Line(http2_ping_timeout=SOON)
    line.hear(ping(given_up(line), "ACK"))
    await asyncio.sleep(2 * SOON)
    assert line.connection.room() == 100


async def test_the_answer_to_another_question_is_none_to_this() -> None:
    line = Line(http2_ping_timeout=SOON)
    given_up(line)
    line.hear(ping(b"ems-ping", "ACK"))
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]
    assert not line.connection.room()


async def test_it_does_not_ask_for_every_request_that_is_given_up() -> None:
    line = Line()
    line.hear(ping(given_up(line), "ACK"))
    attempts = [line.send(READ) for _ in range(3)]
    line.listen()
    for attempt in attempts:
        line.connection.abort(attempt)
    said = line.listen()
    assert [type(event) for event in said] == [StreamReset] * 3


async def test_one_given_up_before_there_was_room_is_reason_enough() -> None:
    """What goes out crawls too: the server has no credit to give, since it reads nothing."""
    line = Line({3: 1}, http2_ping_timeout=SOON)
    line.send()
    waiting = line.send()
    line.listen()
    line.connection.abort(waiting)
    assert row(waiting) is Row.ABANDONED
    assert len(questions(line)) == 1
    await until(lambda: not line.connection.room() and not line.connection.is_usable())


@pytest.mark.parametrize("waited", [0.9, 1.1])
async def test_an_order_need_not_run_out_of_time_first(waited: float) -> None:
    line = Line()
    order = line.send()
    assert order.committed is not None
    order.committed -= waited
    line.listen()
    line.send()
    assert len(questions(line)) == (waited > 1)


async def test_nobody_waits_for_an_echo_on_a_line_that_is_gone() -> None:
    line = Line(http2_ping_timeout=SOON)
    given_up(line)
    line.connection.kill("for a reason")
    await until(lambda: line.owner.ends)
    assert line.connection._echo._timer is None
    line.connection.abort(line.send())
    assert line.connection._echo._timer is None


async def test_no_line_is_given_longer_than_a_second() -> None:
    line = Line(http2_ping_timeout=30)
    given_up(line)
    timer = line.connection._echo._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= echo._WITHIN + 0.01


@pytest.mark.parametrize("direction", ["request", "response"])
async def test_calls_go_on_over_another_connection(direction: Any) -> None:
    """Over one that lets through 16 bytes at a time no read of so many would ever be answered in time."""
    settings = Settings(read_try_timeout=0.3, http2_ping_timeout=0.3, hedge_reads=False)
    pace = Pace(reply=0.0, book=0.0, cancel=0.0)
    async with Simulator(sites={"one": 0.0}, proxied=True, pace=pace, http2=True) as sim:
        client = EMSClient(sim.api_key, management_url=sim.management_url, transport="http2", settings=settings)
        async with client as ems:
            order = an_order()
            await ems.orders.place(order)
            drip = WireFault(action="drip", direction=direction, size=16, seconds=0.005)
            assert sim.wire("one").strike(drip)

            async def read() -> None:
                while True:
                    try:
                        await ems.orders.status(order.client_order_id, timeout=0.3)
                    except EMSError:
                        continue
                    return

            async with asyncio.timeout(20):
                for _ in range(3):
                    await asyncio.gather(*(read() for _ in range(32)))
