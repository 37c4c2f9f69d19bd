"""What discovery makes of the answers it gets, and of those it does not get."""

import asyncio
import logging
from typing import Any

import pytest

from coinapi_ems_async import (
    AuthenticationFailed,
    ConnectFailed,
    EMSClient,
    ExchangeLogin,
    NoSites,
    ServerFailed,
    Settings,
    UnexpectedAnswer,
    UsageError,
)
from coinapi_ems_async.errors import ConfigurationError, EMSError
from coinapi_ems_async.settings import GLOBAL_URL, MANAGEMENT_URL
from coinapi_ems_async.simulator import Injection, Pace, Simulator
from coinapi_ems_async.sites.cache import Table
from coinapi_ems_async.sites.discovery import Discovery
from coinapi_ems_async.sites.urls import ends_in

from ..conftest import EAST, WEST
from .outage import FakeService, VirtualTime, place, row

MANAGEMENT = "https://mgmt.coinapi.example"
A, B, C = "https://a.example", "https://b.example", "https://c.example"


def service_of(*endpoints: Any, **rows: Any) -> FakeService:
    return FakeService({"endpoints": endpoints} | rows)


def discovery_of(service: FakeService, url: str = MANAGEMENT, **settings: Any) -> Discovery:
    return Discovery(service.call, url, Settings(**settings))


def urls(discovery: Discovery) -> list[str]:
    return list(discovery.directory.sites)


# One at a time


async def test_readings_asked_for_at_once_are_one() -> None:
    service = service_of(row(A))
    discovery = discovery_of(service)
    first, second = await asyncio.gather(discovery.load(), discovery.load())
    assert first is second
    assert service.asked == ["endpoints", "locations", "exchanges"]


async def test_a_reading_asked_for_during_another_follows_it_and_is_shared() -> None:
    turn = asyncio.Event()
    service = FakeService({"endpoints": [row(A)]}, turns={"endpoints": turn})
    discovery = discovery_of(service)
    begun = asyncio.create_task(discovery.load())
    while not service.asked:
        await asyncio.sleep(0)
    later = [asyncio.create_task(discovery.load()) for _ in range(5)]
    await asyncio.sleep(0)
    service.rows["endpoints"] = [row(A), row(B)]  # what a caller has just changed, an account perhaps
    turn.set()
    await begun
    assert {tuple(directory.sites) for directory in await asyncio.gather(*later)} == {(A, B)}
    assert service.loads == 2
    assert service.most_at_once == 1


async def test_there_are_never_two_calls_at_a_time() -> None:
    service = service_of(row(A))
    discovery = discovery_of(service)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(discovery.load())
            await asyncio.sleep(0)
    assert service.most_at_once == 1
    assert service.loads < 20


async def test_a_caller_who_goes_away_leaves_the_reading_to_the_others() -> None:
    turn = asyncio.Event()
    service = FakeService({"endpoints": [row(A)]}, turns={"endpoints": turn})
    discovery = discovery_of(service)
    first, second = (asyncio.create_task(discovery.load()) for _ in range(2))
    while not service.asked:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    turn.set()
    assert list((await second).sites) == [A]
    assert first.cancelled()


async def test_an_error_nobody_waits_for_any_more_disturbs_nobody() -> None:
    turn = asyncio.Event()
    service = FakeService({}, {"endpoints": ConnectFailed("down")}, turns={"endpoints": turn})
    discovery = discovery_of(service)
    only = asyncio.create_task(discovery.load())
    while not service.asked:
        await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait({only})
    turn.set()
    with pytest.raises(ConnectFailed):
        await discovery.load()
    assert discovery.last_error == "down"


async def test_closing_ends_what_is_under_way() -> None:
    service = FakeService({"endpoints": [row(A)]}, turns={"endpoints": asyncio.Event()})
    discovery = discovery_of(service)
    waiting = asyncio.create_task(discovery.load())
    while not service.asked:
        await asyncio.sleep(0)
    await discovery.aclose()
    with pytest.raises(UsageError, match="closed"):
        await waiting
    await discovery.aclose()


