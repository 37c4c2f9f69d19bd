"""Decisions about balances, positions, history, refusals, the Managed Cloud API and authentication."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from coinapi_ems_async import (
    Account,
    ApiKeyHeader,
    ApiKeyQuery,
    AuthenticationFailed,
    ClientCertificate,
    EMSClient,
    ExchangeUnreachable,
    HistoryNotConfigured,
    InvalidRequest,
    NoSites,
    NotFound,
    OrderHistory,
    OrderStatus,
    Parameter,
    RateLimited,
    Rejected,
    RejectedReason,
    Settings,
    Side,
    ValidationFailed,
    operations,
)
from coinapi_ems_async.answers import Verdict, retry_after_seconds
from coinapi_ems_async.models.cloud import Endpoint
from coinapi_ems_async.models.rejects import refusal_text
from coinapi_ems_async.settings import GLOBAL_URL, MANAGEMENT_URL
from coinapi_ems_async.simulator import Injection, Simulator, Variants
from coinapi_ems_async.sites.directory import endpoint_url
from coinapi_ems_async.sites.discovery import Discovery

from ..conftest import ACCOUNT, EAST, an_order
from ..data import captured
from .helpers import END, START, read, wire

SECRET = "s3ntinel-of-a-secret"
PERPETUAL = "BITMEX_PERP_BTC_USDT"


async def history(ems: EMSClient) -> list[OrderHistory]:
    return await ems.orders.history(START, END)


# Balances, positions, history


@pytest.mark.parametrize("numbers", ["plain", "string"])
@pytest.mark.parametrize("arrays", ["flat", "nested", "string"])
async def test_c07_history_arrays(sim: Simulator, ems: EMSClient, arrays: Any, numbers: Any) -> None:
    await ems.orders.place(an_order(price="10802", exec_inst=("DO_NOT_INCREASE",)))
    await ems.orders.open()
    sim.variants = Variants(history_arrays=arrays, numbers=numbers)
    rows = await history(ems)
    assert [row.unread for row in rows] == [{}] * len(rows)
    assert [row.created_at for row in rows] == sorted(row.created_at for row in rows if row.created_at)
    last = rows[-1]
    assert (last.status, last.side, last.exec_inst) == (OrderStatus.FILLED, Side.BUY, ["DO_NOT_INCREASE"])
    assert [step.status for step in last.history] == ["RECEIVED", "ROUTING", "ROUTED", "FILLED"]
    ((time, price, amount),) = last.fills
    assert (price, amount) == (Decimal(10801), Decimal("0.045"))
    assert time is not None
    assert time.endswith("Z")
    assert rows[0].fills == []


def row_of(**fields: Any) -> OrderHistory:
    (found,) = read("orders_history", 200, [fields]).value
    assert isinstance(found, OrderHistory)
    return found


def test_c07_lists_of_different_length_pair_up_as_far_as_they_go() -> None:
    row = row_of(fillsTime=["t1", "t2", "t3"], fillsPrice=[1, 2], fillsAmount="[0.5]")
    assert row.fills == [
        ("t1", Decimal(1), Decimal("0.5")),
        ("t2", Decimal(2), None),
        ("t3", None, None),
    ]
    row = row_of(statusHistoryStatus=["NEW", "FILLED"], statusHistoryTime=[["2024-01-01T00:00:00.1234567Z"]])
    ((status, time, text),) = row.history
    assert (status, text) == ("NEW", "2024-01-01T00:00:00.1234567Z")
    assert time == datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("value", [[1, None, 3], [[1, None]], [None, [1]], ["", 1], "[1", True, {}])
def test_c07_a_gap_never_shifts_what_follows(value: Any) -> None:
    row = row_of(fillsTime=["t1", "t2", "t3"], fillsPrice=value)
    assert row.fills_price is None
    assert row.unread.keys() == {"fillsPrice"}
    assert [fill.price for fill in row.fills] == [None, None, None]


@pytest.mark.parametrize("value", [None, [], "", " ", "[]", [[]], [None], [[None]]])
def test_c07_nothing_is_an_empty_list(value: Any) -> None:
    assert row_of(fillsPrice=value).fills == []
    assert row_of(fillsPrice=value).unread == {}


async def test_c08_the_history_is_asked_by_query(sim: Simulator, ems: EMSClient) -> None:
    await history(ems)
    (asked,) = [record for record in sim.requests if record.operation == "orders_history"]
    assert asked.path == ("/v1/orders/history?time_start=2000-01-01T00%3A00%3A00&time_end=2100-01-01T00%3A00%3A00")


@pytest.mark.parametrize("name", ["unrealized_pnl", "unrealised_pnl", "unrealised_pn_l"])
async def test_c09_every_spelling_of_the_profit(sim: Simulator, ems: EMSClient, name: Any) -> None:
    order = an_order(exchange_id="BITMEX/JOHN", symbol_id_coinapi=PERPETUAL, price="10802")
    await ems.orders.place(order)
    sim.variants = Variants(pnl=name)
    (position,) = await ems.positions.get("BITMEX/JOHN")
    (row,) = position.data or []
    assert row.unrealized_pnl == Decimal("-0.045")
    assert (row.side, row.unread) == (Side.BUY, {})


def test_c09_the_captured_spelling_wins() -> None:
    for profit in ("1", '"1"'):
        row = b'{"unrealised_pnl":2,"unrealised_pn_l":3,"unrealized_pnl":%s}' % profit.encode()
        (found,) = read("positions", 200, b'[{"exchange_id":"DERIBIT","data":[%s]}]' % row).value
        assert found.data[0].unrealized_pnl == 1


async def test_u14_an_account_that_is_down_is_missing_or_without_data(sim: Simulator, ems: EMSClient) -> None:
    sim.exchange_down(ACCOUNT)
    (row,) = [balance for balance in await ems.balances.get() if balance.exchange_id == ACCOUNT]
    assert row.data is None
    with pytest.raises(ExchangeUnreachable):
        await ems.balances.get(ACCOUNT)


async def test_u15_without_an_order_log(sim: Simulator, ems: EMSClient) -> None:
    sim.variants = Variants(history_configured=False)
    with pytest.raises(HistoryNotConfigured, match="Orders log is not configured"):
        await history(ems)


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Bad", "status": 400, "errors": {"time_start": ["no"]}, "message": "x"},
        {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "x"},
        {"error": "x"},
        "x",
        ["message"],
        b"not JSON",
    ],
)
async def test_u15_another_400_is_validation(sim: Simulator, ems: EMSClient, body: Any) -> None:
    sim.inject(Injection(operation="orders_history", status=400, body=wire(body)))
    with pytest.raises(ValidationFailed):
        await history(ems)


# Refusals


@pytest.mark.parametrize("kind", ["normal", "typo", "problem"])
async def test_c14_the_content_type_is_never_looked_at(sim: Simulator, ems: EMSClient, kind: Any) -> None:
    sim.variants = Variants(content_type=kind)
    sim.exchange_down(ACCOUNT)
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.reject_reason) == ("exchange unreachable", "EXCHANGE_UNREACHABLE")
    assert outcome.message == f"Exchange {ACCOUNT} is unreachable"


async def test_c14_text_that_is_not_json(sim: Simulator, ems: EMSClient) -> None:
    page = "\ufeff<html>Bad Gateway</html>"
    sim.inject(Injection(operation="order_new", status=400, body=page, content_type="text/plain"))
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert outcome.message == "<html>Bad Gateway</html>"
    report = captured("report_routed").replace(b"3f0c6f52-9d0e-4c0f-8a55-0f6f3a1f7e21", b"b")
    sim.inject(Injection(operation="order_new", body=report, content_type="text/html"))
    assert (await ems.orders.place(an_order(client_order_id="b"))).status is OrderStatus.ROUTED


@pytest.mark.parametrize("body", [b'"%s"', b"%s", b"\n%s\n"])
async def test_c14_a_certificate_as_text_or_as_json(sim: Simulator, ems: EMSClient, body: bytes) -> None:
    text = b"-----BEGIN PRIVATE KEY-----"
    sim.inject(Injection(operation="certificate", body=body % text, content_type="application/json"))
    assert await ems.certificate.pem() == text.decode() + "\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("object", "One or more validation errors occurred.: exchange_id: The exchange_id field is required."),
        ("string", "One or more validation errors occurred.: exchange_id: The exchange_id field is required."),
        ("list", "One or more validation errors occurred.: The exchange_id field is required."),
        ("absent", "One or more validation errors occurred."),
    ],
)
async def test_c15_errors_in_any_shape(sim: Simulator, ems: EMSClient, kind: Any, said: str) -> None:
    from coinapi_ems_async.simulator.rejects import validation_problem

    answer = validation_problem({"exchange_id": ["The exchange_id field is required."]}, Variants(errors=kind))
    sim.inject(Injection(operation="order_new", status=400, body=answer.body))
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.message) == (RejectedReason.VALIDATION, said)


def date_in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("header", "most"), [("120", 120.0), ("a date", 120.0), ("soon", None), (None, None)])
async def test_c27_too_many_requests(
    sim: Simulator, ems: EMSClient, header: str | None, most: float | None
) -> None:
    header = date_in(120) if header == "a date" else header
    headers = {"Retry-After": header} if header else {}
    # The pause is longer than the call may take, or the call ends after its third request.
    sim.inject(Injection(operation="balances", status=429, headers=headers, body=b"", times=None))
    with pytest.raises(RateLimited) as caught:
        await ems.balances.get(timeout=0.9)
    found = caught.value.retry_after
    assert (found is None) == (most is None)
    assert found is None or most is None or most - 60 < found <= most
    assert len(caught.value.attempts) == 1


async def test_c27_reads_wait_and_orders_do_not_come_again(sim: Simulator, ems: EMSClient) -> None:
    for name in ("balances", "order_new"):
        operation: Any = name
        sim.inject(Injection(operation=operation, status=429, headers={"Retry-After": "0"}, body=b""))
    assert await ems.balances.get(ACCOUNT)
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, len(outcome.attempts)) == (RejectedReason.RATE_LIMITED, 1)


async def test_c27_on_the_managed_cloud_api(sim: Simulator, ems: EMSClient) -> None:
    sim.inject(Injection(operation="accounts_get", status=429, headers={"Retry-After": "0"}, body=b""))
    assert await ems.accounts.list()
    sim.inject(Injection(operation="accounts_get", status=429, headers={"Retry-After": "70"}, body=b""))
    with pytest.raises(RateLimited) as caught:
        await ems.accounts.list()
    assert (caught.value.status, caught.value.retry_after) == (429, 70)
    sim.inject(Injection(operation="account_save", status=429, headers={"Retry-After": "0"}, body=b""))
    with pytest.raises(RateLimited):  # a change is sent once
        await ems.accounts.save(Account(exchange_id=ACCOUNT, parameters=LOGIN))


def test_c27_retry_after_is_never_negative() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert retry_after_seconds(format_datetime(now - timedelta(hours=1)), now) == 0
    assert retry_after_seconds(format_datetime(now + timedelta(seconds=2)), now) == 2
    assert retry_after_seconds("Mon, 01 Jan 2024 00:00:03 -0000", now) == 3
    assert retry_after_seconds(" 5 ", now) == 5
    assert retry_after_seconds("9" * 400, now) == 999_999_999
    assert [retry_after_seconds(text, now) for text in (None, "", "-1", "1.5", "\u0665")] == [None] * 5


@pytest.mark.parametrize(("status", "reason"), [(490, None), (490, "OTHER"), (400, "EXCHANGE_UNREACHABLE")])
async def test_c37_unreachable_or_not_registered(
    sim: Simulator, ems: EMSClient, status: int, reason: str | None
) -> None:
    body = {"type": "MESSAGE_REJECT", "reject_reason": reason, "message": "gone"}
    sim.inject(Injection(operation="order_new", status=status, body=body))
    outcome = await ems.orders.submit(an_order())
    assert isinstance(outcome, Rejected)
    assert outcome.reason is RejectedReason.EXCHANGE_UNREACHABLE
    assert (outcome.reject_reason, outcome.message, outcome.status) == (reason, "gone", status)
    sim.exchange_down(ACCOUNT)
    with pytest.raises(ExchangeUnreachable) as caught:
        await ems.positions.get(ACCOUNT)
    assert b"EXCHANGE_UNREACHABLE" in caught.value.raw


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "m", "detail": "d"}, "m"),
        ({"detail": "d", "error": "e"}, "d"),
        ({"error": "e", "title": "t"}, "e"),
        ({"title": "t"}, "t"),
        ({"errors": ["x", "y"]}, "x, y"),
        ({"errors": {"a": ["x", "y"], "b": None}, "title": "t"}, "t: a: x, y; b: "),
        ({"errors": {"a": "x"}, "message": "m"}, "m"),
        ({"message": {"a": 1.50}}, "a: 1.5"),
        ({"other": "o"}, ""),
        (["a", {"b": None}], "a, b: "),
        ("just text", "just text"),
        (None, ""),
        (b"plain words ", "plain words"),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b'"\\ud800"', "?"),
        (b"x" * 10_000, "x" * 10_000),
        (captured("forbidden_quota"), "Quota exceeded: Insufficient Usage Credits or Subscription."),
        (captured("unauthorized"), "Invalid API key"),
    ],
)
def test_u11_the_reason_in_words(body: object, said: str) -> None:
    assert refusal_text(wire(body)) == said


@pytest.mark.parametrize("status", [401, 403])
async def test_u11_refused_credentials(sim: Simulator, ems: EMSClient, status: Any) -> None:
    sim.auth_fail = status
    with pytest.raises(AuthenticationFailed) as caught:
        await ems.balances.get()
    assert caught.value.status == status
    outcome = await ems.orders.submit(an_order())
    assert not isinstance(outcome, Rejected) or outcome.reason is RejectedReason.AUTHENTICATION


@pytest.mark.parametrize("name", ["order_new", "order_cancel", "order_cancel_all", "balances"])
@pytest.mark.parametrize("status", [400, 404, 422, 490])
def test_u27_the_services_own_reason_counts_for_more_than_the_code(name: str, status: int) -> None:
    for reason, row in (
        ("EXCHANGE_UNREACHABLE", "EXCHANGE_UNREACHABLE"),
        ("ORDER_ID_NOT_FOUND", "NOT_KNOWN_HERE"),
        ("EXCHANGE_RESPONSE_TIMEOUT", "EXCHANGE_TIMEOUT"),
    ):
        reading = read(name, status, {"type": "MESSAGE_REJECT", "reject_reason": reason})
        assert reading.row.name == row
        assert reading.reject is not None
    assert read(name, 500, {"reject_reason": "ORDER_ID_NOT_FOUND"}).verdict is Verdict.UNKNOWN


# Managed Cloud API, sites, authentication


async def test_c17_one_value_for_each_key(sim: Simulator, ems: EMSClient) -> None:
    await ems.accounts.save(Account(exchange_id="GEMINI/#1", parameters=LOGIN))
    assert {row.exchange_id for row in await ems.accounts.list("GEMINI/#1")} == {"GEMINI/#1"}
    assert {row.exchange_id for row in await ems.accounts.list("GEMINI/#1", ACCOUNT)} == {"GEMINI/#1", ACCOUNT}
    assert {row.exchange_id for row in await ems.endpoints.list(ACCOUNT)} == {ACCOUNT}
    asked = [record.path for record in sim.requests if "filter" in record.path]
    assert asked == [
        "/v1/accounts?filter_exchange_id=GEMINI%2F%231",
        "/v1/accounts?filter_exchange_id=GEMINI%2F%231&filter_exchange_id=KRAKEN%2FJOHN",
        "/v1/endpoints?filter_exchange_id=KRAKEN%2FJOHN",
    ]
    assert operations.filtered(operations.ENDPOINTS, ACCOUNT).target == asked[-1]


LOGIN = {"PublicApiKey": "p", "PrivateApiKey": SECRET}


@pytest.mark.parametrize("code", [400, 405])
async def test_c18_saving_an_account_that_is_refused(sim: Simulator, ems: EMSClient, code: Any) -> None:
    sim.variants = Variants(account_validation=code)
    with pytest.raises(ValidationFailed) as caught:
        await ems.accounts.save(Account(exchange_id=ACCOUNT, parameters={"PublicApiKey": "p"}))
    assert caught.value.status == code
    sim.inject(Injection(operation="account_save", status=422, body=b""))
    with pytest.raises(ValidationFailed):
        await ems.accounts.save(Account(exchange_id=ACCOUNT, parameters=LOGIN))


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_c18_any_2xx_is_a_success(sim: Simulator, ems: EMSClient, status: int) -> None:
    sim.inject(Injection(operation="account_save", status=status, body=b""))
    await ems.accounts.save(Account(exchange_id=ACCOUNT, parameters=LOGIN))
    assert [one.status for one in sim.requests if one.operation == "account_save"] == [status]


@pytest.mark.parametrize("body", [b"", b"deleted", b"{}", b"\xff"])
async def test_c19_deleting_succeeds_with_any_body(sim: Simulator, ems: EMSClient, body: bytes) -> None:
    for name in ("account_delete", "accounts_delete_all"):
        operation: Any = name
        sim.inject(Injection(operation=operation, body=body))
    await ems.accounts.delete(ACCOUNT)
    await ems.accounts.delete_all()
    assert {row.exchange_id for row in await ems.accounts.list()} >= {ACCOUNT}


async def test_u20_deleting_twice(sim: Simulator, ems: EMSClient) -> None:
    await ems.accounts.delete(ACCOUNT)
    with pytest.raises(NotFound):
        await ems.accounts.delete(ACCOUNT)
    await ems.accounts.delete(ACCOUNT, missing_ok=True)
    assert [one.path for one in sim.requests if one.method == "DELETE"] == [
        "/v1/accounts?exchange_id=KRAKEN%2FJOHN"
    ] * 3


async def test_c20_sites_come_from_endpoints(sim: Simulator, ems: EMSClient) -> None:
    assert {site.url for site in ems.sites} == set(sim.site_urls.values())
    assert "endpoints" in [record.operation for record in sim.requests]


@pytest.mark.parametrize("url", [MANAGEMENT_URL, "https://mgmt.example"])
async def test_c20_without_endpoints_only_production_goes_on_with_the_global_host(url: str) -> None:
    async def nothing(_request: operations.Request, _tries: int | None) -> list[Any]:
        return []

    discovery = Discovery(nothing, url, Settings())
    if url != MANAGEMENT_URL:
        with pytest.raises(NoSites):
            await discovery.load()
        return
    assert list((await discovery.load()).sites) == [GLOBAL_URL]


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"endpoint_url": "https://a.example/", "endpoint_schema": "http"}, "https://a.example"),
        ({"endpoint_url": "https://a.example:443/x/"}, "https://a.example/x"),
        ({"endpoint_schema": "https", "endpoint_host": "b.example"}, "https://b.example"),
        ({"endpoint_host": "b.example"}, "https://b.example"),
    ],
)
def test_c21_the_base_url_of_a_site(fields: dict[str, Any], url: str) -> None:
    assert endpoint_url(Endpoint(exchange_id=ACCOUNT, **fields)) == url


@pytest.mark.parametrize("name", ["aws-us-east-1", "aws-us-east-1-prd", "Zürich #1", "7"])
def test_c22_a_location_is_opaque_text(name: str) -> None:
    (found,) = read("locations", 200, [{"location_id": name, "region_name": None}]).value
    assert found.location_id == name


@pytest.mark.parametrize("value", [SECRET, "****", "", None])
async def test_c23_secrets_are_read_masked_or_not_and_never_shown(
    sim: Simulator, ems: EMSClient, value: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"exchange_id": ACCOUNT, "parameters": [{"key": "PrivateApiKey", "value": value}]}
    sim.inject(Injection(operation="accounts_get", body=[row]))
    (account,) = await ems.accounts.list()
    assert account["PrivateApiKey"] == (value or "")
    assert SECRET not in repr(account) + str(account) + caplog.text


def test_c23_secrets_in_answers_that_cannot_be_read() -> None:
    rows = [
        {"exchange_id": ACCOUNT, "parameters": [{"key": "k", "value": SECRET}, "odd"]},
        {"exchange_id": ACCOUNT, "parameters": [{"key": "k", "value": [SECRET]}]},
        {"exchange_id": ACCOUNT, "parameters": {"k": SECRET}},
        {"exchange_id": ACCOUNT, "parameters": [{"value": SECRET}]},
    ]
    for row in rows:
        reading = read("accounts_get", 200, [row])
        assert SECRET not in repr(reading) + repr(reading.value)
    history = read("orders_history", 200, [{"apikey": SECRET}, {"apikey": [SECRET]}, {"apikey": {SECRET: 1}}])
    assert SECRET not in repr(history.value)
    assert history.value[0].apikey == SECRET


@pytest.mark.parametrize("auth", [ApiKeyHeader(), ApiKeyQuery()])
async def test_c24_the_key_in_header_or_query(sim: Simulator, auth: Any) -> None:
    async with EMSClient(sim.api_key, management_url=sim.management_url, auth=auth) as ems:
        await ems.orders.place(an_order())
        await ems.balances.get(ACCOUNT)
        await ems.accounts.list(ACCOUNT)
    paths = {one.operation: one.path for one in sim.requests}
    in_query = isinstance(auth, ApiKeyQuery)
    assert paths["order_new"] == "/v1/orders" + ("?apikey=<hidden>" if in_query else "")
    hidden = "&apikey=<hidden>" if in_query else ""
    assert paths["balances"] == f"/v1/balances?exchange_id=KRAKEN%2FJOHN{hidden}"
    assert paths["accounts_get"] == f"/v1/accounts?filter_exchange_id=KRAKEN%2FJOHN{hidden}"


def test_c25_with_a_certificate_sites_get_no_key_and_management_does() -> None:
    auth = ClientCertificate()
    assert auth.site("k").headers == ()
    assert auth.site("k").target("/v1/orders") == "/v1/orders"
    assert auth.management("k").headers == (("X-CoinAPI-Key", "k"),)


@pytest.fixture
async def guarded() -> AsyncIterator[Simulator]:
    async with Simulator(sites={EAST: 0.0}, require_bearer="token") as simulator:
        yield simulator


async def test_c26_a_bearer_token_travels_beside_the_key(guarded: Simulator) -> None:
    async def token() -> str:
        return "token"

    for supplier in (lambda: "token", token):
        auth = ApiKeyHeader(bearer=supplier)
        async with EMSClient(guarded.api_key, management_url=guarded.management_url, auth=auth) as ems:
            assert await ems.balances.get(ACCOUNT)
            assert await ems.accounts.list()
    with pytest.raises(AuthenticationFailed):
        async with EMSClient(guarded.api_key, management_url=guarded.management_url):
            pass


def test_u17_the_full_set_is_sent() -> None:
    body = operations.account_save(Account(exchange_id=ACCOUNT, parameters=LOGIN)).body or b""
    assert json.loads(body) == {
        "exchange_id": ACCOUNT,
        "parameters": [{"key": key, "value": value} for key, value in LOGIN.items()],
    }
    with pytest.raises(InvalidRequest):
        operations.account_save(Account(exchange_id=ACCOUNT))


def test_captured_balances_and_positions() -> None:
    mex, kraken = read("balances", 200, captured("balances")).value
    assert (kraken.exchange_id, kraken.data) == (ACCOUNT, None)
    bitcoin, dollar = mex.data
    assert str(bitcoin.balance) == "50000.00000000"
    assert (bitcoin.available, bitcoin.rate_usd) == (Decimal("1.73e-05"), None)
    assert (dollar.asset_id_coinapi, dollar.balance, str(dollar.rate_usd)) == (None, None, "1.000000000000000")
    (position,) = read("positions", 200, captured("positions")).value
    (row,) = position.data
    assert (row.side, row.cross_margin, row.unrealized_pnl) == (Side.SELL, True, Decimal("-1.2e-07"))
    assert json.loads(row.raw_data)[0]["Key"] == 54
    assert not any(one.unread for one in (mex, kraken, bitcoin, dollar, position, row))


def test_captured_refusals() -> None:
    reading = read("order_status", 404, captured("message_reject"))
    assert (reading.row.name, reading.message) == ("NOT_KNOWN_HERE", "Order with ID: KPP-222389382-AQ not found")
    assert reading.reject is not None
    assert json.loads(reading.reject.rejected_message or "")["client_order_id"] == "KPP-222389382-AQ"
    assert read("balances", 403, captured("forbidden_quota")).message.startswith("Quota exceeded")
    assert read("balances", 401, captured("unauthorized")).message == "Invalid API key"


def test_parameters_compare_and_are_read_by_name() -> None:
    account = Account(exchange_id=ACCOUNT, parameters=[Parameter(key="a", value="1")])
    assert account == Account(exchange_id=ACCOUNT, parameters={"a": "1"})
    with pytest.raises(KeyError):
        account["b"]
