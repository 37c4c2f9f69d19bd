"""What the Managed Cloud REST API speaks of: accounts, sites, exchanges (Managed Cloud REST)."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec.structs import force_setattr

from ..errors import InvalidRequest
from .ids import check_id
from .reading import Answer, rows, text

__all__ = ["Account", "Endpoint", "ExchangeLogin", "Location", "Parameter"]


class Parameter(Answer, frozen=True, kw_only=True):
    """One login parameter of an exchange account; its value is a secret and never shown (KeyValue).

    `value` is empty where the service shows none.
    """

    key: str
    value: str = ""

    required: ClassVar = ("key",)
    hidden: ClassVar = frozenset({"value"})
    readers: ClassVar = {"key": text, "value": text}


class Account(Answer, frozen=True, kw_only=True):
    """An exchange account and its login parameters (Managed Cloud REST, AccountData and GetAccount).

    parameters: a mapping of names to values, or `Parameter`s; the full set each time, since the service does
    not say whether saving merges or replaces.

    Raises InvalidRequest: if an id, a name or a value is empty or malformed, or a name is repeated.
    """

    exchange_id: str
    parameters: list[Parameter] = msgspec.field(default_factory=list)

    required: ClassVar = ("exchange_id",)
    readers: ClassVar = {"exchange_id": text, "parameters": rows(Parameter.read)}

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exchange_id: str,
            parameters: Iterable[Parameter] | Mapping[str, str] = (),
            unread: dict[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        given: Any = self.parameters
        if isinstance(given, Mapping):
            force_setattr(self, "parameters", [Parameter(key=key, value=given[key]) for key in given])
        elif type(given) is not list and isinstance(given, Iterable):
            force_setattr(self, "parameters", list(given))  # it is walked through more than once

    def check(self) -> None:
        """Check before saving. Raises InvalidRequest: as the class says."""
        check_id("exchange_id", self.exchange_id)
        if not isinstance(self.parameters, list) or not all(isinstance(one, Parameter) for one in self.parameters):
            raise InvalidRequest("parameters must be a mapping of names to values, or a list of Parameter")
        names = [parameter.key for parameter in self.parameters]
        if not names:
            raise InvalidRequest(f"the account {self.exchange_id} needs login parameters")
        for name in names:
            check_id("the name of a login parameter", name)
        if len(set(names)) != len(names):
            raise InvalidRequest(f"the account {self.exchange_id} has a login parameter twice")
        for parameter in self.parameters:
            if not isinstance(parameter.value, str) or not parameter.value:
                raise InvalidRequest(f"the login parameter {parameter.key} must be a text that is not empty")

    def __getitem__(self, key: str) -> str:
        """Return the value of a login parameter. Raises KeyError: if there is none of that name."""
        for parameter in self.parameters:
            if parameter.key == key:
                return parameter.value
        raise KeyError(key)


class ExchangeLogin(Answer, frozen=True, kw_only=True):
    """An exchange, its home location and the login parameters it wants (ExchangeLoginRequire)."""

    exchange_id: str
    location_id: str | None = None
    required_parameters: list[str] | None = None

    required: ClassVar = ("exchange_id",)
    readers: ClassVar = {"exchange_id": text, "location_id": text, "required_parameters": rows(text)}


class Location(Answer, frozen=True, kw_only=True):
    """A place where the service runs; its id is an opaque text (Managed Cloud REST, Locations)."""

    location_id: str
    region_name: str | None = None
    provider_name: str | None = None

    required: ClassVar = ("location_id",)
    readers: ClassVar = {"location_id": text, "region_name": text, "provider_name": text}


class Endpoint(Answer, frozen=True, kw_only=True):
    """Where one exchange account is served (Managed Cloud REST, AccountEndpoint)."""

    exchange_id: str
    location_id: str | None = None
    endpoint_schema: str | None = None
    endpoint_host: str | None = None
    endpoint_url: str | None = None

    required: ClassVar = ("exchange_id",)
    readers: ClassVar = {
        "exchange_id": text,
        "location_id": text,
        "endpoint_schema": text,
        "endpoint_host": text,
        "endpoint_url": text,
    }
