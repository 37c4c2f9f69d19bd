"""Requests over HTTP/2: what is written and when, what waits, and what the pool is told of it."""

import asyncio
import subprocess
import sys

import pytest
from h2.events import DataReceived, PingReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.operations import ACCOUNT_SAVE, Request
from coinapi_ems_async.transport.base import Attempt
from coinapi_ems_async.transport.frames import USER_AGENT
from coinapi_ems_async.transport.http2 import LAST_STREAM

from .peer import KEY, READ, Line, order, report, reset, row, settings_frame, window

STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = SettingCodes.INITIAL_WINDOW_SIZE
FRAME = SettingCodes.MAX_FRAME_SIZE


def large(size: int) -> Request:
    return Request(operation=ACCOUNT_SAVE, target=ACCOUNT_SAVE.path, body=b"x" * size)


def sent(attempt: Attempt) -> bool:
    return attempt.committed is not None


# One request


async def test_what_a_request_says() -> None:
    line = Line()
    line.listen()
    request = order()
    attempt = line.send(request, bearer="token")
    head, body, end = line.listen()
    assert isinstance(head, RequestReceived)
    assert head.headers == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/prefix/v1/orders"),
        (b":authority", b"site.example"),
        (b"user-agent", USER_AGENT.encode()),
        (b"accept", b"application/json"),
        (b"x-coinapi-key", KEY.encode()),
        (b"authorization", b"Bearer token"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(request.body or b"")).encode()),
    ]
    secrets = {name for name, *_ in head.headers if isinstance(name, bytes)} & {b"x-coinapi-key", b"authorization"}
    assert {field[0] for field in head.headers if isinstance(field, NeverIndexedHeaderTuple)} == secrets
    assert isinstance(body, DataReceived)
    assert body.data == request.body
    assert isinstance(end, StreamEnded)
    assert attempt.connection == line.connection.number
    assert attempt.transport is line.cable


async def test_a_read_is_one_frame() -> None:
    line = Line()
    line.listen()
    line.send(READ)
    head, end = line.listen()
    assert isinstance(head, RequestReceived)
    assert isinstance(end, StreamEnded)


async def test_the_mark_comes_before_the_only_write() -> None:
    line = Line()
    attempt = Attempt(order(), "site", until=float("inf"))
    marks: list[bool] = []
    line.cable.on_write = lambda _data: marks.append(attempt.committed is not None)
    line.connection.exchange(attempt)
    assert marks == [True]


async def test_the_first_is_not_reused_and_the_second_is() -> None:
    line = Line()
    first, second = line.send(), line.send()
    assert (first.reused, second.reused) == (False, True)
    assert line.connection.served == 2
    assert line.requests() == [1, 3]


async def test_a_body_larger_than_a_frame_is_split_as_the_server_wants_it() -> None:
    line = Line({WINDOW: 10**6, FRAME: 20_000})
    line.hear(window(10**6))
    line.send(large(100_001))
    events = line.listen()
    pieces = [event.data for event in events if isinstance(event, DataReceived)]
    assert [len(piece) for piece in pieces] == [20_000] * 5 + [1]
    assert isinstance(events[-1], StreamEnded)


async def test_nothing_is_written_and_no_stream_used_if_the_mark_is_refused() -> None:
    line = Line()
    line.listen()
    written = len(line.cable.written)
    late, over, withdrawn = (
        Attempt(order(), "site", until=float("inf"), not_after=1.0),
        Attempt(order(), "site", until=0.0),
        Attempt(order(), "site", until=float("inf")),
    )
    withdrawn.withdraw()
    for attempt in (late, over, withdrawn):
        line.connection.exchange(attempt)
    assert [row(one) for one in (late, over, withdrawn)] == [Row.LATE, Row.ABANDONED, Row.ABANDONED]
    assert line.owner.finished_with == [late, over, withdrawn]
    assert len(line.cable.written) == written
    good = line.send()
    assert line.requests() == [1]
    line.hear(line.answer(1, report(good.request)))
    assert row(good) is Row.SUCCESS
    assert not good.reused


async def test_an_attempt_is_never_sent_twice() -> None:
    line = Line()
    attempt = line.send()
    line.listen()
    line.connection.exchange(attempt)
    assert line.requests() == []


async def test_a_header_that_cannot_be_sent_is_not_sent() -> None:
    line = Line()
    line.listen()
    attempt = line.send(bearer="to\r\nken")
    assert row(attempt) is Row.ABANDONED
    assert not sent(attempt)
    assert line.listen() == []


# Waiting, before the mark


async def test_a_request_waits_for_a_stream() -> None:
    line = Line({STREAMS: 1})
    first, second = line.send(), line.send()
    assert not sent(second)
    assert line.connection.running == 2
    assert line.requests() == [1]
    line.hear(line.answer(1, report(first.request)))
    assert sent(second)
    assert line.requests() == [3]


