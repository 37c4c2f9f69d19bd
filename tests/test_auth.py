"""All the ways to show who is calling, against servers that check."""

import asyncio
import os
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    ApiKeyQuery,
    AuthenticationFailed,
    ClientCertificate,
    ConfigurationError,
    EMSClient,
    NoAuth,
    NoSites,
    Rejected,
    RejectedReason,
    Settings,
    Unknown,
)
from coinapi_ems_async.simulator import Injection, Pace, Simulator
from coinapi_ems_async.transport.tls import client_context, write_private

from .conftest import ACCOUNT, EAST, WEST, an_order
from .wire import ScriptedServer, Seen, answer, report

INSTANT = Pace(reply=0, book=0, cancel=0)


@pytest.mark.every_loop
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("auth", [ApiKeyHeader(), ApiKeyQuery()])
async def test_the_key_in_header_or_query(auth: Any, tls: bool) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=tls) as sim:
        context = sim.ssl_context() if tls else None
        client = EMSClient(sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=context)
        async with client as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
            assert await ems.accounts.list()
            assert await ems.balances.get(ACCOUNT)


@pytest.mark.every_loop
async def test_a_client_certificate_fetched_from_the_service(tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        for auth in (ClientCertificate(), ClientCertificate(file=file), ClientCertificate(file=str(file))):
            client = EMSClient(
                sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
            )
            async with client as ems:
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
        fetched = [one for one in sim.requests if one.operation == "certificate"]
        assert len(fetched) == 2  # the third client found the file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["client.pem"]


async def test_a_certificate_for_a_self_hosted_server(tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    auth = ClientCertificate(file=file)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        url = sim.site_urls[EAST]
        with pytest.raises(ConfigurationError, match="cannot fetch one"):
            await EMSClient.self_hosted(url, auth=auth, api_key="k", ssl_context=sim.ssl_context()).open()
        cloud = EMSClient.cloud_only(sim.api_key, management_url=sim.management_url, ssl_context=sim.ssl_context())
        async with cloud:
            await asyncio.to_thread(write_private, file, await cloud.certificate.pem())
        client = EMSClient.self_hosted(url, auth=auth, api_key="k", ssl_context=sim.ssl_context())
        async with client as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
        with pytest.raises(ConfigurationError, match="needs https"):
            await EMSClient.self_hosted("http://127.0.0.1:9", auth=auth, api_key="k").open()


async def test_sites_that_want_a_certificate_get_no_key_instead() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        async with EMSClient.self_hosted(sim.site_urls[EAST], ssl_context=sim.ssl_context()) as ems:
            outcome = await ems.orders.submit(an_order())
            assert isinstance(outcome, Rejected)
            assert outcome.reason is RejectedReason.AUTHENTICATION
            assert outcome.status == 401


@pytest.mark.parametrize("content", ["", "not a certificate", "-----BEGIN PRIVATE KEY-----\nsecret\n"])
async def test_a_certificate_file_that_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "client.pem"
    file.write_text(content)
    file.chmod(0o600)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        auth = ClientCertificate(file=file)
        client = EMSClient(
            sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
        )
        with pytest.raises(ConfigurationError, match="certificate") as caught:
            await client.open()
        assert "secret" not in str(caught.value)


async def test_a_certificate_that_cannot_be_kept(tmp_path: Path) -> None:
    auth = ClientCertificate(file=tmp_path / "missing" / "client.pem")
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        client = EMSClient(
            sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
        )
        with pytest.raises(ConfigurationError, match="cannot be kept"):
            await client.open()


async def test_a_certificate_file_that_others_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "client.pem"
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url, ssl_context=sim.ssl_context()) as ems:
            await asyncio.to_thread(file.write_text, await ems.certificate.pem())
        file.chmod(0o644)
        auth = ClientCertificate(file=file)
        async with EMSClient(
            sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
        ):
            assert "chmod 600" in caplog.text


async def test_a_bearer_token_beside_the_key() -> None:
    tokens = iter(f"token-{number}" for number in range(100))
    server_seen: list[Seen] = []

    def script(seen: Seen) -> Any:
        server_seen.append(seen)
        return answer(report(seen))

    async with ScriptedServer(script) as server:
        auth = ApiKeyHeader(bearer=lambda: next(tokens))
        async with EMSClient.self_hosted(server.url, auth=auth, api_key="key") as ems:
            for _ in range(2):
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
    assert [one.headers["authorization"] for one in server_seen] == ["Bearer token-0", "Bearer token-1"]
    assert {one.headers["x-coinapi-key"] for one in server_seen} == {"key"}


async def test_a_bearer_token_that_has_to_be_awaited() -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return "a.b.c"

    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, require_bearer="a.b.c") as sim:
        auth = ApiKeyHeader(bearer=token)
        async with EMSClient(sim.api_key, management_url=sim.management_url, auth=auth) as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
        with pytest.raises(AuthenticationFailed):
            await EMSClient(sim.api_key, management_url=sim.management_url).open()


