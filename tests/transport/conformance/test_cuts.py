"""A connection that ends inside an answer: never success, never a refusal, and nothing is sent again."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from ...conftest import an_order
from ...wire import End, Reply, Seen, Transport
from .forms import FORMS, Form
from .stage import EVERY_TRANSPORT, OURS, Stage, stage, success

BY_NAME = {form.name: form for form in FORMS}
CUT = (
    "as usual",
    "in odd chunks",
    "to the end",
    "gzip",
    "gzip to the end",
    "with trailers",
    "padded",
    "after 103",
)
SPARSE = 17
AT_ONCE = 40

Ended = dict[tuple[str, int], str]


def size_of(form: Form, seen: Seen, transport: Transport) -> int:
    reply = form.reply(success(seen))
    if transport != "http2":
        return len(reply.data)
    assert reply.frames is not None
    return len(reply.frames(1))


class Cutter:
    """Places orders whose id says where their answer is cut, and notes what each comes to."""

    def __init__(self, play: Stage, transport: Transport, form: Form, end: End) -> None:
        self._play = play.says(self._script)
        self._transport = transport
        self._form = form
        self._end = end
        self._sizes: set[int] = set()

    def _script(self, seen: Seen) -> Reply:
        at = int(seen.body.split(b'"client_order_id":"cut')[1][:5])
        return self._form.reply(success(seen)).but(cut=at, end=self._end)

    @property
    def size(self) -> int:
        """Of a whole answer."""
        seen = Seen("POST", "/v1/orders", {}, b'{"exchange_id":"KRAKEN/JOHN","client_order_id":"cut00000"}', 0, 0)
        return size_of(self._form, seen, self._transport)

    async def cut_at(self, points: Iterable[int], *, at_once: int, **options: float) -> Ended:
        ended: Ended = {}
        gate = asyncio.Semaphore(at_once)

        async def one(at: int) -> None:
            async with gate:
                order = an_order(client_order_id=f"cut{at:05}")
                ended[self._form.name, at] = await self._play.order(order, **options)

        await asyncio.gather(*map(one, points))
        return ended

    def executions(self) -> set[int]:
        return set(Counter(seen.body for seen in self._play.server.seen).values())


@OURS
@pytest.mark.parametrize("end", ["fin", "reset", "hang"])
async def test_no_byte_of_an_answer_can_be_spared(transport: Transport, end: End) -> None:
    options = {"timeout": 0.3} if end == "hang" else {}
    async with stage(transport, late_answer=0.01) as play:
        cutter = Cutter(play, transport, BY_NAME["as usual"], end)
        size = cutter.size
        ended = await cutter.cut_at(range(size), at_once=AT_ONCE if end == "hang" else 1, **options)
        assert ended == dict.fromkeys(ended, "unknown")
        assert len(ended) == size >= 100
        assert cutter.executions() == {1}


@EVERY_TRANSPORT
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.every_loop
async def test_no_answer_is_whole_before_its_end(transport: Transport, end: End) -> None:
    for form in forms(transport):
        async with stage(transport) as play:
            cutter = Cutter(play, transport, form, end)
            ended = await cutter.cut_at([*range(0, cutter.size - 1, SPARSE), -1], at_once=1)
            assert ended == dict.fromkeys(ended, "unknown")
            assert cutter.executions() == {1}


def forms(transport: Transport) -> Iterator[Form]:
    return (BY_NAME[name] for name in CUT if BY_NAME[name].exists_in(transport))


@EVERY_TRANSPORT
@pytest.mark.every_loop
async def test_a_whole_answer_counts_although_the_connection_ends_with_it(transport: Transport) -> None:
    async with stage(transport) as play:
        for form in forms(transport):
            play.says(lambda seen, form=form: form.reply(success(seen)).but(end="fin"))  # type: ignore[misc]  # bound now
            assert await play.all_three() == ("accepted", "accepted", "value"), form.name


@EVERY_TRANSPORT
@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.every_loop
async def test_other_calls_are_cut_alike(transport: Transport, end: End) -> None:
    form = BY_NAME["as usual"]
    async with stage(transport, read_attempts=1) as play:
        for at in (0, 1, 20, -1):
            play.says(lambda seen, at=at: form.reply(success(seen)).but(cut=at, end=end))  # type: ignore[misc]  # bound now
            assert await play.cancel_all() == "unknown", at
            assert await play.read() == "ConnectionLost", at
        operations = Counter(seen.operation for seen in play.server.seen)
        assert operations == {"POST /v1/orders/cancel/all": 4, "GET /v1/balances": 4}


@EVERY_TRANSPORT
@pytest.mark.parametrize("end", ["fin", "reset", "ragged"])
@pytest.mark.every_loop
async def test_a_connection_that_ends_where_it_begins_executes_nothing(transport: Transport, end: End) -> None:
    async with stage(transport) as play:
        play.server.welcome = end
        await play.server.close_idle()
        before = play.server.connections
        async with asyncio.timeout(5):  # it is not tried again and again until the call's time is over
            ended = {await play.order() for _ in range(5)}
        assert ended <= {"unknown", "not sent: no connection"}
        if transport == "http2":  # without the server's settings there is no connection
            assert "unknown" not in ended
        assert play.server.connections - before <= 50
        assert play.server.seen == []


@OURS
@pytest.mark.every_loop
async def test_orders_side_by_side_are_cut_alone_or_together_but_never_twice(transport: Transport) -> None:
    """Every third answer ends its connection; over HTTP/2 that takes the other streams with it."""
    turn = iter(range(10_000))

    def script(seen: Seen) -> Reply:
        end: End = ("reset", "keep", "keep")[next(turn) % 3]
        return BY_NAME["as usual"].reply(success(seen)).but(cut=20 if end == "reset" else None, end=end)

    async with stage(transport, script) as play:
        orders = [an_order() for _ in range(90)]
        ended = await asyncio.gather(*map(play.order, orders))
        assert set(ended) <= {"accepted", "unknown", "not sent: no connection"}
        assert ended.count("accepted") > 0
        for order, end in zip(orders, ended, strict=True):
            executions = play.executions(order)
            assert executions <= 1
            assert executions == {"accepted": 1, "unknown": executions}.get(end, 0), end
