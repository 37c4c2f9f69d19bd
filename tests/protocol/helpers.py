"""What the tests of the decisions share."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coinapi_ems_async import ExecutionReport, operations
from coinapi_ems_async.answers import Reading, read_answer
from coinapi_ems_async.operations import Request

START, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MINIMAL: Mapping[str, Any] = {"exchange_id": "KRAKEN/JOHN", "client_order_id": "a", "status": "NEW"}

REQUESTS: Mapping[str, Request] = {
    "order_new": Request(operation=operations.ORDER_NEW, target="/v1/orders", client_order_id="a"),
    "order_status": operations.order_status("a"),
    "order_cancel": Request(operation=operations.ORDER_CANCEL, target="/v1/orders/cancel", client_order_id="a"),
    "order_cancel_all": Request(operation=operations.ORDER_CANCEL_ALL, target="/v1/orders/cancel/all"),
    "orders_open": operations.of_exchange(operations.ORDERS_OPEN),
    "orders_history": operations.orders_history(START, END),
    "balances": operations.of_exchange(operations.BALANCES),
    "positions": operations.of_exchange(operations.POSITIONS),
    **{operation.name: Request(operation=operation, target=operation.path) for operation in operations.CLOUD},
}
"""A request of each operation; the orders' id is "a"."""


def wire(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def read(name: str, status: int, body: object, **headers: str) -> Reading:
    return read_answer(REQUESTS[name], status, headers, wire(body))


def report(**fields: Any) -> ExecutionReport:
    """The report of the minimal body with these fields added; `...` leaves one out."""
    body = {key: value for key, value in ({**MINIMAL} | fields).items() if value is not ...}
    found: ExecutionReport = operations.ORDER_STATUS.decode(wire(body))
    return found
