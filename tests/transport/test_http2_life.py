"""How an HTTP/2 connection begins, is kept, and ends."""

import asyncio
import gc
from collections.abc import Callable
from time import monotonic

import pytest
from h2.events import (
    ConnectionTerminated,
    PingAckReceived,
    PingReceived,
    RemoteSettingsChanged,
    StreamReset,
    WindowUpdated,
)
from h2.settings import SettingCodes

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.transport.base import TransportFailure
from coinapi_ems_async.transport.streams import CONNECTION_WINDOW, STREAM_WINDOW

from .peer import (
    READ,
    Line,
    data_frame,
    goaway,
    headers,
    ping,
    report,
    row,
    settings_frame,
    until,
)

pytestmark = pytest.mark.every_loop


# How it begins


async def test_it_says_what_it_takes() -> None:
    line = Line(None)
    said, opened = line.listen()
    assert isinstance(said, RemoteSettingsChanged)
    assert {code: change.new_value for code, change in said.changed_settings.items()} == {
        SettingCodes.HEADER_TABLE_SIZE: 4096,
        SettingCodes.ENABLE_PUSH: 0,
        SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        SettingCodes.MAX_FRAME_SIZE: 16_384,
        SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
    }
    assert isinstance(opened, WindowUpdated)
    assert opened.delta == CONNECTION_WINDOW - 65_535


async def test_it_is_ready_when_the_server_has_said_its_settings() -> None:
    line = Line(None)
    assert not line.connection.ready.done()
    assert line.connection.room() == 0
    line.hear(settings_frame())
    await line.connection.ready
    assert line.connection.room() == 100
    assert line.owner.roomier_at == []
    line.listen()


async def test_what_comes_before_the_settings_waits() -> None:
    line = Line(None)
    attempt = line.send()
    assert attempt.committed is None
    line.hear(settings_frame())
    assert line.requests() == [1]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\x15\x03",  # an alert of TLS, and another
        goaway(0),
        ping(),
        settings_frame(None, "ACK"),
        data_frame(1, b"x" * 20_000),
    ],
)
async def test_a_server_that_does_not_speak_http2_is_refused(data: bytes) -> None:
    line = Line(None)
    line.hear(data)
    assert line.connection.ready.done()  # at once, not when it does not answer pings either
    with pytest.raises(TransportFailure) as caught:
        await line.connection.ready
    assert caught.value.row is Row.REFUSED
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]


async def test_one_that_is_killed_says_nothing_more_though_nobody_tells_it_of_its_end() -> None:
    """As on uvloop when connecting is given up: the transport is gone, and `connection_lost` never comes."""
    line = Line(None, http2_ping=0.02, http2_ping_timeout=0.02)
    line.cable.abort = lambda: None  # type: ignore[method-assign]
    line.connection.kill("not ready in time")
    line.listen()
    await asyncio.sleep(0.1)
    assert line.listen() == []


async def lost(line: Line) -> None:
    line.cable.lose(ConnectionResetError())


async def closed(line: Line) -> None:
    line.connection.close()


async def killed(line: Line) -> None:
    line.connection.kill("not ready in time")


@pytest.mark.parametrize("end", [lost, closed, killed])
async def test_a_connection_that_ends_before_it_is_ready_says_so(end: Callable[[Line], object]) -> None:
    line = Line(None)
    waiting = line.send()
    await end(line)  # type: ignore[misc]  # each is a coroutine function
    with pytest.raises(TransportFailure):
        await line.connection.ready
    assert row(waiting) is Row.STALE_CONNECTION
    await until(lambda: line.owner.ends)


async def test_nobody_need_ask_whether_it_got_ready() -> None:
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    line = Line(None)
    line.connection.kill("nobody waits")
    await until(line.owner.ends.copy)
    del line
    gc.collect()
    assert reports == []


async def test_who_gave_up_waiting_for_it_does_no_harm() -> None:
    line = Line(None)
    line.connection.ready.cancel()
    line.hear(settings_frame())
    line.connection.kill("late")
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]


# How it ends


async def test_what_is_under_way_is_lost_with_it() -> None:
    line = Line({3: 3})
    first, second, begun, waiting = line.send(), line.send(), line.send(), line.send()
    line.hear(line.head(5))
    line.cable.lose(ConnectionResetError())
    await until(lambda: line.owner.ends)
    rows = [row(one) for one in (first, second, begun, waiting)]
    assert rows == [Row.LOST, Row.LOST_REUSED, Row.CUT_ANSWER, Row.STALE_CONNECTION]
    assert len(line.owner.finished_with) == 4
    assert line.owner.ends == [False]
    assert line.connection.room() == line.connection.running == 0
    assert row(line.send()) is Row.STALE_CONNECTION
    line.connection.abort(first)
    line.connection.close()
    line.connection.kill("again")
    assert len(line.owner.finished_with) == 5


