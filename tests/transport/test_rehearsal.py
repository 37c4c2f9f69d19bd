"""Going through the last answer once more: nothing comes of it, whatever the answer was."""

import logging

import pytest

from coinapi_ems_async import Settings, operations
from coinapi_ems_async.auth import Credentials
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.operations import Request
from coinapi_ems_async.transport.base import Attempt
from coinapi_ems_async.transport.http1 import Http1Connection, RequestHeads
from coinapi_ems_async.transport.rehearsal import Rehearsal

from ..conftest import an_order
from .conformance.fakes import Exchange

pytestmark = pytest.mark.every_loop


class Recording(Rehearsal):
    """Notes what it is given before it goes through that."""

    def __init__(self) -> None:
        super().__init__(RequestHeads("http://127.0.0.1:1", Credentials()), Settings())
        self.heard: list[bytes] = []

    def read(self, request: Request, data: bytes) -> None:
        self.heard.append(data)
        super().read(request, data)

    @property
    def stage(self) -> Http1Connection | None:
        return self._stage


def a_request(client_order_id: str) -> Request:
    return operations.new_order(an_order(client_order_id=client_order_id))


def report(client_order_id: str, *, head: bytes = b"") -> bytes:
    body = f'{{"exchange_id":"KRAKEN/JOHN","client_order_id":"{client_order_id}","status":"ROUTED"}}'.encode()
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


class Scene(Exchange):
    """A connection that rehearses, with one order under way on it."""

    def __init__(self) -> None:
        super().__init__(a_request("first"))
        self.connection.rehearsal = self.rehearsal = Recording()

    def next(self, client_order_id: str) -> None:
        self.attempt = Attempt(a_request(client_order_id), "a", self.attempt.until)
        self.connection.exchange(self.attempt)


def accepted(attempt: Attempt) -> str:
    assert attempt.reading is not None
    assert attempt.reading.row is Row.SUCCESS
    name: str = attempt.reading.value.client_order_id
    return name


async def test_there_is_nothing_to_rehearse_before_the_first_answer() -> None:
    scene = Scene()
    scene.connection.rehearse()
    assert scene.rehearsal.heard == []
    scene.read([report("first")])
    assert accepted(scene.attempt) == "first"


async def test_the_answer_that_is_due_is_not_touched_by_it() -> None:
    scene = Scene()
    scene.read([report("first")])
    scene.next("second")
    for _ in range(3):
        scene.connection.rehearse()
    assert scene.rehearsal.heard == [report("first")] * 3
    assert not scene.attempt.settled
    assert scene.attempt.first_byte is None
    assert len(scene.owner.ends) == 1  # the first's
    scene.read([report("second")])
    assert accepted(scene.attempt) == "second"
    assert scene.connection.room == 1


async def test_it_keeps_out_of_an_answer_that_has_begun() -> None:
    scene = Scene()
    scene.read([report("first")])
    scene.next("second")
    whole = report("second")
    scene.read([whole[:9]])
    scene.connection.rehearse()
    assert scene.rehearsal.heard == []
    scene.read([whole[9:]])
    assert accepted(scene.attempt) == "second"


async def test_an_answer_in_pieces_is_not_rehearsed() -> None:
    scene = Scene()
    whole = report("first")
    scene.read([whole[:60], whole[60:]])
    scene.next("second")
    scene.connection.rehearse()
    assert scene.rehearsal.heard == []
    scene.read([report("second")])
    assert accepted(scene.attempt) == "second"


@pytest.mark.parametrize(
    "data",
    [
        report("first", head=b"Connection: close\r\n"),
        report("first") + b"more",
        report("somebody else"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n{} ",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"no answer at all",
    ],
)
async def test_whatever_it_is_given_the_next_is_read_as_the_first(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    rehearsal = Recording()
    with caplog.at_level(logging.DEBUG, "coinapi_ems_async"):
        for _ in range(3):
            rehearsal.read(a_request("first"), data)
            rehearsal.read(a_request("first"), report("first"))
            assert rehearsal.stage is not None
            assert rehearsal.stage.room == 1
    assert caplog.records == []
