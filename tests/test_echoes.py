"""A server that repeats what it was sent, in every place where its words may come up: no secret is among them."""

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from coinapi_ems_async import (
    Account,
    ApiKeyHeader,
    ApiKeyQuery,
    CallRecord,
    EMSClient,
    EMSError,
    NoAuth,
    Rejected,
    Settings,
    Unknown,
    ValidationFailed,
)
from coinapi_ems_async.auth import Auth

from .conftest import an_order
from .journal.helpers import contents
from .wire import Reply, ScriptedServer, Seen, Transport, answer, client_of, report, server_for

MARK = "5ca1ab1e"
KEY = f"k3y/{MARK}+x"
TOKEN = f"t0ken.{MARK}~/+=="
SECRETS = f"{KEY} and\r\n{TOKEN}, {quote(KEY, safe='')}, {quote(TOKEN, safe='').lower()}"

Script = Callable[[Seen], Reply]


def said(status: int, **fields: object) -> Script:
    body = json.dumps(fields).encode()
    return lambda seen: answer(body, status, "Content-Type: application/json")


def request_of(seen: Seen) -> bytes:
    """The request as it came, and the secrets once more in case that it has none."""
    head = "\r\n".join((f"{seen.method} {seen.target} HTTP/1.1", *map(": ".join, seen.headers.items())))
    return f"{head}\r\n\r\n{SECRETS}".encode()


def in_report(seen: Seen, **fields: object) -> Reply:
    name = seen.target.partition("?")[0].rpartition("/")[2]
    if not seen.body and name == "orders":
        return answer(b"[%b]" % report(seen, client_order_id="a", error_message=SECRETS))
    known: dict[str, object] = {} if seen.body else {"client_order_id": name}
    return answer(report(seen, **known | {"error_message": SECRETS} | fields))


ANSWERS: dict[str, Script] = {
    **{
        f"a message, {status}": said(status, message=f"Invalid API key {SECRETS}")
        for status in (400, 401, 403, 404, 418, 429, 490, 500, 502, 504)
    },
    "a problem": said(400, title="Bad", errors={"key": [SECRETS]}, detail=SECRETS),
    "a reject": said(400, type="MESSAGE_REJECT", reject_reason=SECRETS, message=SECRETS),
    "a reject without words": said(400, type="MESSAGE_REJECT", rejected_message=SECRETS),
    "a reject as a success": said(200, type="MESSAGE_REJECT", reject_reason=SECRETS, message=SECRETS),
    "an acknowledgement": said(200, message=SECRETS),
    "a page": lambda seen: answer(b"<html>\r\n<pre>" + request_of(seen) + b"</pre>", 502),
    "a redirect": lambda seen: answer(request_of(seen), 302, f"Location: /?apikey={quote(KEY, safe='')}"),
    "a body that is none": lambda seen: answer(request_of(seen)),
    "a list of them": lambda seen: answer(json.dumps([SECRETS]).encode()),
    "a report that says no": lambda seen: in_report(seen, status="REJECTED"),
    "a report with a remark": in_report,
    "another order's report": lambda seen: in_report(seen, client_order_id=SECRETS),
    "an encoding": lambda seen: answer(b"{}", 200, f"Content-Encoding: {TOKEN}{KEY}"),
    "headers": lambda seen: answer(b"no", 500, f"X-Echo: {KEY}", f"Set-Cookie: {KEY}={TOKEN}", f"Allow: {TOKEN}"),
}

KEY_BYTES = KEY.encode()
ONLY_HTTP1: dict[str, Script] = {
    "the request itself": lambda seen: Reply(request_of(seen), "fin"),
    "a status line": lambda seen: Reply(b"HTTP/1.1 401 %b\r\nContent-Length: 0\r\n\r\n" % KEY_BYTES),
    "a bad status": lambda seen: Reply(b"HTTP/1.1 %b no\r\n\r\n" % KEY_BYTES, "fin"),
    "a bad header": lambda seen: Reply(b"HTTP/1.1 200 OK\r\n\x01bad %b: x\r\n\r\n" % KEY_BYTES, "fin"),
    "a bad chunk": lambda seen: Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % KEY_BYTES),
    "a long line": lambda seen: Reply(b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (KEY_BYTES * 9_000), "fin"),
    "a long reason": lambda seen: Reply(b"HTTP/1.1 500 %b\r\n\r\n" % (KEY_BYTES * 9_000), "fin"),
}

AUTHS = {
    "header": ApiKeyHeader(),
    "query": ApiKeyQuery(),
    "bearer": ApiKeyHeader(bearer=lambda: TOKEN),
    "unused": NoAuth(bearer=lambda: TOKEN),
}