async def test_a_fin_ends_it_too() -> None:
    line = Line()
    attempt = line.send()
    line.connection.eof_received()
    assert line.connection.room() == 0
    line.cable.lose(None)
    await until(lambda: line.owner.ends)
    assert row(attempt) is Row.LOST
    assert line.owner.ends == [False]


async def test_it_can_be_killed() -> None:
    line = Line({3: 2})
    first, begun, waiting = line.send(), line.send(), line.send()
    line.hear(line.head(3))
    line.connection.kill("for a reason")
    assert [row(one) for one in (first, begun, waiting)] == [Row.LOST, Row.CUT_ANSWER, Row.STALE_CONNECTION]
    assert first.failure is not None
    assert first.failure.message == "for a reason"
    assert line.cable.aborted
    line.hear(line.answer(1, report(first.request)))  # too late
    await until(lambda: line.owner.ends)
    assert line.owner.finished_with == [waiting, first, begun]
    assert line.owner.ends == [False]


@pytest.mark.parametrize("way", ["close", "kill"])
async def test_nothing_is_heard_after_an_end_from_within(way: str) -> None:
    line = Line()
    attempt = line.send()
    line.listen()
    attempt.on_settled = lambda _: line.connection.kill("enough") if way == "kill" else line.connection.close()
    line.hear(line.answer(1, report(attempt.request)) + ping() + bytes(9))
    line.hear(bytes(9))
    assert row(attempt) is Row.SUCCESS
    codes = [event.error_code for event in line.listen() if isinstance(event, ConnectionTerminated)]
    assert codes == ([] if way == "kill" else [0])
    await until(lambda: line.owner.ends)
    assert line.owner.finished_with == [attempt]


async def test_an_idle_connection_closes_at_once_and_says_goodbye() -> None:
    line = Line()
    line.connection.close()
    goodbye = line.goodbye()
    assert goodbye is not None
    assert goodbye.error_code == 0
    assert line.cable.is_closing()
    assert not line.cable.aborted
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]


async def test_a_closing_connection_ends_what_it_has_begun() -> None:
    line = Line({3: 2})
    first, second, waiting = line.send(), line.send(), line.send()
    line.connection.close()
    assert row(waiting) is Row.STALE_CONNECTION
    assert row(line.send()) is Row.STALE_CONNECTION
    assert not line.connection.is_usable()
    line.hear(settings_frame({3: 9}) + line.answer(1, report(first.request)))
    assert row(first) is Row.SUCCESS
    assert not line.cable.is_closing()
    line.connection.abort(second)
    assert line.cable.is_closing()
    assert line.owner.roomier_at == []


async def test_a_server_that_does_not_take_the_goodbye_cannot_keep_it_open() -> None:
    line = Line()
    closes: list[None] = []
    line.cable.close = lambda: closes.append(None)  # type: ignore[method-assign]  # it has something left to send
    line.connection.close()
    assert closes == [None]
    await until(lambda: line.cable.aborted)
    await until(lambda: line.owner.ends)


def idle_for_a_while(line: Line) -> None:
    line.connection.idle_since -= 10


@pytest.mark.parametrize("way", ["fin", "goodbye", "goodbye, fin"])
async def test_the_server_ended_what_nobody_used(way: str) -> None:
    line = Line()
    idle_for_a_while(line)
    if "goodbye" in way:
        line.hear(goaway(0))
    if "fin" in way:
        line.connection.eof_received()
        line.cable.lose(None)
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [True]


@pytest.mark.parametrize("way", ["just used", "in use", "broken", "closed by us", "reset"])
async def test_it_was_not_the_server_that_was_tired_of_waiting(way: str) -> None:
    line = Line()
    attempt = line.send()
    idle_for_a_while(line)
    if way != "in use":
        line.hear(line.answer(1, report(attempt.request)))
    if way == "broken":
        idle_for_a_while(line)
        line.hear(bytes(9))
    elif way == "closed by us":
        idle_for_a_while(line)
        line.connection.close()
    elif way == "reset":
        idle_for_a_while(line)
        line.cable.lose(ConnectionResetError())
    else:
        line.hear(goaway(1))
    line.cable.lose(None)
    await until(lambda: line.owner.ends)
    assert line.owner.ends == [False]


# Silence


