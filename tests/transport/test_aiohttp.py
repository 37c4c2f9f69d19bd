"""What aiohttp does behind our back, and what becomes of it."""

import asyncio

import aiohttp
import pytest

from coinapi_ems_async import ConnectionLost, EMSClient, Phase, Settings, Unknown
from coinapi_ems_async.operations import LOCATIONS, plain_read
from coinapi_ems_async.transport.aiohttp import _Handler, _nothing_due
from coinapi_ems_async.transport.base import Attempt

from ..conftest import an_order
from ..wire import Reply, ScriptedServer, Seen, answer, served
from .conformance.stage import endpoints

pytestmark = pytest.mark.every_loop


async def test_a_delete_on_a_kept_connection_that_drops_is_sent_once() -> None:
    def script(seen: Seen) -> Reply:
        if seen.operation == "GET /v1/endpoints":
            return answer(endpoints(url))
        if seen.method == "GET":
            return answer(b"[]")
        return Reply(end="fin")  # read whole, so executed, then the line is cut

    async with ScriptedServer(script) as server:
        url = server.url
        async with EMSClient("key", management_url=url, settings=Settings(open_within=0.3)) as ems:
            with pytest.raises(ConnectionLost) as caught:
                await ems.accounts.delete_all()
        deletes = server.operations("DELETE /v1/accounts/all")
        assert len(deletes) == 1
        assert deletes[0].turn > 0  # the connection really was a kept one
        assert caught.value.phase is Phase.COMMITTED


async def test_a_delete_through_a_session_of_the_users_own_is_sent_once_too() -> None:
    def script(seen: Seen) -> Reply:
        if seen.operation == "GET /v1/endpoints":
            return answer(endpoints(url))
        return answer(b"[]") if seen.method == "GET" else Reply(end="fin")

    async with ScriptedServer(script) as server, aiohttp.ClientSession() as session:
        url = server.url
        client = EMSClient(
            "key", management_url=url, management_session=session, settings=Settings(open_within=0.3)
        )
        async with client as ems:
            with pytest.raises(ConnectionLost):
                await ems.accounts.delete_all()
        assert len(server.operations("DELETE /v1/accounts/all")) == 1


ORDER = b'{"exchange_id":"KRAKEN/JOHN","client_order_id":"id-1","status":"ROUTED"}'
LENGTH = b"Content-Length: %d\r\n" % len(ORDER)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "no http at all": b"hello\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Content-Length: 5\r\n\r\n" + ORDER,
    "a bad chunk": b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"zz\r\n" + ORDER + b"\r\n0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + ORDER,
    "a status of letters": b"HTTP/1.1 abc OK\r\n" + LENGTH + b"\r\n" + ORDER,
    "a head without end": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\n" + LENGTH + CHUNKED + b"0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_never_a_rejection(data: bytes) -> None:
    async with served(lambda seen: Reply(data, "fin"), "aiohttp") as (server, ems):
        outcome = await ems.orders.submit(an_order(client_order_id="id-1"))
        assert isinstance(outcome, Unknown), outcome
        assert outcome.attempts[0].phase in (Phase.COMMITTED, Phase.ANSWERING)
        assert len(server.seen) == 1


async def test_two_clients_share_a_session() -> None:
    def script(seen: Seen) -> Reply:
        return answer(endpoints(url)) if seen.operation == "GET /v1/endpoints" else answer(b"[]")

    async with ScriptedServer(script) as server, aiohttp.ClientSession() as session:
        url = server.url
        settings = Settings(open_within=0.3)
        clients = [
            EMSClient("key", management_url=url, management_session=session, settings=settings) for _ in range(2)
        ]
        async with clients[0] as one:
            async with clients[1] as two:
                await one.accounts.delete_all()
                await two.accounts.delete_all()
            await one.accounts.delete_all()
            assert len(session.trace_configs) == 1
        assert session.trace_configs == []
        assert len(server.operations("DELETE /v1/accounts/all")) == 3


async def test_only_the_attempt_whose_answer_is_due_may_say_that_it_came() -> None:
    """aiohttp hands a connection on before the attempt that used it has run to its end."""
    handler = _Handler(asyncio.get_running_loop())
    carrier = Carrier(handler)
    first, second = (Attempt(plain_read(LOCATIONS), "a", until=0.0) for _ in range(2))
    first.transport = second.transport = carrier
    handler.due = second
    due: list[Attempt | None] = []
    for attempt in (first, second):
        _nothing_due(attempt)
        due.append(handler.due)
    assert due == [second, None]
    handler.transport = carrier
    handler.data_received(b"HTTP/1.1 200 OK")
    assert carrier.aborted


class Carrier(asyncio.Transport):
    """A transport that carries nothing."""

    aborted = False

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def abort(self) -> None:
        self.aborted = True
