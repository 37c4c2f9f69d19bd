"""Discovery, probing and ranking against real servers."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from coinapi_ems_async import (
    Account,
    ApiKeyQuery,
    AuthenticationFailed,
    EMSClient,
    Health,
    NoSites,
    Rejected,
    ServerFailed,
    Settings,
)
from coinapi_ems_async.matrix import Row
from coinapi_ems_async.simulator import Injection, Pace, Simulator, WireFault
from coinapi_ems_async.sites.flags import Flag

from ..conftest import EAST, OREGON, WEST, an_order
from ..wire import Reply, ScriptedServer, Seen, answer

QUICK = Settings(probe_interval=0.05, probe_interval_others=0.05, probe_interval_slow=0.05)
INSTANT = Pace(reply=0, book=0, cancel=0)


def client(sim: Simulator, settings: Settings = QUICK) -> EMSClient:
    return EMSClient(sim.api_key, management_url=sim.management_url, settings=settings)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.every_loop
async def test_the_first_order_goes_to_the_nearest_site_and_the_next_to_the_second() -> None:
    sites = {EAST: 0.040, WEST: 0.015, OREGON: 0.005}
    async with Simulator(sites=sites, pace=INSTANT) as sim, client(sim) as ems:
        ranking = ems.sites
        assert [site.id for site in ranking] == [OREGON, WEST, EAST]
        assert all(site.health is Health.HEALTHY for site in ranking)
        for site in ranking:  # a loaded machine only adds to the delay; uvloop's timers are a millisecond fine
            assert site.latency is not None
            assert site.latency > sites[site.id] - 0.002
        assert (ranking[0].region, ranking[0].provider) == ("us-west-2", "AWS")
        first, second = an_order(), an_order()
        await ems.orders.place(first)
        await sim.stop_site(OREGON)
        await ems.orders.place(second)
        placed = [(one.site, one.client_order_id) for one in sim.requests if one.operation == "order_new"]
        assert placed == [(OREGON, first.client_order_id), (WEST, second.client_order_id)]
        await until(lambda: ems.sites[-1].id == OREGON and ems.sites[-1].health is Health.EJECTED)
        assert "refused" in (ems.sites[-1].last_error or "")
        await sim.start_site(OREGON)
        await until(lambda: ems.sites[0].id == OREGON)
        await ems.orders.place(an_order())
        assert [one.site for one in sim.requests if one.operation == "order_new"][-1] == OREGON


async def test_ranking_follows_the_latency() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.03}, pace=INSTANT) as sim, client(sim) as ems:
        assert ems.sites[0].id == EAST
        sim.set_delay(EAST, 0.1)
        await until(lambda: ems.sites[0].id == WEST)


async def test_probes_carry_no_key_and_use_their_own_connections() -> None:
    seen: list[Seen] = []

    def script(request: Seen) -> Reply:
        seen.append(request)
        return answer(b"[]")

    settings = Settings(probe_path="/health/live", probe_interval=0.02)
    async with ScriptedServer(script) as server:
        async with EMSClient.self_hosted(
            server.url, auth=ApiKeyQuery(), api_key="secret", settings=settings
        ) as ems:
            await ems.balances.get()
            await until(lambda: len(seen) > 5)
            probes = [one for one in seen if one.target == "/health/live"]
            reads = [one for one in seen if one.target.startswith("/v1/balances")]
            assert len({one.connection for one in probes}) == 1
            assert {one.connection for one in probes}.isdisjoint(one.connection for one in reads)
            assert not any("secret" in str(one) for one in probes)
            assert reads[0].target == "/v1/balances?apikey=secret"
            assert ems.sites[0].connections == settings.warm_connections


async def test_a_server_that_closes_every_connection_still_gets_an_estimate() -> None:
    async with ScriptedServer(lambda seen: Reply(answer(b"", 200, "Connection: close").data, "fin")) as server:
        settings = Settings(probe_path="/alive")
        async with EMSClient.self_hosted(server.url, settings=settings) as ems:
            assert ems.sites[0].latency is not None


@pytest.mark.parametrize("status", [500, 503])
async def test_a_probe_answered_with_a_server_error_is_a_failure(status: int) -> None:
    settings = Settings(probe_path="/alive", probe_interval_others=0.05)
    async with ScriptedServer(lambda seen: answer(b"", status)) as server:
        async with EMSClient.self_hosted(server.url, settings=settings) as ems:
            await until(lambda: ems.sites[0].health is Health.EJECTED)
            assert str(status) in (ems.sites[0].last_error or "")


async def test_opening_does_not_wait_for_a_site_that_is_silent() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="probe", site=WEST, status=200, hang=True, times=None))
        started = asyncio.get_running_loop().time()
        async with client(sim) as ems:
            assert asyncio.get_running_loop().time() - started < 2.5
            assert [site.id for site in ems.sites] == [EAST, WEST]


async def test_opening_does_not_fail_because_sites_are_down() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT) as sim:
        await sim.stop_site(EAST)
        await sim.stop_site(WEST)
        async with client(sim) as ems:
            assert {site.latency for site in ems.sites} == {None}
            assert ems.health().is_open
            await sim.start_site(WEST)
            await until(lambda: ems.sites[0].health is Health.HEALTHY)
            assert ems.sites[0].id == WEST


async def test_one_log_line_for_a_switch_and_one_for_an_ejected_site(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coinapi_ems_async.sites")
    async with Simulator(sites={EAST: 0.0, WEST: 0.03}, pace=INSTANT) as sim, client(sim) as ems:
        await ems.orders.place(an_order())
        await sim.stop_site(EAST)
        for _ in range(3):
            await ems.orders.place(an_order())
        await until(lambda: ems.sites[-1].health is Health.EJECTED)
        await asyncio.sleep(0.2)
    lines = [record.getMessage() for record in caplog.records if record.name == "coinapi_ems_async.sites"]
    assert sum("is ejected" in line for line in lines) == 1
    assert sum(line.startswith("KRAKEN/JOHN: site") for line in lines) == 2


# Trouble


def watched(ems: EMSClient) -> list[tuple[str, Health]]:
    """Every site that gets into trouble from now on, with the state it gets into."""
    seen: list[tuple[str, Health]] = []
    ems._ready().roster.on_trouble = lambda entry: seen.append((entry.site.id, entry.health.state))
    return seen


def takers(sim: Simulator) -> list[str]:
    return [one.site for one in sim.requests if one.operation == "order_new"]


@pytest.mark.every_loop
async def test_a_site_that_falls_silent_is_suspect_then_ejected_and_comes_back_when_it_answers() -> None:
    settings = Settings(eject_backoff=0.1, readmit_interval=0.05)
    async with Simulator(sites={EAST: 0.0, WEST: 0.02}, pace=INSTANT, proxied=True) as sim:
        async with client(sim, settings) as ems:
            await ems.orders.place(an_order())
            seen, wire = watched(ems), sim.wire(EAST)
            wire.inject(WireFault(action="freeze", direction="connect", times=None))
            wire.strike(WireFault(action="freeze"))
            await until(lambda: seen != [])
            assert seen[0] == (EAST, Health.SUSPECT)
            await ems.orders.place(an_order())
            await until(lambda: (EAST, Health.EJECTED) in seen)
            await ems.orders.place(an_order())
            assert takers(sim) == [EAST, WEST, WEST]
            assert [site.id for site in ems.sites] == [WEST, EAST]
            assert ems.sites[1].latency is None
            wire.clear()
            wire.thaw()
            await until(lambda: ems.sites[0].id == EAST and ems.sites[0].health is Health.HEALTHY)
            await ems.orders.place(an_order())
            assert takers(sim)[-1] == EAST
            assert {name for name, _ in seen} == {EAST}


async def test_a_throttled_site_comes_after_its_peers_for_a_while() -> None:
    settings = Settings(throttled=0.3, switch_round=0.02)
    async with Simulator(sites={EAST: 0.0, WEST: 0.02}, pace=INSTANT) as sim, client(sim, settings) as ems:
        sim.inject(Injection(operation="order_new", site=EAST, status=429))
        outcome = await ems.orders.submit(an_order())
        assert isinstance(outcome, Rejected)
        by_id = {site.id: site for site in ems.sites}
        assert by_id[EAST].flags == (Flag.THROTTLED,)
        assert by_id[EAST].health is Health.HEALTHY
        await ems.orders.place(an_order())
        assert takers(sim) == [EAST, WEST]
        await until(lambda: ems.sites[0].id == EAST and "KRAKEN/JOHN" in ems.sites[0].chosen_by)
        assert ems.sites[0].flags == ()


async def test_an_exchange_that_a_site_cannot_reach_is_reached_through_another_one() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.02}, pace=INSTANT) as sim, client(sim) as ems:
        roster = ems._ready().roster
        entry = roster.entries[sim.site_urls[EAST]]
        roster.note(entry, Row.EXCHANGE_UNREACHABLE, "490", exchange_id="KRAKEN/JOHN")
        for exchange_id, site in (("KRAKEN/JOHN", WEST), ("DERIBIT", EAST), ("KRAKEN", EAST)):
            await ems.orders.open(exchange_id)
            assert [one.site for one in sim.requests if one.operation == "orders_open"][-1] == site
        assert ems.sites[0].unreachable == ("KRAKEN/JOHN",)


def _probes(sim: Simulator) -> int:
    return sum(one.operation == "probe" for one in sim.requests)


async def test_a_loop_that_stands_still_puts_no_site_in_doubt() -> None:
    async with Simulator(sites={EAST: 0.01, WEST: 0.01}, pace=INSTANT) as sim, client(sim) as ems:
        seen = watched(ems)
        for _ in range(5):
            count = _probes(sim) + 1
            async with asyncio.timeout(10):
                while _probes(sim) < count:
                    await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251  # longer than any probe may take
            await asyncio.sleep(0.02)
        assert seen == []
        assert all(site.latency is not None and site.latency < 0.25 for site in ems.sites)


async def test_what_was_timed_while_the_loop_stood_still_is_no_sample() -> None:
    def script(seen: Seen) -> Reply:
        time.sleep(0.04)  # longer than a loop may stand still
        return answer(b"")

    settings = Settings(probe_path="/alive", probe_interval=0.02)
    async with ScriptedServer(script) as server:
        async with EMSClient.self_hosted(server.url, settings=settings) as ems:
            await until(lambda: len(server.operations("GET /alive")) > 6)
            (site,) = ems.sites
            assert (site.health, site.samples) == (Health.HEALTHY, ())
            assert site.latency is not None, "better than none"


async def test_a_server_that_closes_every_connection_is_measured_all_the_same() -> None:
    async with ScriptedServer(lambda seen: Reply(answer(b"", 200, "Connection: close").data, "fin")) as server:
        settings = Settings(probe_path="/alive", probe_interval=0.02)
        async with EMSClient.self_hosted(server.url, settings=settings) as ems:
            await until(lambda: len(ems.sites[0].samples) > 5)
            assert ems.sites[0].health is Health.HEALTHY


async def test_a_site_whose_certificate_is_not_valid_is_left_alone_for_a_minute() -> None:
    async with Simulator(sites={EAST: 0.0}, tls=True, pace=INSTANT) as sim:
        url = sim.site_urls[EAST]
        async with EMSClient.self_hosted(url) as ems:
            assert ems.sites[0].health is Health.EJECTED
            assert "certificate" in (ems.sites[0].last_error or "")
            probe_at = ems._ready().roster.entries[url].health.probe_at
            assert probe_at is not None
            assert 40 < probe_at - time.monotonic() < 73
            assert ems.sites[0].connections == 0


# Discovery


async def test_no_endpoints_elsewhere_means_no_account() -> None:
    async with Simulator(sites={EAST: 0.0}, exchanges=(), pace=INSTANT) as sim:
        with pytest.raises(NoSites, match="no exchange account is configured"):
            await client(sim).open()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_raises_at_opening(status: int) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.auth_fail = status  # type: ignore[assignment]  # a test's own parameter
        with pytest.raises(AuthenticationFailed) as caught:
            await client(sim).open()
        assert caught.value.status == status
        assert sim.api_key not in str(caught.value)


async def test_a_management_api_that_fails_raises_after_three_tries() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="endpoints", status=503, times=None))
        with pytest.raises(NoSites, match="cannot be read") as caught:
            await client(sim).open()
        assert len(caught.value.attempts) == 3
        assert isinstance(caught.value.__cause__, ServerFailed)


async def test_a_management_api_that_limits_calls_is_waited_for_or_told() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="endpoints", status=429, headers={"Retry-After": "0"}))
        async with client(sim) as ems:
            assert len(ems.sites) == 1
        sim.inject(Injection(operation="endpoints", status=429, headers={"Retry-After": "600"}))
        with pytest.raises(NoSites, match="limits how many calls"):
            await client(sim).open()


async def test_a_management_api_that_recovers_is_waited_for() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="endpoints", status=503, times=2))
        async with client(sim) as ems:
            assert len(ems.sites) == 1


async def test_locations_and_exchanges_are_optional() -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        sim.inject(Injection(operation="locations", status=404, times=None))
        sim.inject(Injection(operation="exchanges", status=200, body=b"{", times=None))
        async with client(sim) as ems:
            assert ems.sites[0].id == EAST
            assert ems.sites[0].region is None


async def test_the_table_survives_failures_and_follows_changes() -> None:
    async with Simulator(sites={EAST: 0.0}, exchanges=("KRAKEN",), pace=INSTANT) as sim, client(sim) as ems:
        before = ems.health().table_age
        assert before is not None
        sim.inject(Injection(operation="endpoints", status=200, body=b"[]"))
        with pytest.raises(NoSites):
            await ems.refresh()
        assert len(ems.sites) == 1
        assert "no exchange account" in (ems.health().table_error or "")
        account = Account(exchange_id="BITMEX/JOHN", parameters={"PublicApiKey": "a", "PrivateApiKey": "b"})
        await ems.accounts.save(account)
        await ems.refresh()
        assert ems.sites[0].exchanges == ("BITMEX/JOHN", "KRAKEN")
        assert ems.health().table_error is None


async def test_the_table_is_read_again_by_itself() -> None:
    settings = Settings(refresh_interval=0.05)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim, client(sim, settings) as ems:
        await until(lambda: sum(one.operation == "endpoints" for one in sim.requests) > 3)
        assert ems.health().crashes == {}


async def test_a_site_that_leaves_the_table_finishes_what_it_has_begun() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.03}, pace=INSTANT) as sim, client(sim) as ems:
        sim.inject(Injection(operation="order_new", site=EAST, status=200, body=None, delay=0.3))
        order = an_order()
        placing = asyncio.create_task(ems.orders.place(order))
        await until(lambda: any(one.operation == "order_new" for one in sim.requests))
        left = [row for row in _endpoints(sim) if row["location_id"] == WEST]
        sim.inject(Injection(operation="endpoints", status=200, body=left))
        await ems.refresh()
        assert [site.id for site in ems.sites] == [WEST]
        assert (await placing).client_order_id == order.client_order_id


async def test_a_site_may_come_and_go_and_come_again() -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT) as sim, client(sim) as ems:
        for _ in range(3):
            left = [row for row in _endpoints(sim) if row["location_id"] == WEST]
            sim.inject(Injection(operation="endpoints", status=200, body=left))
            await ems.refresh()
            assert [site.id for site in ems.sites] == [WEST]
            await ems.refresh()
            assert {site.id for site in ems.sites} == {EAST, WEST}
        await asyncio.sleep(0.05)
        assert ems.health().crashes == {}


async def test_failing_calls_make_no_storm_of_probes() -> None:
    settings = Settings(probe_interval=0.1, probe_interval_others=0.1)
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim, client(sim, settings) as ems:
        await sim.stop_site(EAST)
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - started < 0.5:
            await ems.orders.submit(an_order())
        await sim.start_site(EAST)
        await until(lambda: ems.sites[0].health is Health.HEALTHY)
        assert sum(one.operation == "probe" for one in sim.requests) < 20


def _endpoints(sim: Simulator) -> list[dict[str, str]]:
    return [
        {"exchange_id": "KRAKEN/JOHN", "location_id": site, "endpoint_url": url}
        for site, url in sim.site_urls.items()
    ]


async def test_a_host_that_discovery_may_not_name_gets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        rows = [
            *_endpoints(sim),
            {"exchange_id": "K", "location_id": "evil", "endpoint_url": "https://evil.example"},
        ]
        sim.inject(Injection(operation="endpoints", status=200, body=rows))
        async with client(sim) as ems:
            assert [site.id for site in ems.sites] == [EAST]
    assert "not a host that a key may go to" in caplog.text
