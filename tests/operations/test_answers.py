"""Whatever a server answers is read, never raised; each end of an attempt has an error and a reason."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import CancelOrder, errors
from coinapi_ems_async.answers import ERROR_CLASSES, Reading, Verdict, error_for, read_answer, retry_after_seconds
from coinapi_ems_async.matrix import MATRIX, REJECTED_AS, Kind, Move, Row
from coinapi_ems_async.operations import cancel_order
from coinapi_ems_async.outcomes import RejectedReason

from ..data import captured
from ..protocol.helpers import REQUESTS

NAMES = st.sampled_from(sorted(REQUESTS))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
KEYS = st.one_of(
    st.sampled_from(
        ["exchange_id", "client_order_id", "status", "data", "message", "errors", "reject_reason", "type"]
    ),
    st.text(max_size=4),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)
BODIES = st.one_of(
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([captured("report_routed"), captured("balances"), captured("message_reject")]),
    st.builds(
        lambda opening, depth, rest: opening * depth + rest,
        st.sampled_from([b"[", b'{"message":', b'{"errors":[', b'[{"data":', b'{"reject_reason":']),
        st.sampled_from([400, 600, 900, 5_000]),
        st.sampled_from([b"", b"1", b"]" * 600]),
    ),
)


def understood(reading: Reading, status: int) -> None:
    assert reading.status == status
    assert isinstance(reading.message, str)
    reading.message.encode()
    assert reading.verdict in Verdict
    assert (reading.verdict is Verdict.VALUE) == (reading.row is Row.SUCCESS)
    assert repr(reading)
    assert list(reading.__rich_repr__())
    if not 200 <= status < 300:
        assert reading.value is None
        assert reading.verdict is not Verdict.VALUE
    if status >= 500:
        assert reading.verdict is Verdict.UNKNOWN


@given(NAMES, st.integers(100, 999), BODIES, st.one_of(st.none(), st.text()))
def test_any_answer_is_read(name: str, status: int, body: bytes, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    reading = read_answer(REQUESTS[name], status, headers, body)
    understood(reading, status)
    context = {"status": status, "raw": body, "retry_after": retry_after_seconds(retry_after, datetime.now(UTC))}
    if reading.row is not Row.SUCCESS:
        error = error_for(REQUESTS[name], reading.row, reading.message, **context)
        assert isinstance(error, errors.AnswerError)
        assert str(error)


@pytest.mark.parametrize("depth", [100, 400, 500, 600, 900, 1_000, 5_000, 100_000])
@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_any_depth_is_read(name: str, depth: int) -> None:
    for head, tail in (
        (b'{"message":', b"}"),
        (b'{"errors":', b"}"),
        (b"", b""),
        (b'[{"exchange_id":"K","data":', b"}]"),
    ):
        body = head + b"[" * depth + b"]" * depth + tail
        for status in (200, 400, 404, 490, 504):
            understood(read_answer(REQUESTS[name], status, {}, body), status)


@given(
    st.one_of(
        st.none(),
        st.text(),
        st.text("0123456789 :,GMT+-JanMo"),
        st.datetimes().map(lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT"),
    )
)
def test_any_retry_after_is_read(text: str | None) -> None:
    found = retry_after_seconds(text, datetime(2024, 1, 1, tzinfo=UTC))
    assert found is None or found >= 0


def test_a_report_of_another_order_is_out_of_step() -> None:
    body = captured("report_routed")
    for name in ("order_new", "order_cancel", "order_status"):
        reading = read_answer(REQUESTS[name], 200, {}, body)
        assert reading.row is Row.OUT_OF_STEP
        assert "3f0c6f52" in reading.message
        assert reading.verdict is Verdict.UNKNOWN
    by_exchange = cancel_order(CancelOrder(exchange_id="K", exchange_order_id="OX6EKO-67KDQ-KGNYFI"))
    assert read_answer(by_exchange, 200, {}, body).row is Row.SUCCESS
    assert read_answer(by_exchange, 200, {}, captured("report_rejected")).row is Row.SUCCESS
    other = cancel_order(CancelOrder(exchange_id="K", exchange_order_id="another"))
    assert read_answer(other, 200, {}, body).row is Row.OUT_OF_STEP


def test_every_end_of_an_attempt_has_an_error() -> None:
    assert set(ERROR_CLASSES) == set(Row) - {Row.SUCCESS}
    for name, request in REQUESTS.items():
        for row in set(Row) - {Row.SUCCESS}:
            error = error_for(request, row, "why", status=1, raw=b"x", retry_after=2.0, site="s", attempts=())
            expected: Any = ERROR_CLASSES[row]
            if (name, row) == ("order_status", Row.NOT_KNOWN_HERE):
                expected = errors.OrderNotFound
            assert type(error) is expected
            assert row.value in str(error)
            assert "why" in str(error)
            assert request.target.partition("?")[0] in str(error)
    assert error_for(REQUESTS["balances"], Row.LOST, Row.LOST.value).message.count(Row.LOST.value) == 1


def test_every_rejection_has_a_reason() -> None:
    assert set(MATRIX) == set(Row)
    refusing = {row for row, rule in MATRIX.items() if Move.REJECTED in rule}
    assert refusing <= set(REJECTED_AS)
    assert set(REJECTED_AS.values()) == set(RejectedReason)
    for row in set(REJECTED_AS) - {Row.SUCCESS}:
        assert not {Move.UNKNOWN, Move.RECHECK} & set(MATRIX[row])
        assert issubclass(ERROR_CLASSES[row], errors.AnswerError)  # type: ignore[arg-type]  # they are classes


def test_the_table_has_a_move_for_each_kind_of_call() -> None:
    for rule in MATRIX.values():
        for kind in set(Kind) - {Kind.MANAGE}:
            assert rule.for_kind(kind) in Move
        with pytest.raises(KeyError):
            rule.for_kind(Kind.MANAGE)


@pytest.mark.parametrize("row", [row for row in Row if row not in REJECTED_AS and row is not Row.SUCCESS])
def test_without_evidence_nothing_is_rejected(row: Row) -> None:
    assert Move.REJECTED not in MATRIX[row]
    assert Reading(row=row, status=500).verdict is Verdict.UNKNOWN


def test_retry_after_belongs_to_one_class() -> None:
    limited = error_for(REQUESTS["balances"], Row.RATE_LIMITED, "", status=429, retry_after=3.0)
    assert isinstance(limited, errors.RateLimited)
    assert (limited.retry_after, limited.status) == (3.0, 429)
    far = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=1)
    assert retry_after_seconds("Tue, 02 Jan 2024 00:00:00 GMT", far) == 0


def test_the_outcome_union_is_complete() -> None:
    from coinapi_ems_async import Accepted, NotSent, Outcome, Rejected, Unknown

    assert set(get_args(Outcome)) == {Accepted, Rejected, NotSent, Unknown}