async def test_refreshes_of_a_client_asked_for_at_once_are_one_call_each() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=Pace(reply=0, book=0, cancel=0)) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            sim.clear()
            await asyncio.gather(*(ems.refresh() for _ in range(5)))
        asked = [one.operation for one in sim.requests if one.site == "management"]
        assert asked == ["endpoints", "locations", "exchanges"]


# By difference


async def test_a_site_leaves_after_the_second_answer_without_it() -> None:
    service = service_of(row(A, "here"), row(B, "there"))
    discovery = discovery_of(service)
    before = await discovery.load()
    service.rows["endpoints"] = [row(A, "here")]
    assert await discovery.load() == before
    service.errors["endpoints"] = ServerFailed("no", status=503)
    for _ in range(3):
        with pytest.raises(ServerFailed):
            await discovery.load()
        assert urls(discovery) == [A, B]  # a failure is no answer
    service.errors.clear()
    await discovery.load()
    assert urls(discovery) == [A]


async def test_a_site_that_is_back_in_time_has_two_answers_again() -> None:
    service = service_of(row(A), row(B))
    discovery = discovery_of(service)
    await discovery.load()
    for _ in range(3):
        service.rows["endpoints"] = [row(A)]
        await discovery.load()
        assert urls(discovery) == [A, B]
        service.rows["endpoints"] = [row(B), row(A)]
        await discovery.load()
        assert set(urls(discovery)) == {A, B}


async def test_what_is_added_counts_at_once_and_a_changed_url_is_a_new_site() -> None:
    service = service_of(row(A, "here"))
    discovery = discovery_of(service)
    await discovery.load()
    service.rows["endpoints"] = [row(B, "here"), row(C, "here")]
    first = await discovery.load()
    assert {url: site.id for url, site in first.sites.items()} == {A: "here", B: "here#2", C: "here#3"}
    second = await discovery.load()
    assert {url: site.id for url, site in second.sites.items()} == {B: "here#2", C: "here#3"}


async def test_accounts_come_and_go_at_once_at_a_site_that_stays() -> None:
    service = service_of(row(A), row(A, exchange="DERIBIT"))
    discovery = discovery_of(service)
    await discovery.load()
    service.rows["endpoints"] = [row(A), row(A, exchange="BITMEX")]
    assert (await discovery.load()).sites[A].exchanges == {"KRAKEN", "BITMEX"}


async def test_names_and_homes_known_before_are_kept() -> None:
    service = service_of(
        row(A, "here"),
        locations=[place("here")],
        exchanges=[ExchangeLogin(exchange_id="KRAKEN", location_id="here")],
    )
    discovery = discovery_of(service)
    before = await discovery.load()
    service.errors |= {"locations": ConnectFailed("down"), "exchanges": UnexpectedAnswer("what?", status=200)}
    after = await discovery.load()
    assert after == before
    assert after.sites[A].region == "region of here"
    assert after.home("KRAKEN/JOHN") == "here"
    service.errors.clear()
    service.rows |= {"locations": [], "exchanges": []}
    emptied = await discovery.load()
    assert emptied.sites[A].region is None
    assert emptied.home("KRAKEN") is None


# Failures


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("down"),
        ServerFailed("no", status=503),
        UnexpectedAnswer("no JSON", status=200),
        AuthenticationFailed("refused", status=401),
        ConfigurationError("the bearer supplier failed"),
    ],
)
async def test_a_failure_changes_nothing_and_is_told(error: EMSError) -> None:
    time = VirtualTime(1_000.0)
    service = service_of(row(A))
    discovery = Discovery(service.call, MANAGEMENT, Settings(), clock=time.clock, wall=lambda: 5.0 + time.now)
    before = await discovery.load()
    table = discovery.table
    service.errors["endpoints"] = error
    time.now = 1_060.0
    with pytest.raises(type(error)):
        await discovery.load()
    assert (discovery.directory, discovery.table) == (before, table)
    assert discovery.age == 60.0
    assert discovery.last_error == str(error)
    assert discovery.is_refused == isinstance(error, AuthenticationFailed)
    service.errors.clear()
    await discovery.load()
    assert not discovery.is_refused
    assert discovery.age == 0.0


