import pytest

from coinapi_ems_async import ConfigurationError
from coinapi_ems_async.models.cloud import Endpoint, ExchangeLogin, Location
from coinapi_ems_async.sites.directory import EMPTY, build, endpoint_url, single


def row(exchange: str, url: str, location: str | None = "here") -> Endpoint:
    return Endpoint(exchange_id=exchange, location_id=location, endpoint_url=url)


def test_a_site_is_one_url_with_all_its_exchanges() -> None:
    directory = build(
        [
            row("KRAKEN", "https://a.example/"),
            row("KRAKEN/JOHN", "https://A.example"),
            row("DERIBIT", "https://b.example"),
        ],
        [Location(location_id="here", region_name="R", provider_name="P")],
        [ExchangeLogin(exchange_id="KRAKEN", location_id="here")],
    )
    first, second = directory.sites.values()
    assert (first.id, first.url, first.region, first.provider) == ("here", "https://a.example", "R", "P")
    assert first.exchanges == {"KRAKEN", "KRAKEN/JOHN"}
    assert second.id == "here#2"
    assert second.exchanges == {"DERIBIT"}
    assert directory.home("KRAKEN/JOHN") == "here"
    assert directory.home("DERIBIT") is None


def test_account_tags_match_exactly_then_by_base_exchange() -> None:
    directory = build([row("KRAKEN", "https://a.example"), row("KRAKEN/JOHN", "https://b.example")])
    a, b = directory.sites.values()
    assert directory.capable("KRAKEN/JOHN") == [b]
    assert directory.capable("KRAKEN") == [a]
    assert directory.capable("KRAKEN/MARY") == [a]
    assert directory.capable("KRAKENFTS") == []
    assert directory.capable("kraken") == []
    assert directory.capable(None) == [a, b]


def test_known_sites_keep_their_ids_whatever_the_order() -> None:
    before = build([row("K", "https://a.example"), row("K", "https://b.example")])
    after = build([row("K", "https://c.example"), row("K", "https://b.example")], known=before)
    assert {site.url: site.id for site in after.sites.values()} == {
        "https://b.example": "here#2",
        "https://c.example": "here",
    }
    changes = before.changes_to(after)
    assert [site.url for site in changes.added] == ["https://c.example"]
    assert [site.url for site in changes.removed] == ["https://a.example"]
    assert changes.changed == ()


def test_a_site_that_serves_more_than_before_is_a_change() -> None:
    before = build([row("K", "https://a.example")])
    after = build([row("K", "https://a.example"), row("L", "https://a.example")], known=before)
    changes = before.changes_to(after)
    assert changes.added == changes.removed == ()
    assert [site.exchanges for site in changes.changed] == [{"K", "L"}]


def test_rows_that_cannot_be_used_are_left_out_with_a_word() -> None:
    told: list[str] = []
    directory = build(
        [
            row("A", "nonsense"),
            row("B", "https://evil.example"),
            row("C", "https://good.example"),
            Endpoint(exchange_id="D"),
        ],
        admit=lambda url: "evil" not in url,
        refuse=told.append,
    )
    assert [site.exchanges for site in directory.sites.values()] == [{"C"}]
    assert len(told) == 3


def test_a_site_without_location_is_named_by_its_host() -> None:
    directory = build([row("K", "https://a.example:8443", None)])
    assert next(iter(directory.sites.values())).id == "a.example:8443"


def test_the_url_of_an_endpoint_comes_first_then_schema_and_host() -> None:
    parts = Endpoint(exchange_id="K", endpoint_schema="http", endpoint_host="h.example:81")
    assert endpoint_url(parts) == "http://h.example:81"
    assert endpoint_url(Endpoint(exchange_id="K", endpoint_host="h.example")) == "https://h.example"
    both = Endpoint(exchange_id="K", endpoint_url="https://u.example/", endpoint_schema="http", endpoint_host="h")
    assert endpoint_url(both) == "https://u.example"
    with pytest.raises(ConfigurationError, match="names no host"):
        endpoint_url(Endpoint(exchange_id="K"))


def test_a_single_server_serves_everything() -> None:
    directory = single("self-hosted", "http://10.0.0.5")
    assert len(directory.capable("ANYTHING/AT.ALL")) == 1
    assert EMPTY.capable("K") == []
    assert EMPTY.capable(None) == []
