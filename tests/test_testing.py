"""The helper that lets aioresponses stand in for the Managed Cloud API."""

import aiohttp
import pytest
from aioresponses import aioresponses

from coinapi_ems_async import AuthenticationFailed, EMSClient, NoSites
from coinapi_ems_async.settings import GLOBAL_URL, MANAGEMENT_URL, Settings
from coinapi_ems_async.testing import MockedResponse

QUICK = Settings(open_within=0.2)


def _mock(mocked: aioresponses, path: str, payload: object, *, status: int = 200) -> None:
    mocked.get(
        f"{MANAGEMENT_URL}{path}",
        payload=payload,
        status=status,
        response_class=MockedResponse,
        repeat=True,
    )


async def test_the_managed_cloud_api_can_be_mocked() -> None:
    with aioresponses() as mocked:
        _mock(mocked, "/v1/endpoints", [])
        _mock(mocked, "/v1/locations", [{"location_id": "here", "region_name": "R"}])
        async with EMSClient("key", settings=QUICK) as ems:
            assert [one.region_name for one in await ems.locations.list()] == ["R"]
            # No endpoints, and the production management API: the host that serves every account.
            assert [site.url for site in ems.sites] == [GLOBAL_URL]


async def test_a_session_of_the_users_own_is_used_and_left_open() -> None:
    async with aiohttp.ClientSession() as session:
        with aioresponses() as mocked:
            _mock(mocked, "/v1/endpoints", [])
            async with EMSClient("key", management_session=session, settings=QUICK):
                assert len(session.trace_configs) == 1
        assert not session.closed
        assert session.trace_configs == []


async def test_a_refused_key_is_told_at_once() -> None:
    with aioresponses() as mocked:
        _mock(mocked, "/v1/endpoints", {"error": "Invalid API key"}, status=401)
        with pytest.raises(AuthenticationFailed, match="Invalid API key"):
            await EMSClient("key").open()


async def test_an_empty_list_elsewhere_means_no_account() -> None:
    with aioresponses() as mocked:
        mocked.get("https://mgmt.example/v1/endpoints", payload=[], response_class=MockedResponse)
        with pytest.raises(NoSites, match="no exchange account is configured"):
            await EMSClient("key", management_url="https://mgmt.example").open()
