"""HTTP/2's two proofs that a request was not processed, and what only looks like one."""

import asyncio
from collections import Counter

import pytest
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame

from coinapi_ems_async import EMSClient, NewOrder, NotSent, Settings

from ...conftest import an_order
from ...wire import Reply, Seen, answer, server_for
from .forms import data, head, serialized
from .stage import Replies, accepted, endpoints, order_id, stage, success, told

pytestmark = pytest.mark.every_loop

REFUSED, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11
LAST = 2**31 - 1


def frames(*made: Frame) -> Reply:
    return Reply(frames=lambda stream: serialized([_on(frame, stream) for frame in made]), end="keep")


def _on(frame: Frame, stream: int) -> Frame:
    """Give it the number of the stream if it was made without."""
    if frame.stream_id == MINE:
        frame.stream_id = stream
    return frame


MINE = 0x7FFF_FFFD


@pytest.mark.parametrize(("at_once", "after"), [(1, 10), (64, 100)])
async def test_a_goodbye_beside_an_answer_loses_nothing(at_once: int, after: int) -> None:
    """As nginx says it at every `keepalive_requests`: in one segment with the answer to the stream in flight."""
    gate = asyncio.Semaphore(at_once)
    orders = [an_order() for _ in range(300)]
    server = {"goodbye_after": after}
    async with stage("http2", lambda seen: accepted(seen).but(after=0.001), server=server) as play:

        async def one(order: NewOrder) -> str:
            async with gate:
                return await play.order(order)

        assert Counter(await asyncio.gather(*map(one, orders))) == {"accepted": 300}
        assert Counter(map(order_id, play.server.seen)) == {order.client_order_id: 1 for order in orders}
        assert play.server.connections >= 300 / after


async def two_sites(first: Replies) -> tuple[str, list[int]]:
    """Place an order with two sites; return what it came to, and how often each read it."""
    async with (
        server_for("http2", first) as one,
        server_for("http2", first) as other,
        server_for(None, lambda seen: answer(endpoints(one.url, other.url))) as management,
    ):
        settings = Settings(late_answer=0.05, close_wait=0.05)
        async with EMSClient("key", management_url=management.url, settings=settings, transport="http2") as ems:
            said = await told(ems.orders.submit(an_order()))
        return said, sorted(len(site.operations("POST /v1/orders")) for site in (one, other))


def once(refusal: Reply) -> Replies:
    """Refuse the first request, whichever site gets it."""
    refusals = [refusal]
    return lambda seen: refusals.pop() if refusals else accepted(seen)


def refused() -> Reply:
    return frames(RstStreamFrame(MINE, REFUSED))


def goodbye(last: int, code: int = 0) -> Reply:
    return frames(GoAwayFrame(0, last_stream_id=last, error_code=code)).but(end="fin")


async def test_a_refused_stream_goes_to_another_site_once() -> None:
    assert await two_sites(once(refused())) == ("accepted", [1, 1])
    said, read = await two_sites(lambda seen: refused())
    assert said.startswith("not sent")
    assert read == [1, 1]


async def test_a_goodbye_to_what_was_not_processed_goes_on_once() -> None:
    said, read = await two_sites(once(goodbye(last=0)))
    assert said == "accepted"
    assert sum(read) == 2
    said, read = await two_sites(lambda seen: goodbye(last=0))
    assert said.startswith("not sent")
    assert sum(read) == 2


async def test_what_is_proved_not_processed_is_not_unknown_at_the_only_site() -> None:
    for refusal in (refused, lambda: goodbye(last=0)):
        async with stage("http2", lambda seen, refusal=refusal: refusal()) as play:  # type: ignore[misc]  # bound now
            outcome = await play.ems.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            assert await play.says(accepted).order() == "accepted"


NO_PROOF: dict[str, Replies] = {
    "another code": lambda seen: frames(RstStreamFrame(MINE, CANCEL)),
    "calm down": lambda seen: frames(RstStreamFrame(MINE, ENHANCE_YOUR_CALM)),
    "a goodbye that includes it": lambda seen: goodbye(last=1),
    "a goodbye that includes everything": lambda seen: goodbye(last=LAST),
    "a goodbye with an error, that includes it": lambda seen: goodbye(last=1, code=ENHANCE_YOUR_CALM),
    "refused after its head": lambda seen: frames(head(MINE, (":status", "200")), RstStreamFrame(MINE, REFUSED)),
    "refused after a hint": lambda seen: frames(head(MINE, (":status", "103")), RstStreamFrame(MINE, REFUSED)),
    "refused after half its body": lambda seen: frames(
        head(MINE, (":status", "200")), data(MINE, b"[1", ends=False), RstStreamFrame(MINE, REFUSED)
    ),
    "a goodbye after its head": lambda seen: frames(
        head(MINE, (":status", "200")), GoAwayFrame(0, last_stream_id=0)
    ).but(end="fin"),
    "the end without a goodbye": lambda seen: Reply(end="fin"),
}


@pytest.mark.parametrize("reason", NO_PROOF)
async def test_what_proves_nothing_is_unknown_and_not_sent_again(reason: str) -> None:
    said, read = await two_sites(NO_PROOF[reason])
    assert said == "unknown"
    assert read == [0, 1]


async def test_a_goodbye_lets_what_was_begun_end() -> None:
    def script(seen: Seen) -> Reply:
        body = success(seen)
        return frames(GoAwayFrame(0, last_stream_id=LAST), head(MINE, (":status", "200")), data(MINE, body))

    async with stage("http2", script) as play:
        assert [await play.order() for _ in range(5)] == ["accepted"] * 5
        assert len({seen.connection for seen in play.server.seen}) == 5
