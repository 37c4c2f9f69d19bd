"""The malformed answers over real sockets: what breaks its protocol is unknown, and what is cut never counts."""

import pytest

from coinapi_ems_async import Accepted, Outcome, Phase, Rejected, Unknown

from ...conftest import ACCOUNT
from ...wire import Reply, Transport
from . import corpus
from .corpus import Malformed, MalformedFrames
from .stage import Stage, stage

HTTP1, HTTP2 = corpus.http1(), corpus.http2()
CUT = [item for item in HTTP1 if item.cut]
MAX_BODY = 100_000

Told = tuple[str, int | None, bytes]


async def cancelled(play: Stage, reply: Reply) -> Outcome:
    """Cancel everything, over a new connection: any whole answer settles that, whatever its body."""
    await play.server.close_idle()
    play.says(lambda seen: reply)
    return await play.ems.orders.submit_cancel_all(exchange_id=ACCOUNT, timeout=5)


def wanted(item: Malformed | MalformedFrames) -> Told:
    if item.expected is None:
        return "unknown", None, b""
    status, body = item.expected
    kind = "accepted" if status < 300 else "rejected" if 400 <= status < 500 else "unknown"
    return kind, status, body


def told(outcome: Outcome) -> Told:
    assert isinstance(outcome, Accepted | Rejected | Unknown)
    kind = type(outcome).__name__.lower()
    (attempt,) = outcome.attempts
    if attempt.status is None:
        assert attempt.failure != "no answer in time", outcome
        assert attempt.phase in (Phase.COMMITTED, Phase.ANSWERING)
    return kind, attempt.status, outcome.raw


@pytest.mark.every_loop
async def test_http1_takes_them_as_it_should() -> None:
    wrong = {}
    async with stage("http1", max_body=MAX_BODY) as play:
        for item in HTTP1:
            got = told(await cancelled(play, Reply(item.data, "fin")))
            if got != wanted(item):
                wrong[item.name] = got, item.why
        assert len(play.server.seen) == len(HTTP1)
    assert wrong == {}


@pytest.mark.every_loop
@pytest.mark.parametrize("piece", [None, 1, 5], ids=["whole", "byte by byte", "in odd pieces"])
async def test_http2_takes_them_as_it_should(piece: int | None) -> None:
    wrong = {}
    async with stage("http2", max_body=MAX_BODY) as play:
        for item in HTTP2:
            size = piece if piece and len(item.frames) < 500 else None
            reply = Reply(frames=lambda stream, item=item: item.frames, piece=size)  # type: ignore[misc]  # bound now
            got = told(await cancelled(play, reply))
            if got != wanted(item):
                wrong[item.name] = got, item.why
        assert len(play.server.seen) == len(HTTP2)
    assert wrong == {}


@pytest.mark.parametrize("transport", ["http1", "aiohttp"])
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.every_loop
async def test_no_answer_that_is_cut_counts(transport: Transport, end: str) -> None:
    got = {}
    async with stage(transport, max_body=MAX_BODY) as play:
        for item in CUT:
            outcome = await cancelled(play, Reply(item.data, "fin" if end == "fin" else "reset"))
            got[item.name] = type(outcome).__name__
    assert got == dict.fromkeys(got, "Unknown")


def test_there_are_as_many_as_promised() -> None:
    assert len(HTTP1) >= 60
    assert len(HTTP2) >= 60
    assert len(CUT) >= 20
    for items in (HTTP1, HTTP2):
        names = [item.name for item in items]
        assert len(set(names)) == len(names)
