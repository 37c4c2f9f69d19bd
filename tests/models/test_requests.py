"""What is wrong with a request is said before anything is sent."""

import copy
import pickle
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coinapi_ems_async import (
    Account,
    CancelAll,
    CancelOrder,
    EMSError,
    ExecInst,
    InvalidRequest,
    NewOrder,
    Parameter,
    UnusualClientOrderId,
)
from coinapi_ems_async.models.ids import base_exchange, check_client_order_id, check_id, new_client_order_id
from coinapi_ems_async.models.times import aware, parse_time, wire_time

from ..conftest import ACCOUNT, SYMBOL, an_order


class Text(str):
    pass


class Named(str, Enum):  # noqa: UP042  # what callers with an older style have
    ACCOUNT = "KRAKEN/JOHN"


BAD_IDS: list[Any] = [
    *(None, 5, True, 1.5, b"KRAKEN", ["KRAKEN"], Path("KRAKEN"), object()),
    *("", " ", "\t", "x" * 129, ".", "..", " KRAKEN", "KRAKEN ", "\u00a0X", "\ufeffX"),
    *(f"A{character}B" for character in "\r\n\t\0\x0b\x1b\x7f\x85\u2028\u2029\u200b\u202e\ud800\udfff"),
    *("A\r\nX-Evil: 1", "A\n", "\nA"),
]
GOOD_IDS = [
    "K",
    "KRAKEN/JOHN",
    "a b",
    "é",
    "日本",
    "x" * 128,
    "...",
    "a/../b",
    "#&+%=;",
    "%00",
    "\\",
    '"',
    "😀",
    "." * 3,
]


def checked(account: Account) -> Account:
    account.check()
    return account


CHECKED: dict[str, Any] = {
    "NewOrder.exchange_id": lambda value: an_order(exchange_id=value),
    "NewOrder.client_order_id": lambda value: an_order(client_order_id=value),
    "CancelAll.exchange_id": lambda value: CancelAll(exchange_id=value),
    "CancelOrder.exchange_id": lambda value: CancelOrder(exchange_id=value, client_order_id="a"),
    "Account.exchange_id": lambda value: checked(Account(exchange_id=value, parameters={"a": "b"})),
    "Account.parameters": lambda value: checked(
        Account(exchange_id="K", parameters=[Parameter(key=value, value="v")])
    ),
}
OPTIONAL: dict[str, Any] = {
    "NewOrder.symbol_id_coinapi": lambda value: an_order(symbol_id_coinapi=value),
    "NewOrder.symbol_id_exchange": lambda value: an_order(symbol_id_coinapi=None, symbol_id_exchange=value),
    "CancelOrder.client_order_id": lambda value: CancelOrder(exchange_id="K", client_order_id=value),
    "CancelOrder.exchange_order_id": lambda value: CancelOrder(exchange_id="K", exchange_order_id=value),
}


@pytest.mark.parametrize("make", [*CHECKED.values(), *OPTIONAL.values()], ids=[*CHECKED, *OPTIONAL])
def test_ids_that_cannot_name_anything_are_refused(make: Any) -> None:
    for value in BAD_IDS:
        with pytest.raises(InvalidRequest) as caught:
            make(value)
        assert isinstance(caught.value, EMSError)
        assert isinstance(caught.value, ValueError)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [*CHECKED.values(), *OPTIONAL.values()], ids=[*CHECKED, *OPTIONAL])
def test_ids_that_can_are_taken(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusualClientOrderId)
        for value in (*GOOD_IDS, Text("KRAKEN"), Named.ACCOUNT):
            assert make(value) is not None


@given(st.text(max_size=130))
def test_an_id_is_taken_as_it_is_or_refused(value: str) -> None:
    try:
        assert check_id("exchange_id", value) is value
    except InvalidRequest:
        return
    assert 1 <= len(value) <= 128
    assert value.isprintable()
    value.encode()


