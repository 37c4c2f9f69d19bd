"""A sentinel key goes through everything, and must be found nowhere."""

import logging
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coinapi_ems_async import (
    Account,
    ApiKeyHeader,
    ApiKeyQuery,
    ClientCertificate,
    EMSClient,
    EMSError,
    Settings,
)
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from .conftest import ACCOUNT, EAST, WEST, an_order
from .wire import Reply, ScriptedServer, a_listener_that_never_accepts

SENTINEL = "SENTINEL-5ca1ab1e-key"
ACCOUNT_SECRET = "SENTINEL-5ca1ab1e-parameter"  # what is searched for
BEARER = "SENTINEL-5ca1ab1e-bearer"
MARK = "5ca1ab1e"


def everything_about(error: BaseException) -> str:
    shown = [repr(error), str(error), *traceback.format_exception(error)]
    if isinstance(error, EMSError):
        shown.append(repr(error.attempts))
        shown.append(repr(getattr(error, "outcome", None)))
    return "\n".join(shown)


async def _use(ems: EMSClient, sim: Simulator, seen: list[str]) -> None:
    """Success, refusal and failure of every kind of call."""
    now = datetime.now(UTC)
    order = an_order()
    for status in (None, 400, 401, 403, 404, 429, 490, 500, 504, 302):
        if status is not None:
            body = f'{{"message":"no, {"x" * 10}"}}'
            for operation in ("order_new", "balances", "order_cancel", "locations", "order_status"):
                sim.inject(Injection(operation=operation, status=status, body=body))
        for call in (
            ems.orders.submit(an_order()),
            ems.orders.place(order, allow_duplicate_id=True),
            ems.orders.status(order.client_order_id),
            ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id),
            ems.orders.history(now - timedelta(hours=1), now + timedelta(hours=1)),
            ems.balances.get(),
            ems.locations.list(),
            ems.accounts.list(),
        ):
            try:
                seen.append(repr(await call))
            except EMSError as error:
                seen.append(everything_about(error))
        sim.clear_injections()
    seen += [repr(ems), repr(ems.health()), repr(ems.sites), repr(vars(ems)), repr(ems.orders)]


@pytest.mark.parametrize(
    "auth",
    [
        ApiKeyHeader(bearer=lambda: BEARER),
        ApiKeyQuery(bearer=lambda: BEARER),
        ClientCertificate(bearer=lambda: BEARER),
    ],
)
async def test_no_secret_in_any_repr_log_or_error(
    auth: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    settings = Settings(late_answer=0.1, close_wait=0.1)
    pace = Pace(reply=0, book=0, cancel=0)
    simulator = Simulator(sites={EAST: 0.0, WEST: 0.0}, api_key=SENTINEL, pace=pace, tls=True)
    async with simulator as sim:
        seen.append(repr(sim))
        client = EMSClient(
            SENTINEL,
            management_url=sim.management_url,
            auth=auth,
            settings=settings,
            ssl_context=sim.ssl_context(),
        )
        async with client as ems:
            parameters = {"PublicApiKey": ACCOUNT_SECRET, "PrivateApiKey": ACCOUNT_SECRET}
            await ems.accounts.save(Account(exchange_id="BITMEX", parameters=parameters))
            await _use(ems, sim, seen)
            await sim.stop_site(EAST)
            await sim.stop_site(WEST)
            await _use(ems, sim, seen)
        seen += [repr(auth), repr(client), repr(sim.requests), repr(client._config)]
        sim.auth_fail = 403
        with pytest.raises(EMSError) as caught:
            await EMSClient(
                SENTINEL, management_url=sim.management_url, auth=auth, ssl_context=sim.ssl_context()
            ).open()
        seen.append(everything_about(caught.value))
    output = capfd.readouterr()
    log = "\n".join(f"{record.getMessage()} {record.exc_text or ''} {record.args!r}" for record in caplog.records)
    for text in (*seen, log, output.out, output.err):
        assert MARK not in text
        assert "PRIVATE KEY" not in text


async def test_no_secret_when_the_line_is_cut_or_nobody_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    for reply in (Reply(end="fin"), Reply(end="reset"), Reply(b"HTTP/1.1 200 OK\r\nbroken", "fin"), Reply(b"x")):
        async with ScriptedServer(lambda seen, reply=reply: reply) as server:  # type: ignore[misc]  # a default of a lambda
            settings = Settings(late_answer=0.1, close_wait=0.1, open_within=0.3)
            for make in (_management_client, _site_client):
                try:
                    async with make(server.url, settings) as ems:
                        texts.append(repr(await ems.orders.submit(an_order(), timeout=0.3)))
                except EMSError as error:
                    texts.append(everything_about(error))
    async with ScriptedServer(lambda seen: Reply()) as server:
        url = server.url
    with a_listener_that_never_accepts() as silent:
        for where in (url, silent):
            with pytest.raises(EMSError) as caught:
                await _management_client(where, Settings(connect_timeout=0.1)).open()
            texts.append(everything_about(caught.value))
        async with _site_client(silent, Settings(connect_timeout=0.1, open_within=0.3)) as ems:
            texts += [repr(await ems.orders.submit(an_order())), repr(ems.health())]
    assert len(texts) == 12
    for text in (*texts, caplog.text):
        assert MARK not in text


def _management_client(url: str, settings: Settings) -> EMSClient:
    return EMSClient(SENTINEL, management_url=url, auth=ApiKeyQuery(), settings=settings)


def _site_client(url: str, settings: Settings) -> EMSClient:
    return EMSClient.self_hosted(url, api_key=SENTINEL, auth=ApiKeyQuery(), settings=settings)
