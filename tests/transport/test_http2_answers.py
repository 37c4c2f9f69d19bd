"""Answers over HTTP/2: whole, broken, refused and taken back, however the bytes are cut."""

import gzip
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import WindowUpdated

from coinapi_ems_async.matrix import Row
from coinapi_ems_async.transport.base import Attempt
from coinapi_ems_async.transport.streams import CONNECTION_WINDOW, MAX_FRAME, STREAM_WINDOW

from .peer import (
    CUTS,
    READ,
    Cut,
    Fields,
    Line,
    continuation,
    data_frame,
    goaway,
    headers,
    order,
    ping,
    report,
    reset,
    row,
    settings_frame,
    window,
)

EACH_CUT = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
END = "END_STREAM"


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


# Whole


def in_pieces(line: Line, body: bytes) -> bytes:
    return (
        line.head(1) + data_frame(1, body[:9]) + data_frame(1) + data_frame(1, body[9:]) + data_frame(1, b"", END)
    )


def in_two_heads(line: Line, body: bytes) -> bytes:
    block = line.encoder.encode([(b":status", b"200"), (b"x", b"y" * 99)])
    cut = headers(1, block[:3]) + continuation(1, block[3:9]) + continuation(1, block[9:], "END_HEADERS")
    return cut + data_frame(1, body, END)


GOOD: dict[str, Callable[[Line, bytes], bytes]] = {
    "plain": lambda line, body: line.answer(1, body),
    "with its length": lambda line, body: line.answer(1, body, fields=[length(len(body))]),
    "in pieces": in_pieces,
    "its head in pieces": in_two_heads,
    "padded": lambda line, body: line.head(1) + data_frame(1, body, END, "PADDED", padding=30),
    "after interim answers": lambda line, body: line.head(1, b"103") * 8 + line.answer(1, body),
    "with a trailer": lambda line, body: line.head(1) + data_frame(1, body) + line.block(1, [(b"x", b"y")], END),
    "compressed": lambda line, body: line.answer(1, gzip.compress(body), fields=[(b"content-encoding", b"gzip")]),
    "among others": lambda line, body: ping() + window(9) + window(9, 1) + settings_frame() + line.answer(1, body),
    "extended": lambda line, body: b"\0\0\1\xfa\0\0\0\0\0?" + b"\0\0\1\xfa\0\0\0\0\7?" + line.answer(1, body),
    "prioritised": lambda line, body: b"\0\0\5\2\0\0\0\0\x09\0\0\0\0\0" + line.answer(1, body),
    "then let go": lambda line, body: line.answer(1, body) + reset(1, ErrorCodes.NO_ERROR),
    "then a goodbye": lambda line, body: line.answer(1, body) + goaway(1),
    "inside a goodbye": lambda line, body: line.head(1) + goaway(1) + data_frame(1, body, END),
    "behind a goodbye": lambda line, body: goaway(1) + line.answer(1, body),
    "then rubbish": lambda line, body: line.answer(1, body) + b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "then a broken frame": lambda line, body: line.answer(1, body) + data_frame(9),
    "then more of it": lambda line, body: line.answer(1, body) + data_frame(1, b"more"),
    "then another head": lambda line, body: line.answer(1, body) + line.head(1, b"500"),
}


@EACH_CUT
@pytest.mark.parametrize("form", GOOD.values(), ids=GOOD.keys())
async def test_a_whole_answer_counts(form: Callable[[Line, bytes], bytes], cut: Cut) -> None:
    line = Line()
    attempt = line.send()
    body = report(attempt.request)
    line.hear(form(line, body), cut)
    assert attempt.answer is not None
    assert (attempt.answer.status, attempt.answer.body) == (200, body)
    assert row(attempt) is Row.SUCCESS
    assert attempt.first_byte is not None
    assert line.owner.finished_with == [attempt]
    line.listen()  # what we answered is HTTP/2 too


async def test_the_fields_of_the_head_are_kept_as_they_came() -> None:
    line = Line()
    attempt = line.send()
    fields = [(b"retry-after", b"3"), (b"x", b"1"), (b"x", b"2")]
    line.hear(line.answer(1, b"{}", b"429", fields))
    assert attempt.answer is not None
    assert list(attempt.answer.raw_headers) == fields
    assert attempt.answer.headers == {"retry-after": "3", "x": "2"}
    assert row(attempt) is Row.RATE_LIMITED


