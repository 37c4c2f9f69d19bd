"""Silence at every stage: before the commit point it proves that nothing was sent, after it nothing is proved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from coinapi_ems_async import NotSent, NotSentReason, Phase, Unknown

from ...conftest import an_order
from ...wire import Reply, ScriptedServer, Seen, Transport, a_listener_that_never_accepts, answer, client_of
from ...wire2 import ScriptedServer2
from .forms import FORMS, serialized
from .forms import head as head_frame
from .stage import EVERY_TRANSPORT, OURS, accepted, stage, success

pytestmark = pytest.mark.every_loop

CANCEL = 8
SILENCE = Reply(end="hang")
BRIEFLY = {"open_within": 0.05, "open_after_first": 0.05, "connect_timeout": 0.1}
BY_NAME = {form.name: form for form in FORMS}


def only_a_head(stream: int) -> bytes:
    return serialized([head_frame(stream, (":status", "200"))])


@EVERY_TRANSPORT
async def test_no_answer_in_time_proves_nothing(transport: Transport) -> None:
    async with stage(transport, lambda seen: SILENCE) as play:
        outcome = await play.ems.orders.submit(an_order(), timeout=0.05)
        assert isinstance(outcome, Unknown)
        assert outcome.attempts[0].phase is Phase.COMMITTED
        assert await play.cancel_all(timeout=0.05) == "unknown"
        assert await play.read(timeout=0.05) == "DeadlineExceeded"
        assert len(play.server.seen) == 3


# aiohttp tells of a head only when it is whole.
@pytest.mark.parametrize(
    ("transport", "at"), [("http1", 20), ("http1", -20), ("http2", 20), ("http2", -20), ("aiohttp", -20)]
)
async def test_an_answer_that_stops_arriving_is_given_up_before_the_deadline(
    transport: Transport, at: int
) -> None:
    def script(seen: Seen) -> Reply:
        return answer(success(seen) + b" " * 40).but(cut=at, end="hang")

    async with stage(transport, script, stall_timeout=0.06, read_attempts=1) as play:
        async with asyncio.timeout(3):
            outcome = await play.ems.orders.submit(an_order(), timeout=20)
            assert isinstance(outcome, Unknown)
            assert "stopped arriving" in outcome.message
            assert outcome.attempts[0].phase is Phase.ANSWERING
            assert await play.says(accepted).order() == "accepted"
            assert await play.says(script).read(timeout=20) == "ConnectionLost"


@EVERY_TRANSPORT
async def test_a_head_that_nothing_follows_is_given_up_too(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        return Reply(head, "hang", frames=only_a_head)

    async with stage(transport, script, stall_timeout=0.06, read_attempts=1) as play:
        async with asyncio.timeout(3):
            outcome = await play.ems.orders.submit(an_order(), timeout=20)
            assert isinstance(outcome, Unknown)
            assert "stopped arriving" in outcome.message
            assert await play.read(timeout=20) == "ConnectionLost"
            assert await play.says(accepted).order() == "accepted"


@EVERY_TRANSPORT
async def test_an_answer_that_keeps_arriving_is_waited_for(transport: Transport) -> None:
    """Each piece comes within the time for silence, all of them do not."""
    pause = 0.04

    async with stage(transport, lambda seen: Reply(), stall_timeout=0.065) as play:
        form = BY_NAME["in one chunk"] if transport != "http2" else BY_NAME["as usual"]

        def script(seen: Seen) -> Reply:
            return form.reply(success(seen)).but(piece=25, pause=pause)

        begun = monotonic()
        assert await play.says(script).order() == "accepted"
        assert monotonic() - begun > 0.1


@EVERY_TRANSPORT
async def test_the_deadline_counts_inside_an_answer_too(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        return answer(success(seen)).but(cut=-1, end="hang")

    async with stage(transport, script) as play:
        async with asyncio.timeout(3):
            assert await play.order(timeout=0.05) == "unknown"
            assert await play.read(timeout=0.05) == "DeadlineExceeded"


@EVERY_TRANSPORT
async def test_a_connection_is_not_used_again_after_a_time_out(transport: Transport) -> None:
    """The late answer to one order must not pass for that to the next; over HTTP/2 streams keep them apart."""

    def script(seen: Seen) -> Reply:
        return accepted(seen).but(after=0.2 if len(play.server.seen) == 1 else 0)

    async with stage(transport, late_answer=3) as play:
        assert await play.says(script).order(timeout=0.05) == "unknown"
        assert await play.order() == "accepted"
        first, second = play.server.seen
        assert (first.connection != second.connection) == (transport != "http2")
        async with asyncio.timeout(3):  # it came after all, and settles what was unknown
            while play.ems.orders.unresolved:
                await asyncio.sleep(0.01)


@EVERY_TRANSPORT
async def test_a_read_that_ran_out_of_time_is_called_off(transport: Transport) -> None:
    async with stage(transport, lambda seen: SILENCE) as play:
        assert await play.read(timeout=0.05) == "DeadlineExceeded"
        assert await play.says(accepted).read() == "value"
        first, second = play.server.seen
        assert (first.connection != second.connection) == (transport != "http2")
        if isinstance(play.server, ScriptedServer2):
            assert play.server.resets == [CANCEL]


@EVERY_TRANSPORT
async def test_a_connect_that_hangs_is_given_up_in_time(transport: Transport) -> None:
    with a_listener_that_never_accepts() as url:
        async with client_of(url, transport, **BRIEFLY) as ems:
            async with asyncio.timeout(3):
                outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.NO_CONNECTION
            assert outcome.attempts[0].phase is Phase.WAITING


@EVERY_TRANSPORT
async def test_the_deadline_before_a_connection_proves_that_nothing_was_sent(transport: Transport) -> None:
    with a_listener_that_never_accepts() as url:
        async with client_of(url, transport, open_within=0.05, open_after_first=0.05) as ems:
            outcome = await ems.orders.submit(an_order(), timeout=0.05)
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DEADLINE
            assert outcome.attempts[0].phase is Phase.WAITING


@EVERY_TRANSPORT
async def test_a_handshake_that_stalls_is_given_up_in_time(transport: Transport) -> None:
    async with a_server_that_listens() as server:
        url = server.url.replace("http:", "https:")
        async with client_of(url, transport, **BRIEFLY) as ems:
            async with asyncio.timeout(3):
                outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.NO_CONNECTION
            assert outcome.attempts[0].phase is Phase.WAITING
        assert server.seen == []


async def test_settings_that_never_come_are_not_waited_for() -> None:
    """Over HTTP/2 a connection is ready when the server has said its settings."""
    async with a_server_that_listens() as server:
        async with client_of(server.url, "http2", **BRIEFLY) as ems:
            async with asyncio.timeout(3):
                outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.NO_CONNECTION


@asynccontextmanager
async def a_server_that_listens() -> AsyncIterator[ScriptedServer]:
    """And never says a word."""
    async with ScriptedServer(lambda seen: SILENCE, welcome="hang") as server:
        yield server


@OURS
async def test_a_stall_of_one_answer_leaves_the_others_alone(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        if b"stuck" not in seen.body:
            return accepted(seen).but(after=0.15)
        return Reply(b"HTTP/1.1 2", "hang", frames=only_a_head)

    async with stage(transport, script, stall_timeout=0.05) as play:
        ended = await asyncio.gather(
            play.order(an_order(client_order_id="stuck")), *(play.order() for _ in range(5))
        )
        assert ended == ["unknown", *["accepted"] * 5]
