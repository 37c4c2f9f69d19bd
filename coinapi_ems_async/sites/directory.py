"""The table of sites: built from discovery's rows, changed by difference. Pure: no clock, no network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from ..errors import ConfigurationError
from ..models.cloud import Endpoint, ExchangeLogin, Location
from ..models.ids import base_exchange
from .urls import normalise

__all__ = ["Changes", "Directory", "Site", "build", "endpoint_url", "single"]

ANYTHING: Final = frozenset({"*"})
"""Stands for every exchange account: self-hosted, and the global host."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One server site: one base URL.

    id: its location_id; where a location has several, all but the first have `#2`, `#3` added.
    exchanges: the exchange accounts it serves.
    """

    id: str
    url: str
    location_id: str | None = None
    region: str | None = None
    provider: str | None = None
    exchanges: frozenset[str] = frozenset()

    def serves(self, exchange_id: str) -> bool:
        """Whether exactly this account is served there."""
        return exchange_id in self.exchanges or self.exchanges == ANYTHING


class Changes(NamedTuple):
    """What a new directory changes; sites are told apart by their URL."""

    added: tuple[Site, ...]
    changed: tuple[Site, ...]
    removed: tuple[Site, ...]


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Every known site by URL, and each exchange's home location."""

    sites: Mapping[str, Site]
    homes: Mapping[str, str]

    def capable(self, exchange_id: str | None) -> list[Site]:
        """Return the sites that serve the account: by its exact id, else by its exchange's; all for None."""
        if exchange_id is None:
            return list(self.sites.values())
        exact = [site for site in self.sites.values() if site.serves(exchange_id)]
        base = base_exchange(exchange_id)
        if exact or base is None:
            return exact
        return [site for site in self.sites.values() if site.serves(base)]

    def home(self, exchange_id: str) -> str | None:
        """Return the location where the exchange is connected, None if unknown."""
        return self.homes.get(exchange_id) or self.homes.get(base_exchange(exchange_id) or "")

    def changes_to(self, other: "Directory") -> Changes:
        """Return what `other` adds, changes and removes."""
        return Changes(
            added=tuple(site for url, site in other.sites.items() if url not in self.sites),
            changed=tuple(site for url, site in other.sites.items() if self.sites.get(url, site) != site),
            removed=tuple(site for url, site in self.sites.items() if url not in other.sites),
        )


EMPTY: Final = Directory(sites=MappingProxyType({}), homes=MappingProxyType({}))


def endpoint_url(row: Endpoint) -> str:
    """Return the base URL that an endpoint row names: its `endpoint_url`, else schema and host (C-21).

    Raises ConfigurationError: if there is none, or it is malformed.
    """
    if row.endpoint_url:
        return normalise(row.endpoint_url)
    if not row.endpoint_host:
        raise ConfigurationError(f"the endpoint of {row.exchange_id} names no host")
    return normalise(f"{row.endpoint_schema or 'https'}://{row.endpoint_host}")


def build(
    endpoints: Sequence[Endpoint],
    locations: Iterable[Location] = (),
    exchanges: Iterable[ExchangeLogin] = (),
    *,
    known: Directory = EMPTY,
    admit: Callable[[str], bool] = lambda url: True,
    refuse: Callable[[str], None] = lambda reason: None,
) -> Directory:
    """Build the directory that discovery describes; endpoints alone suffice.

    known: sites keep the ids they have there. admit: whether a key may go to a URL. refuse: told of every
    row that was left out.
    """
    places = {location.location_id: location for location in locations}
    labels: dict[str, str | None] = {}
    served: dict[str, set[str]] = {}
    for row in endpoints:
        try:
            url = endpoint_url(row)
        except ConfigurationError as error:
            refuse(f"endpoint of {row.exchange_id} left out: {error.message}")
            continue
        if not admit(url):
            refuse(f"endpoint of {row.exchange_id} left out: {url} is not a host that a key may go to")
            continue
        labels.setdefault(url, row.location_id)
        served.setdefault(url, set()).add(row.exchange_id)
    ids = _ids(labels, known)
    sites = {
        url: _site(ids[url], url, label, places.get(label or ""), frozenset(served[url]))
        for url, label in labels.items()
    }
    homes = {row.exchange_id: row.location_id for row in exchanges if row.location_id}
    return Directory(sites=MappingProxyType(sites), homes=MappingProxyType(homes))


def single(site_id: str, url: str) -> Directory:
    """Return the directory of one site that serves everything."""
    site = Site(id=site_id, url=url, exchanges=ANYTHING)
    return Directory(sites=MappingProxyType({url: site}), homes=MappingProxyType({}))


def _site(site_id: str, url: str, label: str | None, place: Location | None, exchanges: frozenset[str]) -> Site:
    return Site(
        id=site_id,
        url=url,
        location_id=label,
        region=place.region_name if place else None,
        provider=place.provider_name if place else None,
        exchanges=exchanges,
    )


def _ids(labels: Mapping[str, str | None], known: Directory) -> dict[str, str]:
    """One id for each URL: known sites keep theirs, others get the next free one of their location."""
    ids = {url: known.sites[url].id for url in labels if url in known.sites}
    taken = set(ids.values())
    for url, label in labels.items():
        if url in ids:
            continue
        stem = label or url.partition("://")[2]
        ids[url] = next(name for name in _names(stem) if name not in taken)
        taken.add(ids[url])
    return ids


def _names(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}#{number}"
        number += 1