@pytest.mark.parametrize("status", [b"204", b"304"])
async def test_an_answer_may_be_a_head_alone(status: bytes) -> None:
    line = Line()
    attempt = line.send(READ)
    line.hear(line.head(1, status, [length(9)], END))
    assert attempt.answer is not None
    assert (attempt.answer.status, attempt.answer.body) == (int(status), b"")


async def test_answers_come_in_any_order_and_mixed() -> None:
    line = Line()
    attempts = [line.send() for _ in range(3)]
    bodies = [report(one.request) for one in attempts]
    numbers = (1, 3, 5)
    line.hear(b"".join(line.head(number) for number in reversed(numbers)))
    line.hear(b"".join(data_frame(number, body[:7]) for number, body in zip(numbers, bodies, strict=True)))
    line.hear(b"".join(data_frame(number, body[7:], END) for number, body in zip(numbers, bodies, strict=True)))
    assert [row(one) for one in attempts] == [Row.SUCCESS] * 3
    assert line.owner.finished_with == attempts


async def test_an_interim_answer_is_not_the_beginning_of_the_answer() -> None:
    line = Line()
    attempt = line.send()
    line.hear(line.head(1, b"100"))
    assert attempt.first_byte is None
    line.hear(line.head(1))
    assert attempt.first_byte is not None


async def test_a_large_answer_flows() -> None:
    line = Line()
    attempt = line.send(READ)
    line.listen()
    given = {0: CONNECTION_WINDOW, 1: STREAM_WINDOW}
    piece = data_frame(1, b"x" * MAX_FRAME)
    rest = size = 3 * CONNECTION_WINDOW // 2
    line.hear(line.head(1))
    while rest:
        while rest and min(given.values()) >= MAX_FRAME:
            line.hear(piece)
            rest -= MAX_FRAME
            for stream in given:
                given[stream] -= MAX_FRAME
        for event in line.listen():
            assert isinstance(event, WindowUpdated)
            assert event.stream_id is not None
            assert event.delta is not None
            given[event.stream_id] += event.delta
        assert min(given.values()) >= MAX_FRAME
    line.hear(data_frame(1, b"", END))
    assert attempt.answer is not None
    assert len(attempt.answer.body) == size


@pytest.mark.parametrize("window_of", [STREAM_WINDOW, CONNECTION_WINDOW])
async def test_an_answer_may_end_where_a_window_would_be_opened(window_of: int) -> None:
    line = Line()
    attempt = line.send(READ)
    frames = window_of // 2 // MAX_FRAME
    line.hear(line.head(1) + data_frame(1, b"x" * MAX_FRAME) * (frames - 1))
    line.hear(data_frame(1, b"x" * MAX_FRAME, END))
    assert attempt.answer is not None
    assert len(attempt.answer.body) == window_of // 2
    line.listen()


async def test_an_answer_to_another_order_ends_the_connection_after_the_others() -> None:
    line = Line()
    attempt, other = line.send(), line.send()
    line.hear(line.answer(1, report(order())))
    assert row(attempt) is Row.OUT_OF_STEP
    assert line.connection.room() == 0
    line.hear(line.answer(3, report(other.request)))
    assert row(other) is Row.SUCCESS
    assert line.cable.is_closing()


# Broken: the whole connection


def oversized_head(line: Line) -> bytes:
    block = line.encoder.encode([(b":status", b"200"), *((b"x%d" % number, b"y" * 4_000) for number in range(17))])
    pieces = [block[at : at + MAX_FRAME] for at in range(0, len(block), MAX_FRAME)]
    return (
        headers(1, pieces[0])
        + b"".join(continuation(1, one) for one in pieces[1:-1])
        + continuation(1, pieces[-1], "END_HEADERS")
    )


def block(*fields: tuple[bytes, bytes]) -> Callable[[Line], bytes]:
    return lambda line: line.block(1, fields) + data_frame(1, b"{}", END)


