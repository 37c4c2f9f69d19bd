"""Every API call as data: method, path, body, decoder, kind, documented statuses. No input or output here.

All 8 calls of the EMS REST API and all 8 of the Managed Cloud REST API. How answers are read stands in
`answers.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import msgspec

from .errors import InvalidRequest
from .matrix import Kind
from .models.balances import Balance, Position
from .models.cloud import Account, Endpoint, ExchangeLogin, Location
from .models.enums import TimeInForce
from .models.history import OrderHistory
from .models.ids import check_id
from .models.numbers import number_text
from .models.orders import CancelAll, CancelOrder, ExecutionReport, NewOrder
from .models.reading import AnswerReader, Undecodable, plain, plain_json
from .models.rejects import MessageReject
from .models.times import aware, wire_time

__all__ = ["CLOUD", "EMS", "OPERATIONS", "Operation", "Request"]

_REPORTS: Final = AnswerReader(ExecutionReport)
_REJECTS: Final = AnswerReader(MessageReject)
_CERTIFICATE_MARK: Final = "-----BEGIN "


def _as_text(value: object) -> str:
    # msgspec knows str itself only, while an id may be any subclass of it.
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


_encode: Final = msgspec.json.Encoder(enc_hook=_as_text, decimal_format="number").encode


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the API.

    decode: body of a success -> value; raises Undecodable if it cannot be read.
    statuses: every documented HTTP status with its meaning; others are read all the same.
    """

    name: str
    kind: Kind
    method: str
    path: str
    decode: Callable[[bytes], Any]
    statuses: Mapping[int, str]
    is_cloud: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call made ready: `target` is path and query, percent-encoded; the ids are for routing and reports."""

    operation: Operation
    target: str
    body: bytes | None = None
    exchange_id: str | None = None
    client_order_id: str | None = None
    exchange_order_id: str | None = None

    @property
    def kind(self) -> Kind:
        """The operation's kind."""
        return self.operation.kind

    def __repr__(self) -> str:  # the body may hold login parameters
        return f"Request({self.operation.method} {self.target}, client_order_id={self.client_order_id!r})"

    def __rich_repr__(self) -> Iterable[tuple[str, Any]]:  # type: ignore[override]  # msgspec types it narrower
        yield "method", self.operation.method
        yield "target", self.target
        yield "client_order_id", self.client_order_id


def _acknowledgement(body: bytes) -> MessageReject:
    """Read a cancel-all's success: any JSON, or nothing at all, is one (protocol C-1)."""
    if not body.strip():
        return MessageReject()
    try:
        return _REJECTS.one(body)
    except Undecodable:
        try:
            return MessageReject(unread={"(body)": plain(plain_json(body))})
        except Exception as error:  # not JSON, or JSON of absurd depth
            raise Undecodable("it is neither JSON nor empty") from error


def _nothing(body: bytes) -> None:
    """Any body of a success will do (protocol C-18, C-19)."""