async def test_an_answer_that_stops_arriving_is_given_up_alone() -> None:
    line = Line(stall_timeout=0.05)
    other, stalled = line.send(), line.send()
    line.listen()
    begun = monotonic()
    line.hear(line.head(3) + data_frame(3, b"["))
    await until(lambda: stalled.settled)
    assert monotonic() - begun >= 0.05
    assert row(stalled) is Row.CUT_ANSWER
    assert stalled.failure is not None
    assert stalled.failure.message == "the answer stopped arriving"
    (cancelled,) = line.listen()
    assert isinstance(cancelled, StreamReset)
    assert cancelled.stream_id == 3
    line.hear(line.answer(1, report(other.request)))
    assert row(other) is Row.SUCCESS


async def test_each_answer_has_a_silence_of_its_own() -> None:
    line = Line(stall_timeout=0.1)
    stalled, dripping, waiting = (line.send(READ) for _ in range(3))
    line.hear(line.head(1) + line.head(3) + line.head(5, b"103"))
    begun = monotonic()
    while not stalled.settled:
        line.hear(data_frame(3, b" "))
        await asyncio.sleep(0.01)
        assert monotonic() - begun < 3
    line.hear(data_frame(3, b"[]", "END_STREAM"))
    assert [row(one) for one in (stalled, dripping, waiting)] == [Row.CUT_ANSWER, Row.SUCCESS, None]
    second = line.send(READ)
    line.hear(line.head(7))
    await until(lambda: second.settled)
    assert row(second) is Row.CUT_ANSWER


@pytest.mark.parametrize("amid", ["frame", "head block"])
async def test_a_frame_that_stops_arriving_ends_the_connection(amid: str) -> None:
    line = Line(stall_timeout=0.05)
    first, second = line.send(), line.send()
    rooms: list[int] = []
    first.on_settled = lambda _: rooms.append(line.connection.room())
    begun = monotonic()
    line.hear(line.head(1)[:-1] if amid == "frame" else headers(1, b"\x88"))
    await until(lambda: line.owner.ends)
    assert monotonic() - begun >= 0.05
    assert [row(one) for one in (first, second)] == [Row.CUT_ANSWER] * 2
    assert rooms == [0]
    assert len(line.owner.finished_with) == 2


async def test_a_frame_that_drips_is_no_stall() -> None:
    line = Line(stall_timeout=0.05)
    attempt = line.send()
    answer = line.answer(1, report(attempt.request))
    begun = monotonic()
    for at in range(len(answer)):
        line.hear(answer[at : at + 1])
        if at % 20 == 0:
            await asyncio.sleep(0.01)
    assert monotonic() - begun > 0.05
    assert row(attempt) is Row.SUCCESS


async def test_nobody_watches_when_no_answer_is_under_way() -> None:
    line = Line(stall_timeout=0.02)
    watched = []
    first, second = line.send(), line.send()
    for said in (line.answer(1, report(first.request)), line.head(3), data_frame(3, b"{}", "END_STREAM")):
        line.hear(said)
        watched.append(line.connection._stall_timer is not None)
    assert second.settled
    assert watched[:2] == [False, True]
    await until(lambda: line.connection._stall_timer is None)


async def test_a_closing_connection_ends_with_its_last_answer_stalled() -> None:
    line = Line(stall_timeout=0.02)
    attempt = line.send()
    line.hear(line.head(1))
    line.connection.close()
    await until(lambda: line.owner.ends)
    assert row(attempt) is Row.CUT_ANSWER


async def asked(line: Line) -> PingReceived:
    """Wait for a ping."""
    line.listen()
    written = len(line.cable.written)
    await until(lambda: len(line.cable.written) > written)
    (said,) = line.listen()
    assert isinstance(said, PingReceived)
    return said


@pytest.mark.parametrize("patience", [0.5, 5])
async def test_a_silent_server_is_asked_and_may_answer(patience: float) -> None:
    line = Line(http2_ping=0.02, http2_ping_timeout=patience)
    for _ in range(3):
        line.hear(ping((await asked(line)).ping_data, "ACK"))
    assert line.connection.is_usable()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    line = Line(http2_ping=0.02, http2_ping_timeout=0.05)
    attempt = line.send()
    begun = monotonic()
    await until(lambda: line.owner.ends)
    assert monotonic() - begun >= 0.065
    assert row(attempt) is Row.LOST
    assert attempt.failure is not None
    assert attempt.failure.message == "the server does not answer pings"
    assert line.cable.aborted


async def test_any_sign_of_life_will_do() -> None:
    line = Line(http2_ping=0.02, http2_ping_timeout=0.2)
    begun = monotonic()
    for _ in range(12):
        await asked(line)
        line.hear(settings_frame(None, "ACK"))
    assert monotonic() - begun > 0.2
    assert not line.cable.is_closing()


async def test_it_answers_pings() -> None:
    line = Line()
    line.listen()
    line.hear(ping(b"question"))
    (said,) = line.listen()
    assert isinstance(said, PingAckReceived)
    assert said.ping_data == b"question"
