"""Every call as data: the exact target and body, and what cannot be made ready."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import Account, CancelAll, CancelOrder, InvalidRequest, Parameter, operations
from coinapi_ems_async.matrix import Kind
from coinapi_ems_async.models.ids import check_id
from coinapi_ems_async.models.reading import Undecodable
from coinapi_ems_async.operations import CLOUD, EMS, OPERATIONS, Request

from ..conftest import ACCOUNT, an_order

NAMED = st.text(min_size=1, max_size=128).filter(lambda text: _is_id(text))
START = datetime(2024, 1, 1, tzinfo=UTC)


class Text(str):
    pass


def _is_id(text: str) -> bool:
    try:
        return bool(check_id("id", text))
    except InvalidRequest:
        return False


def test_all_sixteen() -> None:
    assert (len(EMS), len(CLOUD), len(OPERATIONS)) == (8, 8, 16)
    assert all(operation.is_cloud for operation in CLOUD)
    assert {operation.kind for operation in CLOUD} == {Kind.MANAGE}
    assert {operation.kind for operation in EMS} == set(Kind) - {Kind.MANAGE}
    assert len({(operation.method, operation.path) for operation in OPERATIONS.values()}) == 16
    assert all(200 in operation.statuses for operation in OPERATIONS.values())
    for operation in EMS:
        assert (operation.method == "POST") == (operation.kind is not Kind.READ)


TARGETS: list[tuple[Request, str, bytes | None]] = [
    (operations.of_exchange(operations.ORDERS_OPEN), "/v1/orders", None),
    (operations.of_exchange(operations.ORDERS_OPEN, ACCOUNT), "/v1/orders?exchange_id=KRAKEN%2FJOHN", None),
    (
        operations.of_exchange(operations.BALANCES, "A#&+%=; ?é"),
        "/v1/balances?exchange_id=A%23%26%2B%25%3D%3B%20%3F%C3%A9",
        None,
    ),
    (operations.of_exchange(operations.POSITIONS, "K~-._"), "/v1/positions?exchange_id=K~-._", None),
    (operations.order_status("a"), "/v1/orders/status/a", None),
    (operations.order_status("../x", exchange_id="K"), "/v1/orders/status/..%2Fx", None),
    (operations.cancel_all(CancelAll(exchange_id="K")), "/v1/orders/cancel/all", b'{"exchange_id":"K"}'),
    (
        operations.cancel_order(CancelOrder(exchange_id="K", client_order_id='a"\\é')),
        "/v1/orders/cancel",
        '{"exchange_id":"K","client_order_id":"a\\"\\\\é"}'.encode(),
    ),
    (
        operations.orders_history(START, START + timedelta(hours=1, microseconds=1)),
        "/v1/orders/history?time_start=2024-01-01T00%3A00%3A00&time_end=2024-01-01T01%3A00%3A00.0000010",
        None,
    ),
    (operations.filtered(operations.ACCOUNTS_GET), "/v1/accounts", None),
    (
        operations.filtered(operations.ENDPOINTS, ["A", "B,C"]),
        "/v1/endpoints?filter_exchange_id=A&filter_exchange_id=B%2CC",
        None,
    ),
    (operations.plain_read(operations.LOCATIONS), "/v1/locations", None),
    (operations.plain_read(operations.EXCHANGES), "/v1/exchanges", None),
    (operations.plain_read(operations.CERTIFICATE), "/v1/certificate/pem", None),
    (operations.plain_read(operations.ACCOUNTS_DELETE_ALL), "/v1/accounts/all", None),
    (operations.account_delete("K/1"), "/v1/accounts?exchange_id=K%2F1", None),
    (
        operations.account_save(Account(exchange_id="K", parameters=[Parameter(key="a", value="x\ny")])),
        "/v1/accounts",
        b'{"exchange_id":"K","parameters":[{"key":"a","value":"x\\ny"}]}',
    ),
]


@pytest.mark.parametrize(("request_", "target", "body"), TARGETS, ids=[target for _, target, _ in TARGETS])
def test_target_and_body(request_: Request, target: str, body: bytes | None) -> None:
    assert (request_.target, request_.body) == (target, body)
    assert request_.kind is request_.operation.kind
    assert target in repr(request_)
    assert ("target", target) in list(request_.__rich_repr__())
    if body is not None:
        assert body.decode() not in repr(request_)


def test_the_body_of_an_order() -> None:
    order = an_order(client_order_id="a", exec_inst=["AUCTION_ONLY"])
    request = operations.new_order(order)
    assert request.body == (
        b'{"exchange_id":"KRAKEN/JOHN","client_order_id":"a","symbol_id_coinapi":"KRAKEN_SPOT_BTC_USDT",'
        b'"amount_order":0.045,"price":9000,"side":"BUY","order_type":"LIMIT",'
        b'"time_in_force":"GOOD_TILL_CANCEL","exec_inst":["AUCTION_ONLY"]}'
    )
    assert (request.exchange_id, request.client_order_id, request.target) == (ACCOUNT, "a", "/v1/orders")


@given(NAMED)
def test_any_id_survives_the_path_and_the_query(name: str) -> None:
    status = operations.order_status(name).target
    assert unquote(status.removeprefix("/v1/orders/status/"), errors="strict") == name
    assert status.isascii()
    assert status.isprintable()
    assert status.count("/") == 4
    assert not set(status) & set("?#&+;= ")
    path, _, query = operations.of_exchange(operations.BALANCES, name).target.partition("?")
    assert path == "/v1/balances"
    assert parse_qsl(query, keep_blank_values=True, strict_parsing=True) == [("exchange_id", name)]
    cancel = operations.cancel_order(CancelOrder(exchange_id=name, exchange_order_id=name))
    assert json.loads(cancel.body or b"") == {"exchange_id": name, "exchange_order_id": name}


def test_subclasses_of_text_are_written_as_text() -> None:
    order = an_order(exchange_id=Text("K"), client_order_id=Text("a"), symbol_id_coinapi=Text("S"))
    assert b'{"exchange_id":"K","client_order_id":"a","symbol_id_coinapi":"S"' in (
        operations.new_order(order).body or b""
    )
    parameters: dict[str, str] = {Text("a"): Text("b")}
    account = Account(exchange_id=Text("K"), parameters=parameters)
    assert operations.account_save(account).body == b'{"exchange_id":"K","parameters":[{"key":"a","value":"b"}]}'
    assert operations.filtered(operations.ENDPOINTS, Text("K")).target == "/v1/endpoints?filter_exchange_id=K"


def test_what_is_no_text_is_not_written_as_text() -> None:
    with pytest.raises(TypeError, match="cannot write object"):
        operations._as_text(object())


BAD: dict[str, Any] = {
    "new_order": lambda: operations.new_order({"exchange_id": "K"}),  # type: ignore[arg-type]  # what is tested
    "order_status": lambda: operations.order_status(""),
    "order_status.none": lambda: operations.order_status(None),  # type: ignore[arg-type]  # what is tested
    "order_status.exchange": lambda: operations.order_status("a", exchange_id=""),
    "of_exchange": lambda: operations.of_exchange(operations.BALANCES, ""),
    "filtered": lambda: operations.filtered(operations.ENDPOINTS, ["K", ""]),
    "filtered.text": lambda: operations.filtered(operations.ENDPOINTS, ".."),
    "account_delete": lambda: operations.account_delete("a\r\nb"),
    "account_save": lambda: operations.account_save({"exchange_id": "K"}),  # type: ignore[arg-type]  # what is tested
    "history.naive": lambda: operations.orders_history(datetime(2024, 1, 1), START),  # noqa: DTZ001
    "history.empty": lambda: operations.orders_history(START, START),
    "history.backwards": lambda: operations.orders_history(START, START - timedelta(1)),
    "history.text": lambda: operations.orders_history("2024-01-01", START),  # type: ignore[arg-type]  # what is tested
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_made_ready(make: Any) -> None:
    with pytest.raises(InvalidRequest):
        make()


@pytest.mark.parametrize("body", [b"", b"hello", b'"hello"', b'"-----BEGIN ', b'"' + b"[" * 10, b"\xff"])
def test_a_certificate_that_is_none(body: bytes) -> None:
    with pytest.raises(Undecodable, match="not a PEM text"):
        operations.CERTIFICATE.decode(body)


def test_an_acknowledgement_of_any_json_is_kept() -> None:
    decode = operations.ORDER_CANCEL_ALL.decode
    assert decode(b'[1,"\\ud800"]').unread == {"(body)": ["1", "?"]}
    assert decode(b"").unread == {}
    assert decode(b'{"message":"Ok"}').message == "Ok"
    with pytest.raises(Undecodable, match="neither JSON nor empty"):
        decode(b"Ok")


def test_nothing_is_read_from_a_deletion() -> None:
    nothing: object = operations.ACCOUNT_DELETE.decode(b"\xff")
    assert nothing is None
