"""Whatever a server sends, reading it gives a struct or Undecodable, and what can be read survives."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinapi_ems_async import (
    Account,
    Balance,
    BalanceData,
    Endpoint,
    ExchangeLogin,
    ExecutionReport,
    Fill,
    Location,
    OrderHistory,
    OrderRejected,
    OrderStatus,
    Parameter,
    Position,
    PositionData,
)
from coinapi_ems_async.models.reading import Answer, AnswerReader, NumberText, Undecodable, plain, text
from coinapi_ems_async.models.rejects import MessageReject, Problem

from ..data import captured

STRUCTS: list[type[Answer]] = [
    *(ExecutionReport, Fill, Balance, BalanceData, Position, PositionData, OrderHistory),
    *(MessageReject, Problem, Account, Parameter, ExchangeLogin, Location, Endpoint),
]
READERS: dict[type[Answer], AnswerReader[Any]] = {cls: AnswerReader(cls) for cls in STRUCTS}
SLOW: dict[type[Answer], AnswerReader[Any]] = {cls: AnswerReader(cls, strict=False) for cls in STRUCTS}

REPORT: dict[str, Any] = json.loads(captured("report_routed"))
SAMPLES: dict[type[Answer], dict[str, Any]] = {
    ExecutionReport: REPORT | {"fills": [{"time": "2024-02-22T23:55:31.7Z", "price": 150.5, "amount": 2}]},
    Fill: {"time": "2024-02-22T23:55:31.7Z", "price": 150.5, "amount": 2},
    Balance: json.loads(captured("balances"))[0],
    BalanceData: json.loads(captured("balances"))[0]["data"][0],
    Position: json.loads(captured("positions"))[0],
    PositionData: json.loads(captured("positions"))[0]["data"][0],
    OrderHistory: {
        "exchangeId": "K",
        "clientOrderId": "a",
        "side": 1,
        "price": 1.5,
        "fillsPrice": [1],
        "avgPx": 0.1,
    },
    MessageReject: json.loads(captured("message_reject")),
    Problem: {"type": "about:blank", "title": "Bad", "status": 400, "traceId": "t", "errors": {"a": ["b"]}},
    Account: {"exchange_id": "K", "parameters": [{"key": "k", "value": "v"}]},
    Parameter: {"key": "k", "value": "v"},
    ExchangeLogin: {"exchange_id": "K", "location_id": "l", "required_parameters": ["a", "b"]},
    Location: {"location_id": "l", "region_name": "r", "provider_name": "p"},
    Endpoint: {"exchange_id": "K", "location_id": "l", "endpoint_url": "https://a.example/"},
}

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
STRANGE = st.one_of(JSON, st.sampled_from(["[", "[1,", '["a"', "NaN", "1e999999999", "", " ", "\ud800"]))


@st.composite
def changed(draw: st.DrawFn, cls: type[Answer]) -> dict[str, Any]:
    """A sample with fields taken away, made null, replaced and added, in any order."""
    body = dict(draw(st.permutations(list(SAMPLES[cls].items()))))
    for name in draw(st.lists(st.sampled_from(sorted(body)), max_size=4)):
        how = draw(st.sampled_from(["missing", "null", "strange"]))
        if how == "missing":
            body.pop(name, None)
        else:
            body[name] = None if how == "null" else draw(STRANGE)
    return body | draw(st.dictionaries(st.text(max_size=6), STRANGE, max_size=2))


def encode(body: object) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("cls", STRUCTS)
@given(data=st.data())
@settings(max_examples=60)
def test_any_change_of_a_body_is_read_or_undecodable(cls: type[Answer], data: st.DataObject) -> None:
    body = data.draw(changed(cls))
    try:
        found = READERS[cls].one(encode(body))
    except Undecodable:
        assert cls.required or cls is Parameter
        return
    assert type(found) is cls
    declared = {field.encode_name for field in msgspec.structs.fields(cls)} | set(cls.aliases)
    assert set(found.unread) <= declared & set(body)
    assert repr(found)
    json.dumps(found.unread)
    assert READERS[cls].many(encode([body])) == [found]


@given(changed(ExecutionReport))
def test_with_its_three_fields_a_report_is_a_report(body: dict[str, Any]) -> None:
    body |= {name: REPORT[name] for name in ExecutionReport.required}
    found = READERS[ExecutionReport].one(encode(body))
    pristine = READERS[ExecutionReport].one(encode(SAMPLES[ExecutionReport]))
    for name, value in SAMPLES[ExecutionReport].items():
        if name in ExecutionReport.readers and body.get(name) == value and type(body.get(name)) is type(value):
            assert getattr(found, name) == getattr(pristine, name)
            assert name not in found.unread
        elif name in ExecutionReport.readers and body.get(name) is None:
            assert getattr(found, name) is None or (name, "time_order" in body) == ("status_history", True)
    assert found.history is not None
    assert found.expires_at is None or found.expires_at.tzinfo is not None
    assert found.is_open != found.is_final


@pytest.mark.parametrize("cls", STRUCTS)
def test_both_tiers_agree_on_what_is_usual(cls: type[Answer]) -> None:
    body = encode(SAMPLES[cls])
    fast, slow = READERS[cls].one(body), SLOW[cls].one(body)
    assert fast == slow
    for name in fast.__struct_fields__:
        assert type(getattr(fast, name)) is type(getattr(slow, name)) or cls is Problem
        assert str(getattr(fast, name)) == str(getattr(slow, name)) or cls is Problem
    assert fast.unread == {}
    assert SLOW[cls].many(b"[" + body + b"]") == [slow]


@pytest.mark.parametrize("name", ["report_routed", "report_rejected", "balances", "positions"])
def test_both_tiers_agree_on_what_was_captured(name: str) -> None:
    kinds: dict[str, type[Answer]] = {"balances": Balance, "positions": Position}
    cls = kinds.get(name, ExecutionReport)
    body = captured(name)
    body = body if body.startswith(b"[") else b"[" + body + b"]"
    assert READERS[cls].many(body) == SLOW[cls].many(body)


MONEY = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12)


@given(MONEY, MONEY, st.sampled_from(OrderStatus), st.text(max_size=10), st.lists(MONEY, max_size=3))
def test_both_tiers_agree_on_any_usual_report(
    price: Decimal, amount: Decimal, status: OrderStatus, error: str, fills: list[Decimal]
) -> None:
    body = b'{"exchange_id":"K","client_order_id":"a","status":"%s","price":%s,"amount_open":%s,%s}' % (
        status.encode(),
        f"{price:f}".encode(),
        f"{amount:f}".encode(),
        b'"error_message":%s,"fills":[%s]'
        % (
            json.dumps(error, ensure_ascii=False).encode("utf-8"),
            b",".join(b'{"price":%s}' % f"{fill:f}".encode() for fill in fills),
        ),
    )
    fast, slow = READERS[ExecutionReport].one(body), SLOW[ExecutionReport].one(body)
    assert fast == slow
    assert str(fast.price) == str(slow.price) == str(price)


@given(st.one_of(st.binary(), JSON.map(encode)), st.sampled_from(STRUCTS))
def test_any_bytes_are_read_or_undecodable(body: bytes, cls: type[Answer]) -> None:
    for reader in (READERS[cls], SLOW[cls]):
        with contextlib.suppress(Undecodable):
            assert isinstance(reader.one(body), cls)
        with contextlib.suppress(Undecodable):
            assert all(isinstance(row, cls) for row in reader.many(body))


WHOLE = captured("report_routed").strip()


@pytest.mark.parametrize("depth", [100, 400, 600, 900, 1_200, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("name", ["status_history", "exec_inst", "error_message", "fills", "price", "unknown"])
def test_deep_nesting(depth: int, opening: bytes, closing: bytes, name: str) -> None:
    value = opening * depth + b"1" + closing * depth
    body = b'{"exchange_id":"K","client_order_id":"a","status":"NEW",%s:%s}' % (f'"{name}"'.encode(), value)
    try:
        found = READERS[ExecutionReport].one(body)
    except Undecodable:
        assert depth >= 900
        return
    assert found.client_order_id == "a"
    assert found.unread.keys() <= {name}
    json.dumps(found.unread)


def test_what_is_too_deep_to_be_kept_is_left_out() -> None:
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    assert plain(deep) == "(nested too deeply)"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_literals_that_are_not_json_spoil_their_own_field_only(literal: str) -> None:
    body = WHOLE.replace(b'"price":150.0', b'"price":' + literal.encode())
    found = READERS[ExecutionReport].one(body)
    assert (found.price, found.unread) == (None, {"price": literal})
    assert found.amount_order == 10


def test_a_repeated_key_counts_the_last_time() -> None:
    for value, expected in (("2", Decimal(2)), ('"2"', Decimal(2)), ("null", None)):
        found = READERS[ExecutionReport].one(WHOLE[:-1] + b',"price":' + value.encode() + b"}")
        assert found.price == expected


def test_a_byte_order_mark_is_skipped() -> None:
    assert READERS[ExecutionReport].one(b"\xef\xbb\xbf" + WHOLE) == READERS[ExecutionReport].one(WHOLE)


def test_text_that_no_encoding_has() -> None:
    broken = WHOLE.replace(b'"error_message":null', b'"error_message":"\xff\xfe"')
    assert READERS[ExecutionReport].one(broken).error_message == "\ufffd\ufffd"
    half = WHOLE.replace(b'"error_message":null', b'"error_message":"\\ud800x"')
    assert READERS[ExecutionReport].one(half).error_message == "?x"
    assert READERS[ExecutionReport].one(half.replace(b'"ROUTED"', b'"\\udfff"')).status == "?"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"1",
        b'"x"',
        b"[]",
        b"{}",
        b"{",
        b"[1]",
        WHOLE[:-2],
        WHOLE + WHOLE,
        b"\x00",
        b"[" * 10**5,
    ],
)
def test_what_is_no_report_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        READERS[ExecutionReport].one(body)


def test_one_bad_row_fails_the_list() -> None:
    with pytest.raises(Undecodable, match="client_order_id missing"):
        READERS[ExecutionReport].many(b"[%s,%s]" % (WHOLE, b'{"exchange_id":"K","status":"NEW"}'))
    with pytest.raises(Undecodable, match="expected an array"):
        READERS[ExecutionReport].many(WHOLE)
    assert READERS[ExecutionReport].many(b" [] ") == []


@pytest.mark.parametrize("profit", ["1", '"1"'])
def test_another_spelling_is_found_in_any_row(profit: str) -> None:
    rows = b'[{"exchange_id":"D","data":[{"unrealized_pnl":2},{"unrealised_pnl":%s}]}]' % profit.encode()
    (found,) = READERS[Position].many(rows)
    assert [row.unrealized_pnl for row in found.data or ()] == [2, 1]


@pytest.mark.parametrize("value", ["true", "false", "null", '"true"', "1"])
def test_truth_values(value: str) -> None:
    found = READERS[PositionData].one(b'{"cross_margin":%s,"leverage":"5"}' % value.encode())
    expected = {"true": True, "false": False}.get(value)
    assert found.cross_margin is expected
    assert ("cross_margin" in found.unread) == (value in ('"true"', "1"))


@pytest.mark.parametrize("value", ["text", [1, {"a": None}], {"k": [True]}, 5, "\ud800", True])
@pytest.mark.parametrize("leverage", [1, "1"])
def test_raw_data_is_kept_as_it_came(value: Any, leverage: Any) -> None:
    found = READERS[PositionData].one(encode({"raw_data": value, "leverage": leverage}))
    if leverage == 1 and value != "\ud800":
        assert found.raw_data == value
    assert found.raw_data is not None
    assert not isinstance(found.raw_data, NumberText)
    json.dumps(found.raw_data).encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "BUY"), (2, "SELL"), ("1", "BUY"), ("SELL", "SELL"), ("SHORT", "SHORT"), (3, None), (1.5, None)],
)
def test_the_side_of_a_history_row_is_a_number(value: Any, expected: str | None) -> None:
    found = SLOW[OrderHistory].one(encode({"side": value}))
    assert found.side == expected
    assert ("side" in found.unread) == (expected is None)


def test_times_of_a_history_row() -> None:
    row = SLOW[OrderHistory].one(
        encode({"createdTime": "2024-01-01T00:00:00.1234567Z", "expireTime": "2022-05-01T00:00:00"})
    )
    assert row.created_at is not None
    assert row.expires_at is not None
    assert (row.created_at.microsecond, row.expires_at.year) == (123456, 2022)
    assert row.history == []


def test_a_report_tells_about_its_order() -> None:
    report = READERS[ExecutionReport].one(encode(SAMPLES[ExecutionReport]))
    (fill,) = report.fills or []
    assert fill.at is not None
    assert report.raise_for_reject() is report
    rejected = READERS[ExecutionReport].one(captured("report_rejected"))
    assert rejected.is_rejected
    with pytest.raises(OrderRejected, match="EGeneral") as caught:
        rejected.raise_for_reject()
    assert (caught.value.report, caught.value.outcome) == (rejected, None)
    assert caught.value.client_order_id == rejected.client_order_id


def test_a_validation_answer_can_be_read_as_a_struct() -> None:
    found = READERS[Problem].one(encode(SAMPLES[Problem]))
    assert (found.title, found.errors) == ("Bad", {"a": ["b"]})
    assert READERS[MessageReject].one(b'{"type":"message"}').is_reject is False
    assert READERS[MessageReject].one(captured("message_reject")).is_reject


def test_a_field_reader_takes_text_only() -> None:
    assert text(NumberText("5")) == "5"
    with pytest.raises(ValueError):
        text(5)
