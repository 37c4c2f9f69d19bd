"""TLS over real sockets: who is let in, who is not, and that nothing is sent to whoever is not."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async import ClientCertificate, NotSent, NotSentReason, Outcome, Phase

from ...conftest import an_order
from ...wire import Reply, ScriptedServer, Seen, Transport, client_of, server_for
from . import authority
from .forms import FORMS, forms_in
from .stage import EVERY_TRANSPORT, Replies, accepted, stage, success, told

pytestmark = pytest.mark.every_loop

YES = ("accepted", "accepted", "value")


async def one_order(
    transport: Transport, context: ssl.SSLContext, **options: Any
) -> tuple[Outcome, ScriptedServer]:
    """Send one order to a server with that context, over a client that trusts the test's authority."""
    options = {"ssl_context": authority.client_context(), "open_after_first": 0.2} | options
    async with server_for(transport, accepted, tls=context) as server:
        async with client_of(server.url, transport, open_within=0.3, **options) as ems:
            return await ems.orders.submit(an_order()), server


@EVERY_TRANSPORT
async def test_an_authority_of_ones_own_is_trusted(transport: Transport) -> None:
    outcome, server = await one_order(transport, authority.server_context(transport))
    assert await told(_of(outcome)) == "accepted"
    assert len(server.seen) == 1


@EVERY_TRANSPORT
async def test_a_client_certificate_is_shown_where_it_is_asked_for(transport: Transport, tmp_path: Path) -> None:
    auth = ClientCertificate(file=authority.client_certificate(tmp_path))
    context = authority.server_context(transport, wants_client=True)
    outcome, server = await one_order(transport, context, auth=auth, api_key="unused")
    assert await told(_of(outcome)) == "accepted"
    assert len(server.seen) == 1


@EVERY_TRANSPORT
@pytest.mark.parametrize("shown", ["none", "of an unknown authority"])
async def test_without_the_right_client_certificate_nothing_is_executed(
    transport: Transport, shown: str, tmp_path: Path
) -> None:
    """The server says no only after the client's handshake is over (TLS 1.3): a request may be on its way."""
    options: dict[str, Any] = {}
    if shown != "none":
        file = authority.client_certificate(tmp_path, authority.unknown())
        options = {"auth": ClientCertificate(file=file), "api_key": "unused"}
    context = authority.server_context(transport, wants_client=True)
    outcome, server = await one_order(transport, context, **options)
    said = await told(_of(outcome))
    assert said in ("not sent: no connection", "unknown")
    if transport == "http2":  # it waits for the server's settings
        assert said == "not sent: no connection"
    assert server.seen == []


BAD: dict[str, dict[str, Any]] = {
    "wrong host name": {"host": authority.ELSEWHERE},
    "expired": {"expired": True},
    "unknown authority": {"authority": authority.unknown()},
}


@EVERY_TRANSPORT
@pytest.mark.parametrize("fault", BAD)
async def test_a_certificate_that_does_not_hold_sends_nothing(transport: Transport, fault: str) -> None:
    outcome, server = await one_order(transport, authority.server_context(transport, **BAD[fault]))
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NO_CONNECTION
    assert outcome.attempts[0].phase is Phase.WAITING
    assert "certificate" in outcome.message
    assert server.seen == []


@EVERY_TRANSPORT
async def test_the_systems_own_trust_does_not_know_the_tests_authority(transport: Transport) -> None:
    outcome, server = await one_order(transport, authority.server_context(transport), ssl_context=None)
    assert isinstance(outcome, NotSent)
    assert "certificate" in outcome.message
    assert server.seen == []


REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@EVERY_TRANSPORT
@pytest.mark.parametrize("said", [b"", REFUSAL, b"\0\0\0\4\0\0\0\0\0"], ids=["nothing", "a refusal", "settings"])
async def test_a_port_that_speaks_no_tls_sends_nothing(transport: Transport, said: bytes) -> None:
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += await reader.read(65_536)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, authority.HERE, 0)
    async with server:
        url = f"https://{authority.HERE}:{server.sockets[0].getsockname()[1]}"
        options = {"open_within": 0.2, "open_after_first": 0.2, "ssl_context": authority.client_context()}
        async with client_of(url, transport, **options) as ems:
            outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.NO_CONNECTION
    assert outcome.attempts[0].phase is Phase.WAITING
    assert received.startswith(b"\x16\x03")  # its hello, and nothing of the order
    assert b"KRAKEN" not in received


@EVERY_TRANSPORT
async def test_a_plain_request_to_a_port_that_speaks_tls_executes_nothing(transport: Transport) -> None:
    async with server_for(transport, accepted, tls=authority.server_context(transport)) as server:
        url = server.url.replace("https:", "http:")
        async with client_of(url, transport, open_within=0.2, open_after_first=0.2) as ems:
            said = await told(ems.orders.submit(an_order()))
    assert said == ("not sent: no connection" if transport == "http2" else "unknown")
    assert server.seen == []


@EVERY_TRANSPORT
async def test_what_is_written_means_the_same_under_tls(transport: Transport) -> None:
    def written(form: Any) -> Replies:
        return lambda seen: form.reply(success(seen))

    server = {"tls": authority.server_context(transport)}
    async with stage(transport, server=server, ssl_context=authority.client_context()) as play:
        got = {form.name: await play.says(written(form)).all_three() for form in forms_in(transport)}
    assert got == dict.fromkeys(got, YES)


@pytest.mark.parametrize("transport", ["http1"])
async def test_a_body_that_ends_without_a_good_bye_proves_nothing(transport: Transport) -> None:
    """Anybody on the way can send TCP's FIN, only the server TLS's close_notify."""
    form = next(form for form in FORMS if form.name == "to the end")

    def script(seen: Seen) -> Reply:
        return form.reply(success(seen)).but(end="ragged")

    server = {"tls": authority.server_context(transport)}
    async with stage(transport, server=server, ssl_context=authority.client_context(), read_attempts=1) as play:
        async with asyncio.timeout(5):
            assert await play.says(script).all_three() == ("unknown", "unknown", "ConnectionLost")


@EVERY_TRANSPORT
async def test_an_answer_cut_under_tls_proves_nothing(transport: Transport) -> None:
    def script(seen: Seen) -> Reply:
        return accepted(seen).but(cut=-1, end=ends[0])

    server = {"tls": authority.server_context(transport)}
    context = authority.client_context()
    async with stage(transport, server=server, ssl_context=context, read_attempts=1) as play:
        ends = ["fin", "reset", "ragged"]
        while ends:
            async with asyncio.timeout(5):
                assert await play.says(script).all_three() == ("unknown", "unknown", "ConnectionLost"), ends[0]
            ends.pop(0)
        assert len(play.server.seen) == 9


@EVERY_TRANSPORT
async def test_tls_1_2_will_do(transport: Transport) -> None:
    context = authority.server_context(transport)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    outcome, _ = await one_order(transport, context)
    assert await told(_of(outcome)) == "accepted"


async def _of(outcome: Outcome) -> Outcome:
    return outcome