@pytest.mark.parametrize("rows", [[], [row("nonsense")], [row("http://a.example")]])
async def test_answers_without_a_usable_endpoint_change_nothing(rows: list[Any]) -> None:
    service = service_of(row(A))
    discovery = discovery_of(service)
    await discovery.load()
    service.rows["endpoints"] = rows
    for _ in range(3):
        with pytest.raises(NoSites):
            await discovery.load()
        assert urls(discovery) == [A]


async def test_the_host_that_stands_in_for_a_table_gives_way_to_one(caplog: pytest.LogCaptureFixture) -> None:
    service = service_of()
    discovery = discovery_of(service, MANAGEMENT_URL)
    for _ in range(3):
        await discovery.load()
        assert urls(discovery) == [GLOBAL_URL]
    assert discovery.table is None
    assert caplog.text.count("no endpoints: going on with") == 1
    service.rows["endpoints"] = [row(A)]
    await discovery.load()
    assert urls(discovery) == [A]
    service.rows["endpoints"] = []
    with pytest.raises(NoSites):
        await discovery.load()


async def test_a_client_tells_of_a_refused_key_and_keeps_its_table() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=Pace(reply=0, book=0, cancel=0)) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            assert not ems.health().table_refused
            sim.inject(Injection(operation="endpoints", status=403, body=b"{}"))
            with pytest.raises(AuthenticationFailed):
                await ems.refresh()
            health = ems.health()
            assert health.table_refused
            assert "403" in (health.table_error or "")
            assert [site.id for site in health.sites] == [EAST]
            await ems.refresh()
            assert not ems.health().table_refused


@pytest.mark.parametrize(
    "answer",
    [
        Injection(operation="endpoints", status=200, body=b"[{"),
        Injection(operation="endpoints", status=200, body={"not": "a list"}),
        Injection(operation="endpoints", status=200, body=[{"location_id": "no exchange"}]),
        Injection(operation="endpoints", status=200, body=[]),
        Injection(operation="endpoints", status=404),
        Injection(operation="endpoints", status=302, headers={"Location": "https://elsewhere.example"}),
        Injection(operation="endpoints", reset=True),
    ],
    ids=["no JSON", "no list", "no exchange", "empty", "404", "redirect", "reset"],
)
async def test_answers_of_a_real_server_that_are_no_table(answer: Injection) -> None:
    answer.times = None
    settings = Settings(management_tries=1)
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=Pace(reply=0, book=0, cancel=0)) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
            sim.inject(answer)
            with pytest.raises(EMSError):
                await ems.refresh()
            assert {site.id for site in ems.sites} == {EAST, WEST}
            health = ems.health()
            assert health.table_error
            assert health.table_age is not None


# Whither a key may go


@pytest.mark.parametrize(
    ("url", "suffixes", "admitted"),
    [
        ("https://site.coinapi.net", (), True),
        ("https://site.coinapi.net", ("coinapi.net",), True),
        ("https://site.coinapi.net", (".coinapi.net",), True),
        ("https://site.coinapi.net:8443/x", ("CoinAPI.net",), True),
        ("https://coinapi.net", ("coinapi.net",), True),
        ("https://evilcoinapi.net", ("coinapi.net",), False),
        ("https://coinapi.net.evil.example", ("coinapi.net",), False),
        ("https://evil.example/coinapi.net", ("coinapi.net",), False),
        ("https://a.example", ("coinapi.net", "a.example"), True),
        ("https://10.0.0.1", ("0.0.1",), False),
        ("https://10.0.0.1", ("10.0.0.1",), True),
        ("https://[::1]:8443", ("::1",), True),
    ],
)
def test_hosts_end_in_whole_labels(url: str, suffixes: tuple[str, ...], admitted: bool) -> None:
    assert ends_in(url, suffixes) is admitted


