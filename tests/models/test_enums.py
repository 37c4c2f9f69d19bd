"""Open enumerations keep texts they do not know; the life of an order is a table."""

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import (
    ORDER_TRANSITIONS,
    BalanceSource,
    ExecInst,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    TimeInForce,
)
from coinapi_ems_async.models.enums import OpenEnum
from coinapi_ems_async.models.lifecycle import FINAL, LIVE, advance, check_transition

ENUMS: list[type[OpenEnum]] = [BalanceSource, ExecInst, OrderStatus, OrderType, RejectReason, Side, TimeInForce]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.sampled_from(ENUMS), TEXTS)
def test_any_text_survives_everything(cls: type[OpenEnum], text: str) -> None:
    value: Any = cls(text)
    assert isinstance(value, cls)
    if text != "GOOD_TILL_TIME_OEML":
        assert value == text
        assert value.is_known == (text in cls.__members__)
    assert hash(value) == hash(str(value))
    assert str(value) in {value}
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == copy.deepcopy(value) == value
    assert type(pickle.loads(pickle.dumps(value))) is cls
    body = msgspec.json.encode(value)
    assert body == msgspec.json.encode(str(value))
    assert msgspec.json.decode(body, type=cls) == value
    assert f"{value}" == str(value) == value.value
    assert value.name == value.value
    assert cls.__name__ in repr(value)


@pytest.mark.parametrize("cls", ENUMS)
def test_the_class_does_not_grow(cls: type[OpenEnum]) -> None:
    before = dict(cls.__members__)
    assert not cls("INVENTED").is_known
    assert dict(cls.__members__) == before
    assert all(member.is_known and member is cls(member.value) for member in cls)
    assert cls("INVENTED") == cls("INVENTED")


@pytest.mark.parametrize("cls", ENUMS)
@pytest.mark.parametrize("value", [None, 1, b"BUY", ("BUY",)])
def test_only_text_is_a_value(cls: Any, value: object) -> None:
    with pytest.raises(ValueError):
        cls(value)


def test_the_two_spellings_of_good_till_time() -> None:
    assert TimeInForce("GOOD_TILL_TIME_OEML") is TimeInForce.GOOD_TILL_TIME_OMS
    assert {one for one in TimeInForce if one.needs_expire_time} == {
        TimeInForce.GOOD_TILL_TIME_EXCHANGE,
        TimeInForce.GOOD_TILL_TIME_OMS,
    }


STATUSES = st.one_of(st.sampled_from(OrderStatus), TEXTS.map(OrderStatus))


@given(st.lists(STATUSES))
def test_final_never_reopens(reports: list[OrderStatus]) -> None:
    current: OrderStatus | None = None
    for reported in reports:
        following = advance(current, reported)
        if current is not None and current.is_final:
            assert following is current
        else:
            assert following == reported
        current = following
    finals = [one for one in reports if one in FINAL]
    assert not finals or current == finals[0]


def test_every_status_can_be_reached_and_every_final_one_from_everywhere() -> None:
    def reach(start: OrderStatus | None) -> set[OrderStatus]:
        seen: set[OrderStatus] = set()
        todo = set(ORDER_TRANSITIONS[start])
        while todo:
            one = todo.pop()
            seen.add(one)
            todo |= ORDER_TRANSITIONS[one] - seen
        return seen

    assert reach(None) == set(OrderStatus)
    for status in OrderStatus:
        assert (status in FINAL) == (not reach(status))
        assert status in FINAL or reach(status) & FINAL


def test_final_and_live_are_what_their_names_say() -> None:
    assert {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED} == FINAL
    assert not FINAL & LIVE
    assert {one for one in OrderStatus if one.is_final} == FINAL
    assert set(ORDER_TRANSITIONS) == {None, *OrderStatus}
    for status in LIVE:
        assert {OrderStatus.FILLED, OrderStatus.CANCELED} <= ORDER_TRANSITIONS[status]
    for status in OrderStatus:
        if OrderStatus.CANCELED in ORDER_TRANSITIONS[status]:
            assert status in LIVE | {OrderStatus.ROUTED}


@given(st.one_of(st.none(), STATUSES), STATUSES)
def test_a_server_keeps_to_the_table(current: OrderStatus | None, following: OrderStatus) -> None:
    if following in ORDER_TRANSITIONS.get(current, ()):
        assert check_transition(current, following) is following
    else:
        with pytest.raises(ValueError, match="cannot go"):
            check_transition(current, following)
