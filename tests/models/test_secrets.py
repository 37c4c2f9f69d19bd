"""No repr of anything shows a secret."""

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest

from coinapi_ems_async import (
    Account,
    ApiKeyHeader,
    ApiKeyQuery,
    ClientCertificate,
    EMSClient,
    OrderHistory,
    Parameter,
    Rejected,
    RejectedReason,
    Unknown,
    models,
    operations,
)
from coinapi_ems_async.answers import read_answer
from coinapi_ems_async.auth import Auth, Credentials
from coinapi_ems_async.errors import AnswerError
from coinapi_ems_async.models.reading import Answer
from coinapi_ems_async.outcomes import Accepted, NotSent, NotSentReason, error_of

SENTINEL = "s3ntinel-of-a-secret"
RAW = f'{{"value":"{SENTINEL}"}}'.encode()


def bearer() -> str:
    return SENTINEL


def holders() -> list[Any]:
    parameter = Parameter(key="PrivateApiKey", value=SENTINEL)
    account = Account(exchange_id="KRAKEN", parameters=[parameter])
    credentials = [auth.site(SENTINEL) for auth in (ApiKeyHeader(), ApiKeyQuery(), ClientCertificate())]
    certificate = operations.plain_read(operations.CERTIFICATE)
    pem = f"-----BEGIN PRIVATE KEY-----\n{SENTINEL}".encode()
    rejected = Rejected(client_order_id="a", reason=RejectedReason.VALIDATION, status=400, raw=RAW)
    unknown = Unknown(client_order_id="a", raw=RAW)
    return [
        parameter,
        account,
        Account(exchange_id="KRAKEN", parameters={"PrivateApiKey": SENTINEL}),
        Account(exchange_id="KRAKEN", parameters=[], unread={"parameters": SENTINEL}),
        OrderHistory(apikey=SENTINEL),
        OrderHistory(unread={"apikey": [SENTINEL]}),
        operations.account_save(account),
        *credentials,
        Credentials((("X-CoinAPI-Key", SENTINEL),), f"apikey={SENTINEL}"),
        ApiKeyHeader(bearer=bearer),
        rejected,
        unknown,
        Accepted(client_order_id="a", raw=RAW),
        NotSent(client_order_id="a", reason=NotSentReason.DEADLINE, raw=RAW),
        error_of(rejected),
        error_of(unknown),
        AnswerError("refused", status=400, raw=RAW),
        read_answer(certificate, 200, {}, pem),
        read_answer(operations.filtered(operations.ACCOUNTS_GET), 200, {}, msgspec.json.encode([account])),
        EMSClient(SENTINEL),
        EMSClient(SENTINEL).accounts,
    ]


@pytest.mark.parametrize("holder", holders(), ids=lambda one: type(one).__name__)
def test_no_repr_shows_a_secret(holder: Any) -> None:
    for shown in (repr(holder), str(holder), f"{holder}", repr([holder]), repr({"a": (holder,)})):
        assert SENTINEL not in shown


@pytest.mark.parametrize(
    "holder",
    [one for one in holders() if hasattr(one, "__rich_repr__") and not isinstance(one, Auth | Credentials)],
    ids=lambda one: type(one).__name__,
)
def test_no_rich_repr_shows_a_secret(holder: Any) -> None:
    assert SENTINEL not in repr(list(holder.__rich_repr__()))


def answers() -> list[type[Answer]]:
    for module in pkgutil.walk_packages(models.__path__, "coinapi_ems_async.models."):
        importlib.import_module(module.name)
    return sorted(Answer.__subclasses__(), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", answers())
def test_hidden_fields_exist_and_what_is_unread_is_named_only(cls: type[Answer]) -> None:
    assert cls.hidden <= set(cls.__struct_fields__)
    assert set(cls.numbers) <= set(cls.__struct_fields__)
    assert set(cls.required) <= set(cls.readers) <= set(cls.__struct_fields__) - {"unread"}
    required = dict.fromkeys(cls.required, SENTINEL)
    found = cls(**required, unread={"x": SENTINEL})
    assert "unread=['x']" in repr(found)
    assert repr(found).count(SENTINEL) == len(set(required) - cls.hidden)


def test_values_that_are_none_are_not_shown() -> None:
    assert repr(OrderHistory(apikey="k", exchange_id="K")) == "OrderHistory(apikey='<hidden>', exchange_id='K')"