async def test_more_streams_let_the_waiting_go() -> None:
    line = Line({STREAMS: 1})
    attempts = [line.send() for _ in range(4)]
    line.listen()
    line.hear(settings_frame({STREAMS: 3}))
    assert line.requests() == [3, 5]
    assert [sent(one) for one in attempts] == [True, True, True, False]
    assert line.owner.roomier_at == []
    line.hear(settings_frame({STREAMS: 9}))
    assert line.requests() == [7]
    assert line.owner.roomier_at == [5]


async def test_the_pool_hears_of_more_streams_though_nobody_waits() -> None:
    line = Line({STREAMS: 1})
    line.send()
    line.hear(settings_frame({STREAMS: 3}))
    assert line.owner.roomier_at == [2]


async def test_no_stream_at_all_is_waited_for_too() -> None:
    line = Line({STREAMS: 0})
    assert line.connection.room() == 0
    attempt = line.send()
    assert not sent(attempt)
    line.hear(settings_frame({STREAMS: 1}))
    assert sent(attempt)


async def test_a_hundred_streams_if_the_server_sets_no_limit() -> None:
    assert Line().connection.room() == 100


async def test_a_body_waits_until_it_fits_the_connection_window() -> None:
    line = Line({WINDOW: 10**6})
    assert sent(line.send(large(65_000)))
    second = line.send(large(1_000))
    assert not sent(second)
    assert line.connection.room() == 0
    line.listen()
    line.hear(window(464))
    assert not sent(second)
    assert line.requests() == []
    line.hear(window(1))
    assert sent(second)
    assert line.bodies() == b"x" * 1_000
    assert line.owner.roomier_at == [98]


async def test_a_body_waits_until_it_fits_a_streams_window() -> None:
    line = Line({WINDOW: 999})
    attempt = line.send(large(1_000))
    line.hear(window(10**6))
    assert not sent(attempt)
    line.hear(settings_frame({WINDOW: 1_000}))
    assert sent(attempt)
    assert line.bodies() == b"x" * 1_000


async def test_a_request_waits_while_the_transport_is_full() -> None:
    line = Line()
    line.connection.pause_writing()
    attempt = line.send()
    assert not sent(attempt)
    line.connection.resume_writing()
    assert sent(attempt)
    assert line.owner.roomier_at == [99]


async def test_orders_go_before_reads_and_each_in_its_turn() -> None:
    line = Line({STREAMS: 1})
    running = line.send()
    read, first, second = line.send(READ), line.send(), line.send()
    committed = []
    for attempt, number in ((running, 1), (first, 3), (second, 5), (read, 7)):
        committed.append([sent(one) for one in (first, second, read)])
        line.hear(line.answer(number, report(attempt.request) if attempt is not read else b"[]"))
    assert committed == [[False] * 3, [True, False, False], [True, True, False], [True] * 3]
    assert row(read) is Row.SUCCESS


async def test_a_read_does_not_overtake_another() -> None:
    line = Line({STREAMS: 1})
    line.send()
    first = line.send(READ)
    line.hear(settings_frame({STREAMS: 2}))
    second = line.send(READ)
    assert (sent(first), sent(second)) == (True, False)


async def test_whose_time_is_over_while_it_waits_is_never_sent() -> None:
    line = Line({STREAMS: 1})
    running = line.send()
    late, next_one = line.send(until=-1), line.send()
    line.listen()
    line.hear(line.answer(1, report(running.request)))
    assert row(late) is Row.ABANDONED
    assert not sent(late)
    assert sent(next_one)
    assert line.requests() == [3]


async def test_who_gives_up_waiting_leaves_the_queue() -> None:
    line = Line({STREAMS: 1})
    line.send()
    impatient, patient = line.send(), line.send()
    line.connection.abort(impatient)
    assert row(impatient) is Row.ABANDONED
    assert line.owner.finished_with == [impatient]
    line.connection.abort(impatient)
    line.hear(settings_frame({STREAMS: 2}))
    assert sent(patient)
    assert line.owner.finished_with == [impatient]


async def test_a_large_body_given_up_lets_those_behind_it_go() -> None:
    line = Line({WINDOW: 100})
    stuck, small = line.send(large(1_000)), line.send(READ)
    assert not sent(small)
    line.connection.abort(stuck)
    assert sent(small)
    assert line.connection.room() == 99


# Room


async def test_room_counts_down_and_up() -> None:
    line = Line({STREAMS: 2})
    rooms = [line.connection.room()]
    first, _, third = (line.send(), line.send(), line.send())
    rooms.append(line.connection.room())
    line.hear(line.answer(1, report(first.request)))  # the third goes
    rooms.append(line.connection.room())
    line.hear(line.answer(5, report(third.request)))
    rooms.append(line.connection.room())
    assert rooms == [2, 0, 0, 1]
    assert line.connection.running == 1