def everything_about(error: BaseException) -> Iterator[str]:
    yield from (repr(error), str(error), *traceback.format_exception(error))
    if isinstance(error, EMSError):
        yield repr({name: value for name, value in vars(error).items() if name not in ("raw",)})
    if isinstance(error, ValidationFailed):
        yield repr(error.problem)


@dataclass
class Told:
    """Everything that a client showed."""

    texts: list[str] = field(default_factory=list)

    async def of(self, call: Awaitable[Any]) -> Any:
        try:
            value = await call
        except EMSError as error:
            self.texts += everything_about(error)
            return error
        self.texts += (repr(value), str(value))
        return value

    def record(self, record: CallRecord) -> None:
        self.texts += (repr(record), *map(str, record.attempts))

    def check(self, caplog: pytest.LogCaptureFixture, auth: Auth) -> None:
        for record in caplog.records:
            line = record.getMessage()
            assert "\n" not in line, line
            self.texts += (line, repr(record.args), record.exc_text or "")
        # Without a bearer supplier nobody but the server knows the token.
        known = (KEY, TOKEN) if auth.bearer is not None else (KEY,)
        for secret in known:
            for form in (secret, quote(secret, safe="")):
                for text in self.texts:
                    assert form.lower() not in text.lower()
        if auth.bearer is not None:
            for text in self.texts:
                assert MARK not in text.lower()


async def use_site(ems: EMSClient, told: Told) -> None:
    now = datetime.now(UTC)
    outcome = await told.of(ems.orders.submit(an_order()))
    if isinstance(outcome, Unknown):
        told.texts += [str(one) for one in (*outcome.evidence, *outcome.attempts)]
    await told.of(ems.orders.place(an_order()))
    await told.of(ems.orders.cancel(exchange_id="KRAKEN", client_order_id="a"))
    await told.of(ems.orders.submit_cancel_all(exchange_id="KRAKEN"))
    await told.of(ems.orders.status("a"))
    await told.of(ems.orders.open())
    await told.of(ems.orders.history(now - timedelta(hours=1), now))
    await told.of(ems.balances.get())
    await told.of(ems.positions.get())
    told.texts += (repr(ems.health()), repr(ems.sites), repr(ems.orders.unresolved), repr(ems.orders.settled))


BUSY = ApiKeyQuery(bearer=lambda: TOKEN)
"""Has the most to hide: every answer is tried with it, and the most telling ones with the others."""
TELLING = ("a message, 401", "a reject", "a page", "a body that is none", "the request itself", "a bad header")


def routes(transport: Transport) -> Iterator[Any]:
    for name, script in (ANSWERS if transport == "http2" else ANSWERS | ONLY_HTTP1).items():
        yield pytest.param(transport, script, BUSY, id=f"{transport}, {name}")
        for way, auth in AUTHS.items() if name in TELLING and transport == "http1" else ():
            yield pytest.param(transport, script, auth, id=f"{transport}, {name}, {way}")


