"""The file that a site table survives in: what is in it, when it is believed, and what it is good for."""

import asyncio
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    Account,
    ApiKeyQuery,
    ClientCertificate,
    EMSClient,
    ExchangeLogin,
    NoSites,
    Settings,
)
from coinapi_ems_async.errors import ConfigurationError
from coinapi_ems_async.settings import MANAGEMENT_URL
from coinapi_ems_async.simulator import Injection, Pace, Simulator
from coinapi_ems_async.sites.cache import Table, TableCache, cache_of

from ..conftest import EAST, WEST, an_order
from .outage import place, row
from .test_monitor import until

KEY = "SENTINEL-5ca1ab1e-key"
URL = "https://mgmt.example"
DAY = 86_400.0
NOW = 1_800_000_000.0
TABLE = Table(
    endpoints=[row("https://a.example", "here"), row("https://b.example", "there", "KRAKEN/JOHN")],
    locations=[place("here")],
    exchanges=[ExchangeLogin(exchange_id="KRAKEN", location_id="here", required_parameters=["PublicApiKey"])],
    read_at=NOW,
)
ESTIMATES = {"https://a.example": 0.0123, "https://b.example": 0.2}
INSTANT = Pace(reply=0, book=0, cancel=0)


def cache(
    directory: Path, *, url: str = URL, key: str = KEY, now: float = NOW + 60, **settings: Any
) -> TableCache:
    return TableCache(directory, url, key, Settings(**settings), now=lambda: now)


@pytest.fixture
def kept(tmp_path: Path) -> TableCache:
    found = cache(tmp_path / "here")
    found.write(TABLE, ESTIMATES)
    return found