def test_an_odd_client_order_id_warns_at_the_callers_line() -> None:
    for odd in ("a b", "x" * 37, "a/b"):
        with pytest.warns(UnusualClientOrderId) as caught:
            NewOrder(
                exchange_id="K", client_order_id=odd, symbol_id_coinapi=SYMBOL, side="BUY", amount_order=1, price=1
            )
        assert [warning.filename for warning in caught] == [__file__]
        with pytest.warns(UnusualClientOrderId):
            check_client_order_id(odd)
    assert an_order(client_order_id="x" * 36).client_order_id == "x" * 36


def test_fresh_ids_differ_and_are_usual() -> None:
    made = {new_client_order_id() for _ in range(100)} | {an_order().client_order_id for _ in range(100)}
    assert len(made) == 200
    assert all(check_client_order_id(one) == one for one in made)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("KRAKEN/JOHN", "KRAKEN"),
        ("BITMEX", "BITMEX"),
        ("BITSTAMP,2574", "BITSTAMP"),
        ("A_1", "A"),
        ("kraken", None),
    ],
)
def test_the_exchange_of_an_account(name: str, base: str | None) -> None:
    assert base_exchange(name) == base


@pytest.mark.parametrize("field", ["side", "order_type", "time_in_force"])
@pytest.mark.parametrize(
    "value",
    [None, 1, "", "buy", "INVENTED", b"BUY", 10**5000, "x" * 10**6, ["BUY"]],
    ids=lambda value: type(value).__name__,
)
def test_unknown_members_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} must be one of") as caught:
        an_order(**{field: value})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [None, 1, "MAKER_OR_CANCEL", ["INVENTED"], [None], [1], b"ab", [10**5000]])
def test_unknown_instructions_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="exec_inst"):
        an_order(exec_inst=value)


@pytest.mark.parametrize(
    "value",
    [
        [],
        (),
        {"AUCTION_ONLY"},
        ["AUCTION_ONLY", "AUCTION_ONLY"],
        iter(["AUCTION_ONLY"]),
        [ExecInst("AUCTION_ONLY")],
    ],
)
def test_instructions_are_taken_once_each(value: Any) -> None:
    found = an_order(exec_inst=value).exec_inst
    assert found in ((), (ExecInst.AUCTION_ONLY,))
    assert bool(found) == (value not in ([], ()))


class NoOffset(tzinfo):
    def utcoffset(self, _moment: datetime | None) -> timedelta | None:
        return None

    def dst(self, _moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _moment: datetime | None) -> str | None:
        return None


BAD_TIMES: list[Any] = [
    *("2099-01-01T00:00:00Z", 4070908800, 1.5, date(2099, 1, 1), timedelta(1), True),
    datetime(2099, 1, 1),  # noqa: DTZ001
    datetime(2099, 1, 1, tzinfo=NoOffset()),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
]


@pytest.mark.parametrize("value", BAD_TIMES, ids=str)
def test_times_that_are_not_clear_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="expire_time"):
        an_order(time_in_force="GOOD_TILL_TIME_EXCHANGE", expire_time=value)