OK = (b":status", b"200")
BROKEN: dict[str, Callable[[Line], bytes]] = {
    "no HTTP/2": lambda line: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a frame too large": lambda line: data_frame(1, b"x" * (MAX_FRAME + 1)),
    "a block that is not HPACK": lambda line: headers(1, b"\xff\xff\xff\xff\xff", "END_HEADERS"),
    "a field that is in no table": lambda line: headers(1, b"\xfe", "END_HEADERS"),
    "no status": block((b"x", b"y")),
    "two statuses": block(OK, OK),
    "a status after a field": block((b"x", b"y"), OK),
    "a request's field": block(OK, (b":path", b"/")),
    "a field of its own making": block(OK, (b":x", b"y")),
    "capitals": block(OK, (b"X-Y", b"z")),
    "a name with a blank": block(OK, (b"x y", b"z")),
    "an empty name": block(OK, (b"", b"z")),
    "a line end in a value": block(OK, (b"x", b"y\r\nz")),
    "a connection's field": block(OK, (b"connection", b"close")),
    "chunks": block(OK, (b"transfer-encoding", b"chunked")),
    "a body longer than said": lambda line: line.answer(1, b"[1]", fields=[length(2)]),
    "a body shorter than said": lambda line: line.answer(1, b"[]", fields=[length(3)]),
    "a body without a head": lambda line: data_frame(1, b"{}", END),
    "a second head": lambda line: line.head(1) + line.head(1),
    "a second status": lambda line: line.head(1) + line.head(1, b"500", (), END),
    "an interim answer after the final one": lambda line: line.head(1) + line.head(1, b"103"),
    "an interim answer that ends": lambda line: line.head(1, b"100", (), END),
    "a trailer that does not end": lambda line: line.head(1) + line.block(1, [(b"x", b"y")]),
    "an oversized head": oversized_head,
    "an endless head": lambda line: headers(1, b"\x88") + continuation(1, b"") * 70,
    "a frame inside a head": lambda line: headers(1, b"\x88") + ping() + continuation(1, b"", "END_HEADERS"),
    "a goodbye inside a head": lambda line: headers(1, b"\x88") + goaway(1) + continuation(1, b"", "END_HEADERS"),
    "a continuation of nothing": lambda line: continuation(1, b"\x88", "END_HEADERS"),
    "a stream never opened": lambda line: line.answer(9, b"{}"),
    "data of a stream never opened": lambda line: data_frame(9, b"{}", END),
    "a reset of a stream never opened": lambda line: reset(9, ErrorCodes.CANCEL),
    "a window of a stream never opened": lambda line: window(9, 9),
    "a stream of the server's": lambda line: line.answer(2, b"{}"),
    "a request of the server's": lambda line: line.block(
        2, [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")], END
    ),
    "a push": lambda line: b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x88",
    "data of no stream": lambda line: b"\0\0\2\0\1\0\0\0\0{}",
    "settings of a stream": lambda line: b"\0\0\0\4\0\0\0\0\1",
    "settings out of range": lambda line: settings_frame({4: 2**31}),
    "a ping too short": lambda line: b"\0\0\1\6\0\0\0\0\0?",
    "a window that opens by nothing": lambda line: b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",
    "a window too wide": lambda line: window(2**31 - 1),
    "padding longer than the frame": lambda line: b"\0\0\2\0\x08\0\0\0\1\x09?",
    "a goodbye of a stream": lambda line: b"\0\0\x08\7\0\0\0\0\1" + bytes(8),
    "a goodbye too short": lambda line: b"\0\0\4\7\0\0\0\0\0" + bytes(4),
}


@EACH_CUT
@pytest.mark.parametrize("form", BROKEN.values(), ids=BROKEN.keys())
async def test_what_breaks_the_protocol_ends_the_connection(form: Callable[[Line], bytes], cut: Cut) -> None:
    line = Line({3: 3})
    attempt, done, other, waiting = line.send(), line.send(READ), line.send(READ), line.send()
    line.listen()
    line.hear(line.answer(3, b"[]"), cut)
    assert waiting.committed is not None
    late = line.send()
    line.hear(form(line) + line.answer(7, report(waiting.request)), cut)
    assert row(done) is Row.SUCCESS
    assert [row(one) for one in (attempt, other, waiting)] == [Row.MALFORMED] * 3
    assert row(late) is Row.STALE_CONNECTION
    assert attempt.answer is None
    assert line.connection.room() == line.connection.running == 0
    assert line.cable.is_closing()
    goodbye = line.goodbye()
    assert goodbye is not None
    assert goodbye.error_code != 0


# Broken: one answer


@EACH_CUT
@pytest.mark.parametrize(
    "fields",
    [[(b"content-length", text)] for text in (b"+2", b"0x2", b"2.0", b"2, 2", b"", b"-2", b"9" * 5000)]
    + [[length(3), length(2)], [length(2), length(3)], [length(2), length(2)]],
)
async def test_a_length_that_is_not_one_is_no_success(fields: Fields, cut: Cut) -> None:
    line = Line()  # which of us says so, and to whom, depends on h2's version
    attempt = line.send(READ)
    line.hear(line.answer(1, b"[]", fields=fields), cut)
    assert row(attempt) is Row.MALFORMED
    assert line.connection.room() == 0


ALONE: dict[str, Callable[[Line], bytes]] = {
    "switching protocols": lambda line: line.head(1, b"101"),
    "nine interim answers": lambda line: line.head(1, b"103") * 9,
    "a status of two digits": lambda line: line.answer(1, b"{}", b"20"),
    "a status of four digits": lambda line: line.answer(1, b"{}", b"2000"),
    "an interim status of one digit": lambda line: line.head(1, b"1"),
    "a status below any": lambda line: line.answer(1, b"{}", b"099"),
    "a status in words": lambda line: line.answer(1, b"{}", b"ok!"),
    "a head alone that tells of a body": lambda line: line.head(1, b"200", [length(2)], END),
    "a trailer before the end": lambda line: (
        line.head(1, b"200", [length(3)]) + data_frame(1, b"[]") + line.block(1, [(b"x", b"y")], END)
    ),
    "no content, and yet some": lambda line: line.answer(1, b"{}", b"204"),
    "nothing new, and yet some": lambda line: line.answer(1, b"{}", b"304"),
    "larger than allowed": lambda line: line.answer(1, b"x" * 1001),
    "larger than allowed, going on": lambda line: line.head(1) + data_frame(1, b"x" * 600) * 3,
    "larger than allowed when unpacked": lambda line: line.answer(
        1, gzip.compress(b"x" * 1001), fields=[(b"content-encoding", b"gzip")]
    ),
    "not compressed as it says": lambda line: line.answer(1, b"{}", fields=[(b"content-encoding", b"gzip")]),
    "compressed as nobody asked": lambda line: line.answer(1, b"{}", fields=[(b"content-encoding", b"br")]),
    "a window too wide": lambda line: window(2**31 - 1, 1),
}


@EACH_CUT
@pytest.mark.parametrize("form", ALONE.values(), ids=ALONE.keys())
async def test_a_broken_answer_does_not_take_the_others_with_it(form: Callable[[Line], bytes], cut: Cut) -> None:
    line = Line({3: 2}, max_body=1000)
    attempt, other, waiting = line.send(), line.send(), line.send()
    line.listen()
    line.hear(form(line), cut)
    assert row(attempt) is Row.MALFORMED
    assert attempt.answer is None
    if form is not ALONE["a window too wide"]:
        assert row(waiting) is Row.STALE_CONNECTION
        assert line.connection.room() == 0
    line.hear(line.answer(3, report(other.request)), cut)
    assert row(other) is Row.SUCCESS
    line.listen()


# Reset


@EACH_CUT
@pytest.mark.parametrize(
    ("before", "code", "expected"),
    [
        ("nothing", ErrorCodes.REFUSED_STREAM, Row.REFUSED_STREAM),
        ("nothing", ErrorCodes.CANCEL, Row.STREAM_RESET),
        ("nothing", ErrorCodes.NO_ERROR, Row.STREAM_RESET),
        ("nothing", 0xFACE, Row.STREAM_RESET),
        ("interim", ErrorCodes.REFUSED_STREAM, Row.STREAM_RESET),
        ("head", ErrorCodes.REFUSED_STREAM, Row.STREAM_RESET),
        ("window", ErrorCodes.REFUSED_STREAM, Row.REFUSED_STREAM),
        ("body", ErrorCodes.NO_ERROR, Row.STREAM_RESET),
        ("all", ErrorCodes.NO_ERROR, Row.SUCCESS),
        ("all", ErrorCodes.REFUSED_STREAM, Row.SUCCESS),
    ],
)
async def test_a_refused_stream_is_proof_until_something_is_heard_of_it(
    before: str, code: int, expected: Row, cut: Cut
) -> None:
    line = Line()
    attempt, other = line.send(), line.send()
    head = line.head(1, b"103") if before == "interim" else line.head(1)
    said = {
        "nothing": b"",
        "interim": head,
        "head": head,
        "window": window(1, 1),
        "body": head + data_frame(1, report(attempt.request)),
        "all": head + data_frame(1, report(attempt.request), END),
    }
    line.hear(said[before] + reset(1, code), cut)
    assert row(attempt) is expected
    assert line.connection.room() == 99
    line.hear(line.answer(3, report(other.request)), cut)
    assert row(other) is Row.SUCCESS


# Goodbye


def rows(line: Line, attempts: list[Attempt], *said: bytes, cut: Cut) -> list[Row | None]:
    line.hear(b"".join(said), cut)
    return [row(one) for one in attempts]


LAST = 2**31 - 1
GONE, GOES_ON = Row.GOAWAY_UNPROCESSED, None


@EACH_CUT
@pytest.mark.parametrize(
    ("lasts", "expected"),
    [
        ((0,), [GONE, GONE, GONE]),
        ((1,), [GOES_ON, GONE, GONE]),
        ((2,), [GOES_ON, GONE, GONE]),
        ((3,), [GOES_ON, GOES_ON, GONE]),
        ((5,), [GOES_ON, GOES_ON, GOES_ON]),
        ((LAST,), [GOES_ON, GOES_ON, GOES_ON]),
        ((LAST, 3), [GOES_ON, GOES_ON, GONE]),
        ((5, 3, 1), [GOES_ON, GONE, GONE]),
        ((LAST, 0), [GONE, GONE, GONE]),
    ],
)
@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.ENHANCE_YOUR_CALM])
async def test_a_goodbye_proves_what_was_not_processed(
    lasts: tuple[int, ...], expected: list[Row | None], code: int, cut: Cut
) -> None:
    line = Line({3: 3})
    attempts = [line.send() for _ in range(3)]
    waiting = line.send()
    assert rows(line, attempts, *(goaway(last, code) for last in lasts), cut=cut) == expected
    assert row(waiting) is Row.STALE_CONNECTION
    assert waiting.committed is None
    assert line.connection.room() == 0
    assert row(line.send()) is Row.STALE_CONNECTION
    for number, attempt in zip((1, 3, 5), attempts, strict=True):
        if row(attempt) is None:
            assert not line.cable.is_closing()
            line.hear(line.answer(number, report(attempt.request)), cut)
            assert row(attempt) is Row.SUCCESS
    assert line.cable.is_closing()
    goodbye = line.goodbye()
    assert goodbye is not None
    assert goodbye.error_code == 0