def table_of(url: str, *, read_at: float) -> Table:
    return Table(endpoints=[row(url)], locations=[], exchanges=[], read_at=read_at)


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def the_line(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    caplog.clear()
    return record.getMessage()


def change(kept: TableCache, **fields: Any) -> None:
    """Write other fields into the file, as somebody with an editor would."""
    data = json.loads(kept.path.read_bytes()) | fields
    kept.path.write_text(json.dumps(data))


# What is in it


def test_what_is_written_is_read(kept: TableCache, caplog: pytest.LogCaptureFixture) -> None:
    assert kept.read() == (TABLE, ESTIMATES)
    assert caplog.records == []


def test_it_is_its_owners_and_holds_no_secret(kept: TableCache) -> None:
    text = kept.path.read_text()
    assert KEY not in text + kept.path.name + repr(kept)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    assert [one.name for one in kept.path.parent.iterdir()] == [kept.path.name]
    data = json.loads(text)
    assert set(data) == {
        *("schema", "saved_at", "base_url", "key_sha256", "endpoints", "locations", "exchanges", "estimates"),
        "digest",
    }
    assert len(data["key_sha256"]) == 16
    assert data["endpoints"][0] == {
        "exchange_id": "KRAKEN",
        "location_id": "here",
        "endpoint_url": "https://a.example",
    }


def test_each_environment_has_its_file(tmp_path: Path) -> None:
    made = [cache(tmp_path, url=url, key=key) for url in (URL, "https://other.example") for key in (KEY, "other")]
    assert len({one.path for one in made}) == 4
    for one in made:
        one.write(TABLE, {})
    assert all(one.read() is not None for one in made)


def test_estimates_that_are_no_times_are_not_kept(kept: TableCache) -> None:
    kept.write(TABLE, {"a": float("inf"), "b": float("nan"), "c": -1.0, "d": 0.0, "e": 0.5})
    found = kept.read()
    assert found is not None
    assert found.estimates == {"e": 0.5}


def test_a_newer_table_of_another_process_is_not_replaced(kept: TableCache) -> None:
    old = table_of("https://old.example", read_at=NOW - 10)
    kept.write(old, {})
    assert kept.read() == (TABLE, ESTIMATES)
    new = table_of("https://new.example", read_at=NOW + 10)
    kept.write(new, {})
    assert kept.read() == (new, {})


def test_a_file_of_the_future_or_broken_is_replaced(kept: TableCache) -> None:
    future = table_of("https://future.example", read_at=NOW + 3_600)
    kept.write(future, {})
    kept.write(TABLE, {})
    assert kept.read() == (TABLE, {})
    kept.path.write_bytes(b"{")
    kept.write(TABLE, {})
    assert kept.read() == (TABLE, {})


# When it is not believed


def test_nothing_kept_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert cache(tmp_path / "nowhere").read() is None
    assert caplog.records == []


def _link(kept: TableCache) -> None:
    elsewhere = kept.path.with_name("elsewhere.json")
    kept.path.rename(elsewhere)
    kept.path.symlink_to(elsewhere)


def _link_to_nothing(kept: TableCache) -> None:
    kept.path.unlink()
    kept.path.symlink_to(kept.path.with_name("missing"))


def _pipe(kept: TableCache) -> None:
    kept.path.unlink()
    os.mkfifo(kept.path, 0o600)


def _directory(kept: TableCache) -> None:
    kept.path.unlink()
    kept.path.mkdir(mode=0o700)


def _nested(kept: TableCache) -> None:
    kept.path.write_text('{"schema":1,"endpoints":' + "[" * 200_000)


CASES: dict[str, tuple[Callable[[TableCache], object], str]] = {
    "cut in the middle": (lambda kept: kept.path.write_bytes(kept.path.read_bytes()[:200]), "cut off"),
    "empty": (lambda kept: kept.path.write_bytes(b""), "cut off"),
    "no JSON": (lambda kept: kept.path.write_bytes(b"\xff\x00garbage"), "corrupt"),
    "no object": (lambda kept: kept.path.write_bytes(b"[]"), "corrupt"),
    "nested beyond measure": (_nested, "corrupt"),
    "another version": (lambda kept: change(kept, schema=2), "another version of this package (schema 2)"),
    "another version, other fields": (lambda kept: kept.path.write_bytes(b'{"schema":7}'), "schema 7"),
    "another API": (lambda kept: change(kept, base_url="https://evil.example"), "another management API"),
    "another key": (lambda kept: change(kept, key_sha256="0" * 16), "another API key"),
    "another host": (
        lambda kept: change(kept, endpoints=[{"exchange_id": "KRAKEN", "endpoint_url": "https://evil.example"}]),
        "corrupt",
    ),
    "rows of another kind": (lambda kept: change(kept, endpoints=[{"exchange_id": 5}]), "corrupt"),
    "too old": (lambda kept: change(kept, saved_at=NOW - 31 * DAY), "31 days old"),
    "of the future": (lambda kept: change(kept, saved_at=NOW + 2 * DAY), "dated in the future"),
    "too large": (lambda kept: kept.path.write_bytes(b" " * (4 * 1024 * 1024 + 1)), "too large"),
    "a link": (_link, "symbolic link"),
    "a link to nothing": (_link_to_nothing, "symbolic link"),
    "a pipe": (_pipe, "no regular file"),
    "a directory": (_directory, "no regular file"),
    "others may write": (lambda kept: kept.path.chmod(0o602), "others than its owner"),
    "the group may write": (lambda kept: kept.path.chmod(0o620), "others than its owner"),
}


@pytest.mark.parametrize(("spoil", "reason"), CASES.values(), ids=CASES.keys())
def test_what_is_not_believed_is_ignored_with_one_line(
    spoil: Callable[[TableCache], object], reason: str, kept: TableCache, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(kept)
    assert kept.read() is None
    line = the_line(caplog)
    assert line.startswith(f"the kept site table {kept.path} is ignored: ")
    assert reason in line
    assert KEY not in line


def test_a_file_of_another_user_is_ignored(kept: TableCache, caplog: pytest.LogCaptureFixture) -> None:
    if os.geteuid() == 0:
        os.chown(kept.path, 12_345, -1)
    else:
        kept.path = Path("/etc/passwd")
    assert kept.read() is None
    assert "belongs to another user" in the_line(caplog)


def test_a_file_cut_or_changed_anywhere_is_ignored(kept: TableCache, caplog: pytest.LogCaptureFixture) -> None:
    whole = kept.path.read_bytes()
    for length in range(len(whole)):
        kept.path.write_bytes(whole[:length])
        assert kept.read() is None
    for place_of in range(len(whole)):
        data = bytearray(whole)
        data[place_of] ^= 1
        kept.path.write_bytes(data)
        assert kept.read() is None
    assert len(caplog.records) == 2 * len(whole)
    kept.path.write_bytes(whole)
    assert kept.read() == (TABLE, ESTIMATES)


def test_an_old_table_is_used_with_a_warning_and_a_very_old_one_if_told(
    tmp_path: Path, kept: TableCache, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "here"
    assert cache(directory, now=NOW + 23 * 3_600).read() is not None
    assert caplog.records == []
    assert cache(directory, now=NOW + 30 * 3_600).read() is not None
    assert "is 30 hours old" in the_line(caplog)
    assert cache(directory, now=NOW + 31 * DAY).read() is None
    assert "31 days old" in the_line(caplog)
    assert cache(directory, now=NOW + 31 * DAY, cache_max_age=365 * DAY).read() is not None
    assert "is 744 hours old" in the_line(caplog)


def test_what_cannot_be_written_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = cache(tmp_path / "file" / "below")
    for _ in range(3):
        found.write(TABLE, ESTIMATES)
    assert "cannot be kept" in the_line(caplog)
    (tmp_path / "file").unlink()
    found.write(TABLE, ESTIMATES)
    assert found.read() is not None


def test_writes_do_not_pile_up_behind_one_that_hangs(kept: TableCache, caplog: pytest.LogCaptureFixture) -> None:
    with kept._turn:
        kept.write(TABLE, {})
    assert "has not ended yet" in the_line(caplog)
    kept.write(TABLE, {})
    assert kept.read() == (TABLE, {})


def test_a_table_beyond_measure_is_not_written(kept: TableCache, caplog: pytest.LogCaptureFixture) -> None:
    huge = Table(endpoints=[row(f"https://{'a' * 200}.example/{number}") for number in range(20_000)], read_at=NOW)
    kept.write(huge, {})
    assert "too large" in the_line(caplog)
    assert kept.read() == (TABLE, ESTIMATES)


# Where it is


def test_by_default_it_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = cache_of(MANAGEMENT_URL, KEY, Settings())
    assert found is not None
    assert found.path.parent == tmp_path / "xdg" / "coinapi-ems-async"
    for other in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        found = cache_of(MANAGEMENT_URL, KEY, Settings())
        assert found is not None
        assert found.path.parent == tmp_path / "home" / ".cache" / "coinapi-ems-async"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://localhost", "http://[::1]:1"])
def test_on_this_machine_only_if_asked_for(url: str, tmp_path: Path) -> None:
    assert cache_of(url, KEY, Settings()) is None
    found = cache_of(url, KEY, Settings(cache_dir=tmp_path))
    assert found is not None
    assert found.path.parent == tmp_path


def test_none_is_nowhere_and_nobody_at_home_too() -> None:
    assert cache_of(MANAGEMENT_URL, KEY, Settings(cache_dir=None)) is None
    assert cache_of(MANAGEMENT_URL, KEY, Settings(cache_dir="~nobody-of-that-name/x")) is None


@pytest.mark.parametrize("given", ["", "a\0b", 5, b"bytes", True])
def test_directories_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache_dir"):
        Settings(cache_dir=given)


# What it is good for


def client(sim: Simulator, directory: Path | str | None, **settings: Any) -> EMSClient:
    quick: dict[str, Any] = {"refresh_retry": 0.05, "management_tries": 1, "cache_dir": directory}
    return EMSClient(sim.api_key, management_url=sim.management_url, settings=Settings(**(quick | settings)))


async def test_orders_go_on_while_the_management_api_is_down_and_the_table_is_read_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.03}, pace=INSTANT) as sim:
        async with client(sim, tmp_path) as ems:
            assert not ems.health().table_kept
        await sim.stop_site("management")
        with pytest.raises(NoSites):
            await client(sim, None).open()
        async with client(sim, tmp_path) as ems:
            assert ems.health().table_kept
            for _ in range(20):
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
            assert [site.id for site in ems.sites] == [EAST, WEST]
            assert ems.sites[0].region == "us-east-1"
            await until(lambda: ems.health().table_error is not None)
            before = ems.health()
            assert before.table_kept
            await sim.start_site("management")
            await until(lambda: not ems.health().table_kept)
            after = ems.health()
            assert after.table_error is None
            assert (after.table_age or 0) < (before.table_age or 0) + 5
            assert after.crashes == {}
            assert {site.id for site in after.sites} == {EAST, WEST}


async def test_a_certificate_kept_in_a_file_opens_with_a_kept_table_too(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT, tls=True) as sim:

        def make() -> EMSClient:
            return EMSClient(
                sim.api_key,
                management_url=sim.management_url,
                auth=ClientCertificate(file=tmp_path / "client.pem"),
                settings=Settings(cache_dir=tmp_path / "cache"),
                ssl_context=sim.ssl_context(),
            )

        async with make():
            pass
        await sim.stop_site("management")
        async with make() as ems:
            assert ems.health().table_kept
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
        for path in files_in(tmp_path / "cache"):
            assert "BEGIN" not in path.read_text()


async def test_opening_does_not_wait_for_a_management_api_that_is_silent(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        async with client(sim, tmp_path):
            pass
        sim.inject(Injection(operation="endpoints", status=200, hang=True, times=None))
        async with asyncio.timeout(20):
            async with client(sim, tmp_path, management_timeout=50) as ems:
                assert isinstance(await ems.orders.submit(an_order()), Accepted)
                assert ems.health().table_kept


async def test_a_refresh_runs_behind_at_once(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.0}, pace=INSTANT) as sim:
        rows = [{"exchange_id": "KRAKEN/JOHN", "location_id": EAST, "endpoint_url": sim.site_urls[EAST]}]
        sim.inject(Injection(operation="endpoints", status=200, body=rows))
        async with client(sim, tmp_path) as ems:
            assert [site.id for site in ems.sites] == [EAST]
        async with client(sim, tmp_path) as ems:
            await until(lambda: {site.id for site in ems.sites} == {EAST, WEST})
            assert not ems.health().table_kept


async def test_the_last_estimates_are_kept_and_seed_the_next_start(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0, WEST: 0.02}, pace=INSTANT) as sim:
        async with client(sim, tmp_path) as ems:
            await until(lambda: all(site.latency is not None for site in ems.sites))
        (path,) = files_in(tmp_path)
        data = json.loads(path.read_bytes())
        assert set(data["estimates"]) == set(sim.site_urls.values())
        assert data["estimates"][sim.site_urls[WEST]] > 0.018
        for name in (EAST, WEST, "management"):
            await sim.stop_site(name)
        async with client(sim, tmp_path, open_within=0.2):
            pass  # nothing was learnt of the table: it does not become younger
        assert json.loads(path.read_bytes())["saved_at"] == data["saved_at"]


