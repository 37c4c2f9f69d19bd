"""The one order that everybody sends and the one report that everybody gets."""

from typing import Any, Final

import msgspec

from coinapi_ems_async import NewOrder, Side

ORDER_ID: Final = "6ab36bc1-344d-432e-ac6d-0bf44ee64c2b"

REPORT: Final = (
    b'{"type":"ORDER_EXEC_REPORT_UPDATE","id":"6ab36bc1-344d-432e-ac6d-0bf44ee64c2b",'
    b'"client_order_id_format_exchange":"74733759","exchange_order_id":"OX6EKO-67KDQ-KGNYFI",'
    b'"amount_open":0.045,"amount_filled":0.0,"status":"ROUTED","status_history":'
    b'[["RECEIVED","2026-02-22T23:55:31.5424443Z"],["ROUTING","2026-02-22T23:55:31.5424443Z"],'
    b'["ROUTED","2026-02-22T23:55:31.7424443Z"]],"error_message":null,"fills":[],'
    b'"exchange_id":"KRAKEN/JOHN","client_order_id":"6ab36bc1-344d-432e-ac6d-0bf44ee64c2b",'
    b'"symbol_id_exchange":"XBT/USDT","symbol_id_coinapi":"KRAKEN_SPOT_BTC_USDT","amount_order":0.045,'
    b'"price":10799.2,"avg_px":0.0,"side":"BUY","order_type":"LIMIT","time_in_force":"GOOD_TILL_CANCEL",'
    b'"expire_time":null,"exec_inst":[]}'
)

PATH: Final = "/v1/orders"
JSON_HEADERS: Final = {"Content-Type": "application/json"}


class PlainReport(msgspec.Struct):
    """The report as somebody in a hurry would declare it: floats, texts, no check."""

    exchange_id: str
    client_order_id: str
    status: str
    client_order_id_format_exchange: str | None = None
    exchange_order_id: str | None = None
    amount_open: float | None = None
    amount_filled: float | None = None
    status_history: list[tuple[str, str]] | None = None
    error_message: str | None = None
    fills: list[dict[str, Any]] | None = None
    symbol_id_exchange: str | None = None
    symbol_id_coinapi: str | None = None
    amount_order: float | None = None
    price: float | None = None
    avg_px: float | None = None
    side: str | None = None
    order_type: str | None = None
    time_in_force: str | None = None
    expire_time: str | None = None
    exec_inst: list[str] | None = None


decode: Final = msgspec.json.Decoder(PlainReport).decode
_encode: Final = msgspec.json.Encoder().encode


def new_order() -> NewOrder:
    """Return the order as a user of the package writes it."""
    return NewOrder(
        exchange_id="KRAKEN/JOHN",
        client_order_id=ORDER_ID,
        symbol_id_coinapi="KRAKEN_SPOT_BTC_USDT",
        side=Side.BUY,
        amount_order="0.045",
        price="10799.2",
    )


def order_fields() -> dict[str, Any]:
    """Return the order as a user of a plain HTTP client writes it."""
    return {
        "exchange_id": "KRAKEN/JOHN",
        "client_order_id": ORDER_ID,
        "symbol_id_coinapi": "KRAKEN_SPOT_BTC_USDT",
        "amount_order": 0.045,
        "price": 10799.2,
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GOOD_TILL_CANCEL",
    }


def order_body() -> bytes:
    """Return that order encoded, anew each time: what the peers do for each request."""
    return _encode(order_fields())