def _certificate(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if text.startswith('"'):  # a JSON string instead of plain text (protocol C-14)
        try:
            text = str(plain_json(body)).strip()
        except Exception as error:  # see `_acknowledgement`
            raise Undecodable("it is not a PEM text") from error
    if _CERTIFICATE_MARK not in text:
        raise Undecodable("it is not a PEM text")
    return text + "\n"


_UNREACHABLE = {490: "the exchange is unreachable"}

ORDER_NEW: Final = Operation(
    name="order_new",
    kind=Kind.NEW_ORDER,
    method="POST",
    path="/v1/orders",
    decode=_REPORTS.one,
    statuses={200: "report", 400: "invalid input", 504: "the exchange did not answer"} | _UNREACHABLE,
)
ORDER_STATUS: Final = Operation(
    name="order_status",
    kind=Kind.READ,
    method="GET",
    path="/v1/orders/status/{client_order_id}",
    decode=_REPORTS.one,
    statuses={200: "report", 404: "not known there"},
)
ORDER_CANCEL: Final = Operation(
    name="order_cancel",
    kind=Kind.CANCEL_ONE,
    method="POST",
    path="/v1/orders/cancel",
    decode=_REPORTS.one,
    statuses={200: "last known report", 400: "invalid input"} | _UNREACHABLE,
)
ORDER_CANCEL_ALL: Final = Operation(
    name="order_cancel_all",
    kind=Kind.CANCEL_ALL,
    method="POST",
    path="/v1/orders/cancel/all",
    decode=_acknowledgement,
    statuses={200: "acknowledged", 400: "invalid input"} | _UNREACHABLE,
)
ORDERS_OPEN: Final = Operation(
    name="orders_open",
    kind=Kind.READ,
    method="GET",
    path="/v1/orders",
    decode=_REPORTS.many,
    statuses={200: "reports"} | _UNREACHABLE,
)
ORDERS_HISTORY: Final = Operation(
    name="orders_history",
    kind=Kind.READ,
    method="GET",
    path="/v1/orders/history",
    # Sides are numbers there and lists come in three shapes: never the strict tier's.
    decode=AnswerReader(OrderHistory, strict=False).many,
    statuses={200: "rows", 400: "the order log is not set up"},
)
BALANCES: Final = Operation(
    name="balances",
    kind=Kind.READ,
    method="GET",
    path="/v1/balances",
    decode=AnswerReader(Balance).many,
    statuses={200: "balances"} | _UNREACHABLE,
)
POSITIONS: Final = Operation(
    name="positions",
    kind=Kind.READ,
    method="GET",
    path="/v1/positions",
    decode=AnswerReader(Position).many,
    statuses={200: "positions"} | _UNREACHABLE,
)

EMS: Final[Sequence[Operation]] = (
    ORDERS_OPEN,
    ORDER_NEW,
    ORDER_STATUS,
    ORDER_CANCEL,
    ORDER_CANCEL_ALL,
    ORDERS_HISTORY,
    BALANCES,
    POSITIONS,
)
"""The EMS REST API, served by every site."""


def _cloud(
    name: str, method: str, path: str, decode: Callable[[bytes], Any], statuses: Mapping[int, str]
) -> Operation:
    return Operation(
        name=name,
        kind=Kind.MANAGE,
        method=method,
        path=path,
        decode=decode,
        statuses=statuses,
        is_cloud=True,
    )


ACCOUNTS_GET: Final = _cloud("accounts_get", "GET", "/v1/accounts", AnswerReader(Account).many, {200: "accounts"})
ACCOUNT_SAVE: Final = _cloud(
    "account_save",
    "POST",
    "/v1/accounts",
    _nothing,
    {200: "saved", 400: "invalid exchange id", 405: "invalid input"},
)
ACCOUNT_DELETE: Final = _cloud(
    "account_delete", "DELETE", "/v1/accounts", _nothing, {200: "deleted", 404: "no such account"}
)
ACCOUNTS_DELETE_ALL: Final = _cloud(
    "accounts_delete_all", "DELETE", "/v1/accounts/all", _nothing, {200: "deleted"}
)
ENDPOINTS: Final = _cloud("endpoints", "GET", "/v1/endpoints", AnswerReader(Endpoint).many, {200: "endpoints"})
EXCHANGES: Final = _cloud(
    "exchanges", "GET", "/v1/exchanges", AnswerReader(ExchangeLogin).many, {200: "exchanges"}
)
LOCATIONS: Final = _cloud("locations", "GET", "/v1/locations", AnswerReader(Location).many, {200: "locations"})
CERTIFICATE: Final = _cloud("certificate", "GET", "/v1/certificate/pem", _certificate, {200: "PEM text"})

CLOUD: Final[Sequence[Operation]] = (
    ACCOUNTS_GET,
    ACCOUNT_SAVE,
    ACCOUNT_DELETE,
    ACCOUNTS_DELETE_ALL,
    ENDPOINTS,
    EXCHANGES,
    LOCATIONS,
    CERTIFICATE,
)
"""The Managed Cloud REST API, served by the management host."""

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType({op.name: op for op in (*EMS, *CLOUD)})
"""All sixteen by name."""

_UNSET: Final = msgspec.UNSET
_NEW_TARGET: Final = ORDER_NEW.path
_GOOD_TILL_TIME: Final = TimeInForce.GOOD_TILL_TIME_OMS


class _OrderBody(msgspec.Struct, gc=False):
    """OrderNewSingleRequest as it is written: made and encoded in half the time of a dict."""

    exchange_id: str
    client_order_id: str
    symbol_id_coinapi: str | msgspec.UnsetType
    symbol_id_exchange: str | msgspec.UnsetType
    amount_order: Decimal | msgspec.Raw
    price: Decimal | msgspec.Raw
    side: str
    order_type: str
    time_in_force: str
    expire_time: str | msgspec.UnsetType
    exec_inst: tuple[str, ...] | msgspec.UnsetType


def new_order(order: NewOrder, *, good_till_time_text: str = "GOOD_TILL_TIME_OMS") -> Request:
    """Make ready POST /v1/orders. Raises InvalidRequest: if `order` is not a NewOrder.

    good_till_time_text: how GOOD_TILL_TIME_OMS is spelt on the wire (protocol C-2).
    """
    if not isinstance(order, NewOrder):
        raise InvalidRequest(f"expected a NewOrder, got {type(order).__name__}")
    tif, expire_time = order.time_in_force, order.expire_time
    exchange_id, client_order_id = order.exchange_id, order.client_order_id
    amount: Decimal | msgspec.Raw = order.amount_order
    price: Decimal | msgspec.Raw = order.price
    digits = str(amount) + str(price)
    if "E" in digits or "e" in digits:  # msgspec would write the exponent, too
        amount, price = _plain_number(order.amount_order), _plain_number(order.price)
    body = _OrderBody(
        exchange_id,
        client_order_id,
        order.symbol_id_coinapi or _UNSET,
        order.symbol_id_exchange or _UNSET,
        amount,
        price,
        order.side,
        order.order_type,
        good_till_time_text if tif is _GOOD_TILL_TIME else tif,
        _UNSET if expire_time is None else _seven_digits(expire_time),
        order.exec_inst or _UNSET,
    )
    return Request(
        operation=ORDER_NEW,
        target=_NEW_TARGET,
        body=_encode(body),
        exchange_id=exchange_id,
        client_order_id=client_order_id,
    )


def order_status(client_order_id: str, *, exchange_id: str | None = None) -> Request:
    """Make ready GET /v1/orders/status/{client_order_id}; `exchange_id` only routes it."""
    check_id("client_order_id", client_order_id)
    return Request(
        operation=ORDER_STATUS,
        target=f"/v1/orders/status/{_quoted(client_order_id)}",
        exchange_id=_optional_id("exchange_id", exchange_id),
        client_order_id=client_order_id,
    )


def cancel_order(cancel: CancelOrder) -> Request:
    """Make ready POST /v1/orders/cancel."""
    fields = {"exchange_id": cancel.exchange_id}
    for name in ("exchange_order_id", "client_order_id"):
        if (value := getattr(cancel, name)) is not None:
            fields[name] = value
    return Request(
        operation=ORDER_CANCEL,
        target=ORDER_CANCEL.path,
        body=_encode(fields),
        exchange_id=cancel.exchange_id,
        client_order_id=cancel.client_order_id,
        exchange_order_id=cancel.exchange_order_id,
    )


def cancel_all(cancel: CancelAll) -> Request:
    """Make ready POST /v1/orders/cancel/all."""
    return Request(
        operation=ORDER_CANCEL_ALL,
        target=ORDER_CANCEL_ALL.path,
        body=_encode({"exchange_id": cancel.exchange_id}),
        exchange_id=cancel.exchange_id,
    )


def of_exchange(operation: Operation, exchange_id: str | None = None) -> Request:
    """Make ready open orders, balances or positions, of one exchange account or of all."""
    _optional_id("exchange_id", exchange_id)
    query = f"?exchange_id={_quoted(exchange_id)}" if exchange_id is not None else ""
    return Request(operation=operation, target=operation.path + query, exchange_id=exchange_id)


def orders_history(start: datetime, end: datetime) -> Request:
    """Make ready GET /v1/orders/history for the window from `start` to `end`, aware datetimes.

    Raises InvalidRequest: if one is naive, or the window is empty.
    """
    first, last = aware("start", start), aware("end", end)
    if first >= last:
        raise InvalidRequest(f"start must be before end, got {first.isoformat()} and {last.isoformat()}")
    query = f"time_start={_quoted(wire_time(first))}&time_end={_quoted(wire_time(last))}"
    return Request(operation=ORDERS_HISTORY, target=f"{ORDERS_HISTORY.path}?{query}")


def filtered(operation: Operation, exchange_ids: Sequence[str] = ()) -> Request:
    """Make ready accounts or endpoints, all or those of some exchange accounts (protocol C-17)."""
    return Request(operation=operation, target=operation.path + _repeated("filter_exchange_id", exchange_ids))


def plain_read(operation: Operation) -> Request:
    """Make ready a call without any parameter."""
    return Request(operation=operation, target=operation.path)


def account_save(account: Account) -> Request:
    """Make ready POST /v1/accounts. Raises InvalidRequest: if the account is incomplete."""
    if not isinstance(account, Account):
        raise InvalidRequest(f"expected an Account, got {type(account).__name__}")
    account.check()
    parameters = [{"key": parameter.key, "value": parameter.value} for parameter in account.parameters]
    return Request(
        operation=ACCOUNT_SAVE,
        target=ACCOUNT_SAVE.path,
        body=_encode({"exchange_id": account.exchange_id, "parameters": parameters}),
        exchange_id=account.exchange_id,
    )


def account_delete(exchange_id: str) -> Request:
    """Make ready DELETE /v1/accounts of one exchange account."""
    check_id("exchange_id", exchange_id)
    return Request(
        operation=ACCOUNT_DELETE,
        target=f"{ACCOUNT_DELETE.path}?exchange_id={_quoted(exchange_id)}",
        exchange_id=exchange_id,
    )


def _plain_number(value: Decimal) -> msgspec.Raw:
    return msgspec.Raw(number_text(value).encode())


def _seven_digits(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "0Z"


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _optional_id(field: str, value: str | None) -> str | None:
    return None if value is None else check_id(field, value)


def _repeated(key: str, values: Sequence[str]) -> str:
    if isinstance(values, str):
        values = (values,)
    for value in values:
        check_id(key, value)
    return "?" + "&".join(f"{key}={_quoted(value)}" for value in values) if values else ""