async def test_nothing_secret_is_kept(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "made" / "on the way")
    simulator = Simulator(sites={EAST: 0.0}, api_key=KEY, pace=INSTANT)
    async with simulator as sim:
        secret = "https://user:SENTINEL-5ca1ab1e@evil.example/?apikey=SENTINEL-5ca1ab1e"
        rows = [
            {"exchange_id": "KRAKEN/JOHN", "location_id": EAST, "endpoint_url": sim.site_urls[EAST], "x": KEY},
            {"exchange_id": "K", "location_id": "evil", "endpoint_url": secret},
        ]
        sim.inject(Injection(operation="endpoints", status=200, body=rows, times=None))
        async with EMSClient(KEY, management_url=sim.management_url, auth=ApiKeyQuery(), settings=settings) as ems:
            await ems.orders.place(an_order())
            await ems.refresh()
    directory = tmp_path / "made" / "on the way"
    (path,) = files_in(directory)
    assert "5ca1ab1e" not in path.read_text() + path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("spoil", [b"", b"{", b"[]"])
async def test_a_torn_file_is_as_good_as_none(
    spoil: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        async with client(sim, tmp_path):
            pass
        (path,) = files_in(tmp_path)
        path.write_bytes(spoil)
        async with client(sim, tmp_path) as ems:
            assert not ems.health().table_kept
        assert caplog.text.count("is ignored: it is corrupt or cut off") == 1
        assert json.loads(path.read_bytes())["endpoints"]


async def test_a_directory_that_cannot_be_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        async with client(sim, tmp_path / "file" / "below") as ems:
            await ems.refresh()
            assert ems.health().crashes == {}
    assert caplog.text.count("cannot be kept") == 1


async def test_without_a_directory_nothing_is_kept(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url):
            pass
        url = sim.site_urls[EAST]
        async with EMSClient.self_hosted(url, settings=Settings(cache_dir=tmp_path / "here", open_within=1)):
            pass
        async with EMSClient.cloud_only(
            sim.api_key, management_url=sim.management_url, settings=Settings(cache_dir=tmp_path / "here")
        ):
            pass
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("change", ["save", "delete", "delete all"])
async def test_a_change_of_the_accounts_makes_what_is_kept_out_of_date(tmp_path: Path, change: str) -> None:
    """Else the next start would not know an account that was saved a moment before."""
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        options: dict[str, Any] = {"management_url": sim.management_url, "settings": Settings(cache_dir=tmp_path)}
        async with EMSClient(sim.api_key, **options):
            pass
        assert len(files_in(tmp_path)) == 1
        async with EMSClient.cloud_only(sim.api_key, **options) as cloud:
            if change == "save":
                await cloud.accounts.save(
                    Account(exchange_id="BITMEX/NEW", parameters={"PublicApiKey": "a", "PrivateApiKey": "b"})
                )
            elif change == "delete":
                await cloud.accounts.delete("KRAKEN")
            else:
                await cloud.accounts.delete_all()
        assert files_in(tmp_path) == []


async def test_a_change_of_the_accounts_is_known_soon(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0}, pace=INSTANT) as sim:
        settings = Settings(cache_dir=tmp_path, refresh_gap=0.05)
        async with EMSClient(sim.api_key, management_url=sim.management_url, settings=settings) as ems:
            account = Account(exchange_id="KRAKEN/NEW", parameters={"PublicApiKey": "a", "PrivateApiKey": "b"})
            await ems.accounts.save(account)
            await until(lambda: "KRAKEN/NEW" in ems.sites[0].exchanges)
            assert isinstance(await ems.orders.submit(an_order(exchange_id="KRAKEN/NEW")), Accepted)