@EACH_CUT
@pytest.mark.parametrize("status", [b"103", b"200"])
async def test_a_goodbye_proves_nothing_of_an_answer_that_has_begun(status: bytes, cut: Cut) -> None:
    line = Line()
    attempts = [line.send() for _ in range(3)]
    assert rows(line, attempts, line.head(3, status), goaway(0), cut=cut) == [GONE, GOES_ON, GONE]
    line.cable.lose(None)
    line.connection.connection_lost(None)
    assert row(attempts[1]) is Row.GOAWAY_LOST


@EACH_CUT
async def test_an_answer_that_has_begun_may_end_in_spite_of_a_goodbye(cut: Cut) -> None:
    line = Line()
    attempt = line.send()
    body = report(attempt.request)
    line.hear(line.head(1) + goaway(0) + data_frame(1, body, END), cut)
    assert row(attempt) is Row.SUCCESS
    assert line.cable.is_closing()


@EACH_CUT
async def test_what_a_goodbye_promised_and_did_not_keep_is_unknown(cut: Cut) -> None:
    line = Line()
    attempts = [line.send() for _ in range(2)]
    rows(line, attempts, goaway(1), line.head(1), cut=cut)
    line.connection.connection_lost(None)
    assert [row(one) for one in attempts] == [Row.GOAWAY_LOST, Row.GOAWAY_UNPROCESSED]
    assert line.owner.finished_with == [attempts[1], attempts[0]]


async def test_the_reason_of_a_goodbye_or_a_reset_is_told() -> None:
    line = Line()
    first, second, third = (line.send() for _ in range(3))
    line.hear(reset(1, ErrorCodes.INTERNAL_ERROR) + reset(3, 0xFACE) + goaway(0, ErrorCodes.ENHANCE_YOUR_CALM))
    said = [one.failure.message for one in (first, second, third) if one.failure is not None]
    assert [text.rpartition("(")[2] for text in said] == ["INTERNAL_ERROR)", "0xface)", "ENHANCE_YOUR_CALM)"]