@pytest.mark.parametrize(("transport", "script", "auth"), [*routes("http1"), *routes("aiohttp"), *routes("http2")])
async def test_no_word_of_a_site_shows_a_secret(
    transport: Transport, script: Script, auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = Told()
    options: dict[str, Any] = {"late_answer": 0.05, "close_wait": 0.05, "order_timeout": 2.0, "read_timeout": 1.0}
    async with server_for(transport, script) as server:
        client = client_of(server.url, transport, auth=auth, api_key=KEY, on_call=told.record, **options)
        async with client as ems:
            await use_site(ems, told)
    assert server.seen
    assert len(told.texts) > 20
    told.check(caplog, auth)


@pytest.mark.parametrize(("transport", "script", "auth"), list(routes("http1")))
async def test_no_word_of_the_management_api_shows_a_secret(
    transport: Transport, script: Script, auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    assert transport == "http1"
    caplog.set_level(logging.DEBUG)
    told = Told()
    quick = Settings(management_tries=1, close_wait=0.05)
    async with ScriptedServer(script) as server:
        client = EMSClient(KEY, management_url=server.url, auth=auth, settings=quick)
        await told.of(client.open())
        cloud = EMSClient.cloud_only(
            KEY, management_url=server.url, auth=auth, settings=quick, on_call=told.record
        )
        async with cloud as ems:
            for call in (
                ems.accounts.list(),
                ems.accounts.save(Account(exchange_id="KRAKEN", parameters={"a": "b"})),
                ems.accounts.delete("KRAKEN"),
                ems.locations.list(),
                ems.certificate.pem(),
            ):
                await told.of(call)
            told.texts.append(repr(ems.health()))
    assert len(told.texts) > 10
    told.check(caplog, auth)


@pytest.mark.parametrize("fault", [ANSWERS["a message, 500"], ANSWERS["a page"], ONLY_HTTP1["a bad header"]])
async def test_no_probe_or_reading_of_the_table_shows_a_secret(
    fault: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told, auth = Told(), ApiKeyHeader(bearer=lambda: TOKEN)
    is_well = True

    def script(seen: Seen) -> Reply:
        if not is_well:
            return fault(seen)
        rows = [
            {"exchange_id": "KRAKEN", "location_id": "here", "endpoint_url": server.url},
            {"exchange_id": "KRAKEN", "location_id": "bad", "endpoint_url": f"ftp://{KEY}"},
        ]
        return answer(json.dumps(rows if seen.target == "/v1/endpoints" else []).encode())

    settings = Settings(management_tries=1, close_wait=0.05, probe_path="/probe")
    async with ScriptedServer(script) as server:
        async with EMSClient(KEY, management_url=server.url, auth=auth, settings=settings) as ems:
            is_well = False
            session = ems._session
            assert session is not None
            assert session.discovery is not None
            await told.of(session.discovery.load())
            for entry in session.roster.entries.values():
                await session.monitor.probe(entry)
            told.texts.append(repr(ems.health()))
            assert ems.health().table_error
            assert ems.sites[0].last_error
    told.check(caplog, auth)


@pytest.mark.parametrize("transport", ["http1", "aiohttp", "http2"])
async def test_a_token_of_its_own_for_each_order_stays_hidden_however_many_follow(
    transport: Transport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    numbers, told = count(), Told()
    auth = NoAuth(bearer=lambda: f"t0ken-{next(numbers):03}-{MARK}")

    def page(seen: Seen) -> Reply:
        return answer(f"<pre>{seen.headers['authorization']}</pre>".encode(), 502).but(after=0.5)

    options: dict[str, Any] = {"reconcile": False, "journal": tmp_path / "j", "on_call": told.record}
    async with (
        server_for(transport, page) as server,
        client_of(server.url, transport, auth=auth, **options) as ems,
    ):
        reads = asyncio.gather(*(ems.orders.open() for _ in range(40)), return_exceptions=True)
        outcomes = await asyncio.gather(*(ems.orders.submit(an_order()) for _ in range(40)))
        for error in await reads:
            assert isinstance(error, EMSError)
            told.texts += everything_about(error)
        assert all(isinstance(outcome, Unknown) and "Bearer <hidden>" in outcome.message for outcome in outcomes)
        told.texts += [f"{outcome.message} {outcome.attempts}" for outcome in outcomes]
        await ems.journal.unresolved()
    kept = b"".join(contents(tmp_path))
    assert b"Bearer <hidden>" in kept
    assert MARK.encode() not in kept
    assert not any(MARK in text for text in (*told.texts, caplog.text))


async def test_the_raw_answer_stays_as_it_is_and_the_useful_part_of_the_message() -> None:
    async with ScriptedServer(said(401, message=f"Invalid API key\r\n  {KEY}: ask again")) as server:
        async with client_of(server.url, auth=ApiKeyHeader(), api_key=KEY) as ems:
            outcome = await ems.orders.submit(an_order())
            error = await Told().of(ems.balances.get())
    assert KEY.encode() in outcome.raw
    assert KEY.encode() in error.raw
    assert outcome.message == "Invalid API key <hidden>: ask again"
    assert "refused caller: Invalid API key <hidden>: ask again; check the API key" in str(error)


async def test_a_page_becomes_one_line_of_a_sane_length() -> None:
    page = b"<html>\r\n" + b"<p>\tno\x1b[31m way</p>\n" * 1_000
    async with ScriptedServer(lambda seen: answer(page, 400)) as server, client_of(server.url) as ems:
        outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert outcome.message.startswith("<html> <p> no [31m way</p> <p> no")
    assert outcome.message.isprintable()
    assert len(outcome.message) == 500


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<html>", "it is not JSON: expecting value at character 1"),
        (b'{"a', "it is not JSON: unterminated string starting at character 2"),
        (b"null", "expected an object, got null"),
        (b"17", "expected an object, got a number"),
        (b"true", "expected an object, got a truth value"),
        (b'"x"', "expected an object, got a text"),
        (b"[]", "expected an object, got an array"),
        (b"{}", "exchange_id, client_order_id, status missing or unreadable"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
async def test_a_body_that_cannot_be_read_is_told_of_in_plain_words(body: bytes, why: str) -> None:
    async with ScriptedServer(lambda seen: answer(body)) as server:
        async with client_of(server.url, late_answer=0.05, close_wait=0.05) as ems:
            outcome = await ems.orders.submit(an_order())
            error = await Told().of(ems.orders.status("a"))
    assert isinstance(outcome, Unknown)
    assert outcome.message == f"success, but the body cannot be read: {why}"
    assert f"HTTP 200, success, but the body cannot be read: {why}" in str(error)