@pytest.mark.parametrize("bad", ["", "two words", "line\r\nend", None, 5])
async def test_a_bad_bearer_token_sends_nothing(bad: Any) -> None:
    async with ScriptedServer(lambda seen: answer(report(seen))) as server:
        auth = ApiKeyHeader(bearer=lambda: bad)
        async with EMSClient.self_hosted(server.url, auth=auth, api_key="key") as ems:
            with pytest.raises(ConfigurationError, match="bearer"):
                await ems.orders.submit(an_order())
        assert server.seen == []


async def test_a_certificate_that_cannot_be_fetched() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:
        sim.inject(Injection(operation="certificate", status=503, times=None))
        auth = ClientCertificate()
        with pytest.raises(NoSites, match="cannot be read"):
            await EMSClient(
                sim.api_key, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
            ).open()


async def test_a_bearer_supplier_that_hangs_is_not_waited_for() -> None:
    async def supplier() -> str:
        await asyncio.sleep(60)
        return "never"

    async with ScriptedServer(lambda seen: answer(report(seen))) as server:
        async with EMSClient.self_hosted(server.url, auth=NoAuth(bearer=supplier)) as ems:
            async with asyncio.timeout(5):
                with pytest.raises(ConfigurationError, match="bearer supplier failed: TimeoutError"):
                    await ems.orders.submit(an_order(), timeout=0.1)
        assert server.seen == []


async def test_a_bearer_supplier_that_fails_at_opening() -> None:
    def supplier() -> str:
        raise LookupError("the vault is sealed")

    with pytest.raises(ConfigurationError, match="bearer supplier failed: LookupError"):
        await EMSClient("key", management_url="http://127.0.0.1:9", auth=ApiKeyHeader(bearer=supplier)).open()


async def test_a_bearer_supplier_that_fails_sends_nothing() -> None:
    def supplier() -> str:
        raise LookupError("the vault is sealed")

    async with ScriptedServer(lambda seen: answer(report(seen))) as server:
        auth = NoAuth(bearer=supplier)
        async with EMSClient.self_hosted(server.url, auth=auth) as ems:
            with pytest.raises(ConfigurationError, match="LookupError") as caught:
                await ems.orders.place(an_order())
            assert isinstance(caught.value.__cause__, LookupError)
            assert not ems.orders.unresolved
        assert server.seen == []


def test_an_auth_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="auth must be"):
        EMSClient("key", auth="header")  # type: ignore[arg-type]  # what is tested


def test_a_context_that_does_not_verify_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(ConfigurationError, match="verify"):
        client_context(base=context)
    old = ssl.create_default_context()
    assert client_context(base=old).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "COINAPI_API_KEY", "k-from-env")
    assert EMSClient()._config.key == "k-from-env"
    assert EMSClient("k-given")._config.key == "k-given"


class Tokens:
    """A supplier that fails once so many tokens are left."""

    def __init__(self) -> None:
        self.left = 1_000

    def __call__(self) -> str:
        if not self.left:
            raise LookupError("the vault is sealed")
        self.left -= 1
        return "token"


@pytest.mark.parametrize("left", [1, 2])
async def test_a_supplier_that_fails_between_attempts_does_not_hide_what_was_sent(left: int) -> None:
    """Of a cancel, the reading of the order's status, and the second cancel, one or two have a token."""
    tokens = Tokens()
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        auth = ApiKeyHeader(bearer=tokens)
        async with EMSClient(sim.api_key, management_url=sim.management_url, auth=auth) as ems:
            order = an_order()
            await ems.orders.place(order)
            sim.inject(Injection(operation="order_cancel", status=500))
            tokens.left = left
            outcome = await ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
            assert isinstance(outcome, Unknown)
            assert "bearer supplier failed" in outcome.evidence[-1].what
            tokens.left = 1_000


async def test_a_refusal_stands_though_there_is_no_token_to_go_on_with() -> None:
    tokens = Tokens()
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT) as sim:
        auth, settings = ApiKeyHeader(bearer=tokens), Settings(reroute_unreachable=True)
        async with EMSClient(sim.api_key, management_url=sim.management_url, auth=auth, settings=settings) as ems:
            sim.inject(Injection(operation="order_new", status=490))
            tokens.left = 1
            assert isinstance(await ems.orders.submit(an_order()), Rejected)
            tokens.left = 1_000