async def test_hosts_of_other_domains_are_left_out_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    service = service_of(row("https://one.coinapi.net"), row("https://evil.example", exchange="DERIBIT"))
    discovery = discovery_of(service, allowed_host_suffixes=("coinapi.net",))
    for _ in range(3):
        await discovery.load()
    assert urls(discovery) == ["https://one.coinapi.net"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == ["endpoint of DERIBIT left out: https://evil.example is not a host that a key may go to"]
    assert discovery.table is not None
    assert [one.endpoint_url for one in discovery.table.endpoints] == ["https://one.coinapi.net"]


async def test_the_host_that_stands_in_must_be_allowed_too() -> None:
    discovery = discovery_of(service_of(), MANAGEMENT_URL, allowed_host_suffixes=("elsewhere.example",))
    with pytest.raises(NoSites):
        await discovery.load()
    assert urls(discovery) == []


@pytest.mark.parametrize("given", ["coinapi.net", ["coinapi.net"], ("",), ("a b",), (5,), ("https://a",), None])
def test_suffixes_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_host_suffixes"):
        Settings(allowed_host_suffixes=given)


# From an earlier run


KEPT = [
    row(A, "here"),
    row("http://plain.example", exchange="P"),
    row("https://user:pass@b.example", exchange="U"),
    row("https://b.other", exchange="O"),
    row("nonsense", exchange="N"),
]


def test_a_kept_table_passes_the_same_checks(caplog: pytest.LogCaptureFixture) -> None:
    time = VirtualTime(50.0)
    discovery = Discovery(
        service_of().call,
        MANAGEMENT,
        Settings(allowed_host_suffixes=("example",)),
        clock=time.clock,
        wall=lambda: 10_000.0,
    )
    directory = discovery.restore(Table(endpoints=KEPT, locations=[place("here")], read_at=4_000.0))
    assert directory is not None
    assert list(directory.sites) == [A]
    assert directory.sites[A].region == "region of here"
    assert caplog.text.count("left out") == 4
    assert "pass" not in caplog.text.replace("passes", "")
    assert discovery.is_kept
    assert discovery.age == 6_000.0
    assert discovery.table is not None
    assert list(discovery.table.endpoints) == [KEPT[0]]


def test_a_kept_table_without_a_usable_site_is_none(caplog: pytest.LogCaptureFixture) -> None:
    discovery = discovery_of(service_of())
    assert discovery.restore(Table(endpoints=KEPT[1:3], read_at=0.0)) is None
    assert (discovery.table, discovery.age, discovery.is_kept) == (None, None, False)
    assert caplog.text.count("the kept site table is ignored") == 1


async def test_a_kept_table_is_followed_by_difference() -> None:
    service = service_of(row(B, "here"))
    discovery = discovery_of(service)
    assert discovery.restore(Table(endpoints=[row(A, "here")], read_at=0.0))
    first = await discovery.load()
    assert not discovery.is_kept
    assert {url: site.id for url, site in first.sites.items()} == {A: "here", B: "here#2"}
    assert list((await discovery.load()).sites) == [B]


def test_a_kept_table_of_a_plain_management_api_names_its_own_host_only() -> None:
    table = Table(endpoints=[row("http://10.0.0.5:81"), row("http://10.0.0.6", exchange="X")], read_at=0.0)
    discovery = discovery_of(service_of(), "http://10.0.0.5")
    assert discovery.restore(table)
    assert urls(discovery) == ["http://10.0.0.5:81"]
    local = discovery_of(service_of(), "http://127.0.0.1:5")
    assert local.restore(table) is None