async def test_the_pool_hears_of_room_that_comes_with_fewer_who_wait() -> None:
    line = Line({STREAMS: 2})
    first, second, _third = line.send(), line.send(), line.send()
    line.hear(line.answer(1, report(first.request)) + line.answer(3, report(second.request)))
    assert line.connection.room() == 1
    assert line.owner.roomier_at == [1]


async def test_fewer_streams_than_are_open_is_no_room() -> None:
    line = Line()
    line.send()
    line.send()
    line.hear(settings_frame({STREAMS: 1}))
    assert line.connection.room() == 0


async def test_the_last_stream_number_ends_the_connection_politely() -> None:
    line = Line()
    line.connection._next = LAST_STREAM
    attempt = line.send()
    assert line.requests() == [LAST_STREAM]
    assert line.connection.room() == 0
    refused = line.send()
    assert row(refused) is Row.STALE_CONNECTION
    line.hear(line.answer(LAST_STREAM, report(attempt.request)))
    assert row(attempt) is Row.SUCCESS
    assert line.goodbye() is not None
    await asyncio.sleep(0)
    assert line.owner.ends == [False]


# Stopping


async def test_a_request_under_way_is_cancelled_alone() -> None:
    line = Line()
    other, attempt = line.send(), line.send()
    line.listen()
    line.connection.abort(attempt)
    assert row(attempt) is Row.NO_ANSWER
    (cancelled,) = [event for event in line.listen() if not isinstance(event, PingReceived)]
    assert isinstance(cancelled, StreamReset)
    assert (cancelled.stream_id, cancelled.error_code) == (3, 8)
    line.hear(line.answer(3, report(attempt.request)))  # it was on its way
    line.hear(line.answer(1, report(other.request)))
    assert row(other) is Row.SUCCESS
    assert line.connection.room() == 100
    assert line.owner.finished_with == [attempt, other]


@pytest.mark.parametrize("status", [b"100", b"200"])
async def test_an_answer_under_way_is_cut(status: bytes) -> None:
    line = Line()
    attempt = line.send()
    line.hear(line.head(1, status))
    line.connection.abort(attempt)
    assert row(attempt) is Row.CUT_ANSWER


@pytest.mark.parametrize("then", ["interim", "head", "rest", "reset"])
async def test_what_was_on_its_way_to_a_cancelled_stream_does_no_harm(then: str) -> None:
    line = Line()
    attempt = line.send()
    line.hear(line.head(1))
    for _ in range(2):
        other = line.send(READ)
        line.connection.abort(other)
    line.connection.abort(attempt)
    late = {
        "interim": line.head(3, b"103"),
        "head": line.answer(3, b"[]"),
        "rest": line.block(1, [(b"x", b"y")], "END_STREAM"),
        "reset": reset(3, 0),
    }
    line.hear(late[then] + late[then] if then == "reset" else late[then])
    good = line.send()
    line.hear(line.answer(7, report(good.request)))
    assert row(good) is Row.SUCCESS


async def test_stopping_what_is_over_does_nothing() -> None:
    line = Line()
    attempt = line.send()
    line.hear(line.answer(1, report(attempt.request)))
    line.listen()
    line.connection.abort(attempt)
    assert row(attempt) is Row.SUCCESS
    assert line.listen() == []
    assert line.owner.finished_with == [attempt]


# The rest


async def test_a_bug_in_h2_is_told_to_the_attempt() -> None:
    line = Line()
    attempt = Attempt(order(), "site", until=float("inf"))
    line.connection._h2.streams.clear()
    line.connection._h2.highest_outbound_stream_id = 1  # it will refuse stream 1
    line.connection.exchange(attempt)
    assert row(attempt) is Row.LOST
    await asyncio.sleep(0)
    assert line.owner.finished_with == [attempt]
    assert line.owner.ends == [False]


async def test_it_shows_no_secret() -> None:
    line = Line(None)
    assert repr(line.connection) == f"<Http2Connection {line.connection.number} new, 0 served>"
    line.hear(settings_frame())
    line.send()
    assert "1 running" in repr(line.connection)
    line.connection.close()
    assert "closing" in repr(line.connection)
    assert KEY not in repr(vars(line.connection))


async def test_it_is_shared() -> None:
    connection = Line().connection
    assert connection.is_shared
    assert connection.keep_alive is None


def test_h2_is_imported_only_when_it_is_wanted() -> None:
    program = "import sys, coinapi_ems_async.client; sys.exit('h2' in sys.modules or 'hpack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
