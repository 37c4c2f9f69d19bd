"""Every documented status of every call, and the undocumented ones, as the page of the protocol lists them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pytest

from coinapi_ems_async import (
    Accepted,
    Account,
    AnswerError,
    EMSClient,
    EMSError,
    NotSent,
    OrderRejected,
    OrderUnknown,
    Rejected,
    Settings,
    Unknown,
)
from coinapi_ems_async.operations import OPERATIONS
from coinapi_ems_async.simulator import Injection, Simulator
from coinapi_ems_async.simulator.records import OperationName

from ..conftest import ACCOUNT, an_order
from ..data import captured
from .notes import table

KNOWN = "an-order-that-rests"
WINDOW = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
LOGIN = Account(exchange_id=ACCOUNT, parameters={"PublicApiKey": "p", "PrivateApiKey": "s"})

CALLS: Mapping[str, Callable[[EMSClient], Awaitable[Any]]] = {
    "orders_open": lambda ems: ems.orders.open(ACCOUNT),
    "order_new": lambda ems: ems.orders.submit(an_order()),
    "order_status": lambda ems: ems.orders.status(KNOWN),
    "order_cancel": lambda ems: ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=KNOWN),
    "order_cancel_all": lambda ems: ems.orders.submit_cancel_all(exchange_id=ACCOUNT),
    "orders_history": lambda ems: ems.orders.history(*WINDOW),
    "balances": lambda ems: ems.balances.get(ACCOUNT),
    "positions": lambda ems: ems.positions.get(ACCOUNT),
    "accounts_get": lambda ems: ems.accounts.list(),
    "account_save": lambda ems: ems.accounts.save(LOGIN),
    "account_delete": lambda ems: ems.accounts.delete(ACCOUNT),
    "accounts_delete_all": lambda ems: ems.accounts.delete_all(),
    "endpoints": lambda ems: ems.endpoints.list(),
    "exchanges": lambda ems: ems.exchanges.list(),
    "locations": lambda ems: ems.locations.list(),
    "certificate": lambda ems: ems.certificate.pem(),
}

REJECT = {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "exchange_id": ACCOUNT, "message": "no"}
BODIES: Mapping[str, Any] = {
    "unreadable": "<html>Service Unavailable</html>",
    "empty": b"",
    "error": captured("unauthorized"),
    "quota": captured("forbidden_quota"),
    "reject": REJECT | {"reject_reason": "EXCHANGE_RESPONSE_TIMEOUT"},
    "typo": REJECT | {"reject_reason": "EXCHANGE_UNREACHABLE"},
}
DOCUMENTED: Mapping[tuple[str, int], Any] = {
    ("order_new", 504): BODIES["reject"],
    ("order_status", 404): captured("message_reject"),
    ("orders_history", 400): {"message": "Orders log is not configured"},
    ("account_save", 405): b"",
    ("account_delete", 404): b"",
}
VALIDATION = {"title": "One or more validation errors occurred.", "status": 400, "errors": {"price": ["Too low."]}}

COLUMNS: Mapping[str, OperationName] = {
    "new order": "order_new",
    "cancel one": "order_cancel",
    "cancel all": "order_cancel_all",
    "read": "balances",
    "management": "accounts_get",
}


@pytest.fixture
async def ems(sim: Simulator) -> AsyncIterator[EMSClient]:
    settings = Settings(management_tries=1)
    async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as client:
        await client.orders.place(an_order(client_order_id=KNOWN))
        yield client


async def ended(call: Awaitable[Any]) -> tuple[str, Any]:
    """How a call ended, in the words of the page, and what it gave or raised."""
    try:
        result = await call
    except EMSError as error:
        return type(error).__name__, error
    if isinstance(result, Rejected):
        return f"Rejected ({result.reason})", result
    if isinstance(result, Accepted | Unknown | NotSent):
        return type(result).__name__, result
    return "value", result


def documented_rows() -> list[Any]:
    rows = table("Documented answers").rows
    return [pytest.param(*row, id=f"{row[0].strip('`')}_{row[2]}") for row in rows]


def undocumented_rows() -> list[Any]:
    found = table("Undocumented answers")
    return [
        pytest.param(int(status), row[1], COLUMNS[kind], expected, id=f"{status}-{row[1]}-{kind}")
        for row in found.rows
        for status in row[0].split(", ")
        for kind, expected in zip(found.columns[2:], row[2:], strict=True)
    ]


@pytest.mark.parametrize(("name", "_call", "status", "_meaning", "expected"), documented_rows())
async def test_status(
    sim: Simulator, ems: EMSClient, name: str, _call: str, status: str, _meaning: str, expected: str
) -> None:
    operation, code = OPERATIONS[name.strip("`")], int(status)
    if code != 200:
        usual: Any = VALIDATION if code == 400 else BODIES["typo"]
        body = DOCUMENTED.get((operation.name, code), usual)
        forced: Any = operation.name
        sim.inject(Injection(operation=forced, status=code, body=body, times=None))
    found, result = await ended(CALLS[operation.name](ems))
    assert found == expected
    if isinstance(result, AnswerError | Rejected | Unknown):
        assert result.status == code


@pytest.mark.parametrize(("status", "body", "name", "expected"), undocumented_rows())
async def test_undocumented_status(
    sim: Simulator, ems: EMSClient, status: int, body: str, name: OperationName, expected: str
) -> None:
    media = "appliction/json" if body == "typo" else "application/json"
    headers = {"Location": sim.management_url, "Retry-After": "0"}
    sim.inject(
        Injection(
            operation=name, status=status, body=BODIES[body], times=None, content_type=media, headers=headers
        )
    )
    before = len(sim.requests)
    found, result = await ended(CALLS[name](ems))
    assert found == expected
    sent = [record for record in sim.requests[before:] if record.operation == name]
    limit = {"order_new": 2 if status == 421 else 1, "order_cancel": 2, "accounts_get": 1}.get(name, 3)
    assert 1 <= len(sent) <= (2 if name == "order_cancel_all" and status == 421 else limit)
    if isinstance(result, Rejected | Unknown | AnswerError):
        assert result.status == status
        assert result.raw or body == "empty"
        assert "Invalid API key" not in repr(result) or body == "error"


@pytest.mark.parametrize(
    ("status", "expected"), [(400, OrderRejected), (504, OrderUnknown), (302, OrderUnknown), (429, OrderRejected)]
)
async def test_place_raises_what_submit_returns(
    sim: Simulator, ems: EMSClient, status: int, expected: type[EMSError]
) -> None:
    sim.inject(Injection(operation="order_new", status=status, body=VALIDATION))
    with pytest.raises(expected) as caught:
        await ems.orders.place(an_order())
    assert isinstance(caught.value, OrderRejected | OrderUnknown)
    assert caught.value.outcome is not None
    assert caught.value.client_order_id == caught.value.outcome.client_order_id


async def test_a_refused_order_is_a_report(sim: Simulator, ems: EMSClient) -> None:
    order = an_order(client_order_id="refused")
    body = captured("report_rejected").replace(b"8d5f9a86-0a0c-4a43-9c36-51d1f8a0f5f4", b"refused")
    sim.inject(Injection(operation="order_new", body=body))
    outcome = await ems.orders.submit(order)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.status) == ("exchange", 200)
    assert outcome.report is not None
    assert outcome.report.exchange_order_id is None
    assert outcome.message == "EGeneral:Invalid arguments:volume"


def test_the_page_lists_every_documented_status() -> None:
    page = {(row[0].strip("`"), int(row[2])): row[3] for row in table("Documented answers").rows}
    code = {(name, status): what for name, op in OPERATIONS.items() for status, what in op.statuses.items()}
    assert page == code
    calls = {row[0].strip("`"): row[1] for row in table("Documented answers").rows if row[1]}
    assert calls == {name: f"{operation.method} {operation.path}" for name, operation in OPERATIONS.items()}
    assert calls.keys() == CALLS.keys()


def test_the_simulator_has_the_same_operations() -> None:
    names: tuple[Literal["probe"], ...] = get_args(OperationName)
    assert set(OPERATIONS) == set(names) - {"probe", "health", "unknown"}