def test_a_time_in_any_zone_becomes_utc() -> None:
    east = datetime(2099, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert aware("start", east) == datetime(2099, 1, 1, tzinfo=UTC)
    assert aware("start", east).tzinfo is UTC
    assert an_order(time_in_force="GOOD_TILL_TIME_OMS", expire_time=east).expire_time == east


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-22T23:55:31.5424443Z", datetime(2024, 2, 22, 23, 55, 31, 542444, tzinfo=UTC)),
        ("2023-12-31T23:59:59.9999999Z", datetime(2023, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2022-05-01T00:00:00", datetime(2022, 5, 1, tzinfo=UTC)),
        ("2022-05-01", datetime(2022, 5, 1, tzinfo=UTC)),
        ("2022-05-01T10", datetime(2022, 5, 1, 10, tzinfo=UTC)),
        ("2022-05-01T10:30", datetime(2022, 5, 1, 10, 30, tzinfo=UTC)),
        ("20220501T103000", datetime(2022, 5, 1, 10, 30, tzinfo=UTC)),
        ("2022-05-01T00:00:00+02:00", datetime(2022, 4, 30, 22, tzinfo=UTC)),
        *(((text, None)) for text in ("", None, "07/24/2024 09:41:40", "soon", "2022-13-01", "0")),
    ],
)
def test_times_of_the_wire(text: str | None, expected: datetime | None) -> None:
    assert parse_time(text) == expected


@given(st.text())
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = parse_time(text)
    assert found is None or found.tzinfo is not None


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_that_are_sent_are_read_back(moment: datetime) -> None:
    assert parse_time(wire_time(moment)) == moment


def test_requests_can_be_copied_pickled_and_changed() -> None:
    order = an_order(exec_inst=["AUCTION_ONLY"])
    for twin in (copy.copy(order), copy.deepcopy(order), pickle.loads(pickle.dumps(order))):
        assert twin == order
    assert msgspec.structs.replace(order, side="SELL").side == "SELL"
    with pytest.raises(InvalidRequest):
        msgspec.structs.replace(order, price="-1")
    with pytest.raises(AttributeError):
        order.side = order.side  # type: ignore[misc]  # that it cannot be set is the point


@pytest.mark.parametrize(
    "parameters",
    [
        *({}, [], None, 5, "text", [1], [("a", "b")]),
        *({"a": ""}, {"a": None}, {"a": 5}, {"a": b"b"}, {1: "b"}, {"a\n": "b"}),
        [Parameter(key="a", value="1"), Parameter(key="a", value="2")],
        [Parameter(key="a")],
    ],
    ids=str,
)
def test_accounts_without_usable_parameters_are_refused(parameters: Any) -> None:
    with pytest.raises(InvalidRequest):
        Account(exchange_id=ACCOUNT, parameters=parameters).check()


@pytest.mark.parametrize("make", [list, tuple, iter, lambda pairs: (one for one in pairs)])
def test_parameters_of_any_kind_of_row_are_kept(make: Any) -> None:
    pairs = [Parameter(key="a", value="1"), Parameter(key="b", value="line\nline")]
    account = Account(exchange_id=ACCOUNT, parameters=make(pairs))
    account.check()
    assert account.parameters == pairs
    assert account["b"] == "line\nline"


GOOD = """
from decimal import Decimal
from coinapi_ems_async import Account, NewOrder, Side
NewOrder(exchange_id="KRAKEN", symbol_id_coinapi="S", side="BUY", amount_order=1, price="10799.2")
NewOrder(exchange_id="KRAKEN", symbol_id_exchange="S", side=Side.SELL, amount_order=Decimal("0.1"), price=2,
         exec_inst=["AUCTION_ONLY"])
Account(exchange_id="KRAKEN", parameters={"a": "b"})
"""
BAD = """
from coinapi_ems_async import NewOrder
NewOrder(exchange_id="KRAKEN", symbol_id_coinapi="S", side="BUY", amount_order=1, price=10799.2)
NewOrder(exchange_id="KRAKEN", symbol_id_coinapi="S", side="BUY", amount_order=0.1, price="10799.2")
NewOrder(exchange_id="KRAKEN", symbol_id_coinapi="S", side="BUY", price="10799.2")
NewOrder(exchange_id=5, symbol_id_coinapi="S", side="BUY", amount_order="1", price="1")
"""


@pytest.mark.timeout(180)  # without a cache the checker reads every dependency
def test_a_type_checker_knows_what_an_order_takes(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent"),
            *(f"--cache-dir={root / '.mypy_cache'}", str(tmp_path / "good.py"), str(tmp_path / "bad.py")),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    wrong = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert not done.stderr
    assert [line.partition("bad.py:")[2].partition(":")[0] for line in wrong] == ["3", "4", "5", "6"]
    assert '"float"; expected "Decimal | int | str"' in wrong[0]
