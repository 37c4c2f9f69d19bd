"""Checks of request bodies, in the words of the service's web framework."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from coinapi_ems_async.models.enums import ExecInst, OrderType, Side, TimeInForce

from .clock import read_time
from .messages import Request
from .numbers import fits
from .orders import Ticket


class Invalid(Exception):
    """A request with bad fields; `errors` maps each field to its texts."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__("the request has bad fields")
        self.errors = errors


class WrongMediaType(Exception):
    """The body is not declared as JSON."""


_MEMBERS: Final = {
    "side": tuple(Side),
    "order_type": tuple(OrderType),
    "time_in_force": (*TimeInForce, "GOOD_TILL_TIME_OEML"),
}


def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises WrongMediaType: if the content type is not JSON in UTF-8.
    Raises Invalid: if the body is empty or not a JSON object.
    """
    media, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media.strip() not in ("application/json", "text/json"):
        raise WrongMediaType
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise WrongMediaType
    if not request.body:
        raise Invalid({"": ["A non-empty request body is required."]})
    try:
        value = request.json
    except ValueError:
        raise Invalid({"$": ["The request body is not valid JSON."]}) from None
    if not isinstance(value, dict):
        raise Invalid({"$": ["The JSON value could not be converted to an object."]})
    return value


class Fields:
    """Reads the fields of one object and collects what is wrong with them."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self.errors: dict[str, list[str]] = {}

    def fail(self, name: str, text: str) -> None:
        """Note a fault of field `name`."""
        self.errors.setdefault(name, []).append(text)

    def check(self) -> None:
        """Raise Invalid: if anything was wrong."""
        if self.errors:
            raise Invalid(self.errors)

    def text(self, name: str) -> str:
        """Return a required text that is not empty."""
        value = self.optional_text(name)
        if not value and name not in self.errors:
            self.fail(name, f"The {name} field is required.")
        return value or ""

    def optional_text(self, name: str) -> str | None:
        """Return a text, None if it is missing, null or empty."""
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            self.fail(name, "The JSON value could not be converted to System.String.")
            return None
        return value or None

    def number(self, name: str) -> Decimal:
        """Return a required number above zero."""
        value = self._body.get(name)
        if value is None:
            self.fail(name, f"The {name} field is required.")
        elif isinstance(value, bool) or not isinstance(value, int | Decimal) or not fits(Decimal(value)):
            self.fail(name, "The JSON value could not be converted to System.Decimal.")
        elif value <= 0:
            self.fail(name, f"The field {name} must be greater than 0.")
        else:
            return Decimal(value)
        return Decimal(1)

    def member(self, name: str) -> str:
        """Return a required text out of the field's known ones."""
        value = self.text(name)
        if value and value not in _MEMBERS[name]:
            self.fail(name, f"The value '{value}' is not valid for {name}.")
        return value

    def one_of(self, left: str, right: str) -> tuple[str | None, str | None]:
        """Return two texts of which exactly one must be there."""
        values = self.optional_text(left), self.optional_text(right)
        if (values[0] is None) == (values[1] is None):
            for name in (left, right):
                self.fail(name, f"Exactly one of {left} and {right} is required.")
        return values


def read_order(body: Mapping[str, Any]) -> Ticket:
    """Return the order a body asks for (EMS REST, OrderNewSingleRequest).

    Raises Invalid: if a field is missing or bad.
    """
    fields = Fields(body)
    exchange_id, client_order_id = fields.text("exchange_id"), fields.text("client_order_id")
    symbols = fields.one_of("symbol_id_exchange", "symbol_id_coinapi")
    amount, price = fields.number("amount_order"), fields.number("price")
    side, order_type = fields.member("side"), fields.member("order_type")
    force = fields.member("time_in_force")
    expire_time = _expire_time(fields, force)
    exec_inst = _exec_inst(fields, body.get("exec_inst"))
    fields.check()
    return Ticket(
        exchange_id=exchange_id,
        client_order_id=client_order_id,
        symbol_id_exchange=symbols[0],
        symbol_id_coinapi=symbols[1],
        amount=amount,
        price=price,
        side=Side(side),
        order_type=order_type,
        time_in_force=force,
        expire_time=expire_time,
        exec_inst=exec_inst,
    )


def _expire_time(fields: Fields, force: str) -> str | None:
    text = fields.optional_text("expire_time")
    if not force:
        return None
    if not TimeInForce(force).needs_expire_time:
        if text is not None:
            fields.fail("expire_time", f"expire_time is not allowed with {force}.")
        return None
    if text is None:
        fields.fail("expire_time", f"The expire_time field is required with {force}.")
        return None
    try:
        read_time(text)
    except ValueError:
        fields.fail("expire_time", "The JSON value could not be converted to System.DateTime.")
    return text


def _exec_inst(fields: Fields, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        fields.fail("exec_inst", "The JSON value could not be converted to an array of strings.")
        return ()
    for item in value:
        if item not in tuple(ExecInst):
            fields.fail("exec_inst", f"The value '{item}' is not valid for exec_inst.")
    return tuple(value)


def read_cancel(body: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return exchange_id, exchange_order_id and client_order_id of a cancel (EMS REST).

    Raises Invalid: if a field is missing or bad.
    """
    fields = Fields(body)
    exchange_id = fields.text("exchange_id")
    ids = fields.one_of("exchange_order_id", "client_order_id")
    fields.check()
    return (exchange_id, *ids)


def read_cancel_all(body: Mapping[str, Any]) -> str:
    """Return exchange_id of a cancel-all; any other key, such as one with a blank, is not it (C-30).

    Raises Invalid: if it is missing or bad.
    """
    fields = Fields(body)
    exchange_id = fields.text("exchange_id")
    fields.check()
    return exchange_id
