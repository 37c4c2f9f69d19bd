"""The Managed Cloud REST API."""

from collections.abc import Callable, Mapping
from typing import Any

from .api import Api, Operation, World, healthy
from .catalog import base_name, login_parameters
from .certificates import MissingExtra
from .directory import is_account
from .messages import Answer, Request, error_answer, json_answer, route
from .rejects import validation_problem
from .validation import Invalid, read_body


class Management(Api):
    """Answers the requests of the management server (Managed Cloud REST, all operations).

    `mint` returns a new client certificate: public key, private key and certificate, one PEM text.
    """

    routes = (
        route("GET", "/v1/accounts", "accounts_get"),
        route("POST", "/v1/accounts", "account_save"),
        route("DELETE", "/v1/accounts", "account_delete"),
        route("DELETE", "/v1/accounts/all", "accounts_delete_all"),
        route("GET", "/v1/endpoints", "endpoints"),
        route("GET", "/v1/exchanges", "exchanges"),
        route("GET", "/v1/locations", "locations"),
        route("GET", "/v1/certificate/pem", "certificate"),
        route("GET", "/health/live", "health", needs_key=False),
        route("GET", "/health/ready", "health", needs_key=False),
    )

    def __init__(self, world: World, mint: Callable[[], bytes]) -> None:
        super().__init__(world)
        self._mint = mint
        directory = world.directory
        self._operations: Mapping[str, Operation] = {
            "accounts_get": self._accounts_get,
            "account_save": self._account_save,
            "account_delete": self._account_delete,
            "accounts_delete_all": self._accounts_delete_all,
            "endpoints": self._endpoints,
            "exchanges": lambda _request, _parameters: json_answer(list(directory.exchanges())),
            "locations": lambda _request, _parameters: json_answer(list(directory.locations())),
            "certificate": self._certificate,
            "health": healthy,
        }

    def operations(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        return self._operations

    def invalid(self, invalid: Invalid) -> Answer:
        """Return the answer to bad fields: 400 with a problem document, or 405 without a body (C-18)."""
        if self.world.variants.account_validation == 405:
            return Answer(405)
        return validation_problem(invalid.errors, self.world.variants)

    def _accounts_get(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        rows = [
            {
                "exchange_id": exchange_id,
                "parameters": [{"key": key, "value": value} for key, value in parameters.items()],
            }
            for exchange_id, parameters in self.world.directory.parameters.items()
        ]
        return json_answer(_filtered(request, rows))

    def _account_save(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        body = read_body(request)
        exchange_id = body.get("exchange_id")
        if not isinstance(exchange_id, str) or not exchange_id:
            raise Invalid({"exchange_id": ["The exchange_id field is required."]})
        if not is_account(exchange_id):
            errors = {"exchange_id": [f"The value '{exchange_id}' is not valid for exchange_id."]}
            return validation_problem(errors, self.world.variants)
        parameters = _read_parameters(body.get("parameters"))
        missing = [name for name in login_parameters(base_name(exchange_id)) if not parameters.get(name)]
        if missing:
            raise Invalid({"parameters": [f"The parameter {name} is required." for name in missing]})
        self.world.directory.save(exchange_id, parameters)
        return Answer(200)

    def _account_delete(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        directory, wanted = self.world.directory, request.every("exchange_id")
        if not wanted:
            errors = {"exchange_id": ["The exchange_id field is required."]}
            return validation_problem(errors, self.world.variants)
        known = [exchange_id for exchange_id in dict.fromkeys(wanted) if exchange_id in directory.parameters]
        for exchange_id in known:
            directory.delete(exchange_id)
        return Answer(200 if known else 404)

    def _accounts_delete_all(self, _request: Request, _parameters: tuple[str, ...]) -> Answer:
        for exchange_id in list(self.world.directory.parameters):
            self.world.directory.delete(exchange_id)
        return Answer(200)

    def _endpoints(self, request: Request, _parameters: tuple[str, ...]) -> Answer:
        return json_answer(_filtered(request, list(self.world.directory.endpoints())))

    def _certificate(self, _request: Request, _parameters: tuple[str, ...]) -> Answer:
        try:
            return Answer(200, {"Content-Type": "text/plain"}, self._mint())
        except MissingExtra as missing:
            return error_answer(501, str(missing))


def _filtered(request: Request, rows: list[Any]) -> list[Any]:
    wanted = request.every("filter_exchange_id")
    return [row for row in rows if row["exchange_id"] in wanted] if wanted else rows


def _read_parameters(value: Any) -> dict[str, str]:
    fault = {"parameters": ["The JSON value could not be converted to a list of key and value."]}
    if not isinstance(value, list):
        raise Invalid(fault)
    found = {}
    for pair in value:
        if not isinstance(pair, dict):
            raise Invalid(fault)
        name, text = pair.get("key"), pair.get("value")
        if not isinstance(name, str) or not isinstance(text, str):
            raise Invalid(fault)
        found[name] = text
    return found
