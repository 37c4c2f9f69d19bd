"""What the management API of a canned server says: eight sites that serve one account."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

LAST_ORDER: Final = "/last-order"
"""Of our own server: a JSON array, when the last order's connection was accepted, and its orders so far."""


def answers(sites: Sequence[str]) -> Mapping[str, str]:
    """Return path -> JSON text for the site URLs given."""
    endpoints = [
        {"exchange_id": "KRAKEN/JOHN", "location_id": f"site-{number}", "endpoint_url": url}
        for number, url in enumerate(sites, 1)
    ]
    locations = [
        {"location_id": f"site-{number}", "region_name": f"region {number}", "provider_name": "LOOPBACK"}
        for number in range(1, len(sites) + 1)
    ]
    rows: Mapping[str, list[dict[str, str]]] = {
        "/v1/endpoints": endpoints,
        "/v1/locations": locations,
        "/v1/exchanges": [],
    }
    return {path: json.dumps(content) for path, content in rows.items()}
