"""Which accounts exist, their parameters, and which sites serve them."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from random import Random
from typing import Any, Final

from .catalog import EXCHANGES, base_name, login_parameters
from .market import Market

_ACCOUNT: Final = re.compile(r"[A-Z0-9]+(?:[~/.,:;\\!@#$%^&*\-_+=][^\x00-\x1f\x7f]+)?")
_ENVIRONMENT: Final = re.compile(r"-(?:prd|uat|dev|stg)$")


def is_account(exchange_id: str) -> bool:
    """Whether `exchange_id` names an exchange of the service, with or without an account tag."""
    return _ACCOUNT.fullmatch(exchange_id) is not None and base_name(exchange_id) in EXCHANGES


class Directory:
    """The state behind the Managed Cloud API; accounts it names are open in the market.

    Raises ValueError: if `plan`, site id -> accounts, names an exchange the service does not know.
    """

    def __init__(self, plan: Mapping[str, Sequence[str]], market: Market, seed: int | None = None) -> None:
        self.urls: dict[str, str] = {}
        self.parameters: dict[str, dict[str, str]] = {}
        self._market = market
        self._served: dict[str, dict[str, None]] = {site: dict.fromkeys(ids) for site, ids in plan.items()}
        random = Random(seed)  # noqa: S311 - made-up login parameters
        for exchange_id in dict.fromkeys(one for ids in plan.values() for one in ids):
            if not is_account(exchange_id):
                raise ValueError(
                    f"{exchange_id!r} is no account of a known exchange; there are {', '.join(EXCHANGES)}"
                )
            names = login_parameters(base_name(exchange_id))
            self.parameters[exchange_id] = {name: f"simulated-{random.getrandbits(64):016x}" for name in names}
            market.open_account(exchange_id)

    @property
    def sites(self) -> tuple[str, ...]:
        """Location ids in the order they were given."""
        return tuple(self._served)

    def served(self, site: str) -> Set[str]:
        """Return the accounts a site serves, a live view."""
        return self._served[site].keys()

    def save(self, exchange_id: str, parameters: dict[str, str]) -> None:
        """Add an account, or replace its parameters (Managed, add or update account).

        A new one is served where its exchange is served already; if that is nowhere, everywhere.
        """
        if exchange_id not in self.parameters:
            base = base_name(exchange_id)
            homes = [ids for ids in self._served.values() if base in map(base_name, ids)]
            for ids in homes or self._served.values():
                ids[exchange_id] = None
            self._market.open_account(exchange_id)
        self.parameters[exchange_id] = parameters

    def delete(self, exchange_id: str) -> None:
        """Forget an account; its orders stay on the exchange, unmanaged.

        Raises KeyError: if there is no such account.
        """
        del self.parameters[exchange_id]
        for ids in self._served.values():
            ids.pop(exchange_id, None)

    def endpoints(self) -> Iterator[dict[str, str]]:
        """Yield the rows of `/v1/endpoints`: each account on each site that serves it (Managed)."""
        for exchange_id in self.parameters:
            for site, ids in self._served.items():
                if exchange_id in ids:
                    schema, _, host = self.urls[site].partition("://")
                    yield {
                        "exchange_id": exchange_id,
                        "location_id": site,
                        "endpoint_schema": schema,
                        "endpoint_host": host,
                        "endpoint_url": self.urls[site] + "/",
                    }

    def locations(self) -> Iterator[dict[str, str]]:
        """Yield the rows of `/v1/locations` (Managed)."""
        for site in self._served:
            provider, _, region = _ENVIRONMENT.sub("", site).partition("-")
            yield {
                "location_id": site,
                "region_name": region or provider,
                "provider_name": provider.upper(),
            }

    def exchanges(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `/v1/exchanges`; homes go round the sites (Managed, exchange login)."""
        for place, base in enumerate(EXCHANGES):
            yield {
                "exchange_id": base,
                "location_id": self.sites[place % len(self.sites)],
                "required_parameters": list(login_parameters(base)),
            }
