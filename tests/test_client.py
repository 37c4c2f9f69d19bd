"""Opening, closing, and using the client from wherever a bot may live."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import aiohttp
import anyio
import pytest

import coinapi_ems_async
from coinapi_ems_async import (
    Accepted,
    Account,
    ApiKeyQuery,
    ConfigurationError,
    EMSClient,
    EMSError,
    InvalidRequest,
    NotFound,
    NotSent,
    OrderStatus,
    Settings,
    Side,
    TimeInForce,
    UsageError,
    ValidationFailed,
)
from coinapi_ems_async.operations import OPERATIONS
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from .conftest import ACCOUNT, EAST, SYMBOL, an_order
from .wire import answer, report, served

# Every operation through the client


@pytest.mark.every_loop
async def test_every_operation_of_both_apis(sim: Simulator, ems: EMSClient) -> None:
    order = an_order()
    now = datetime.now(UTC)
    assert (await ems.orders.place(order)).status in (OrderStatus.ROUTED, OrderStatus.NEW)
    assert (await ems.orders.status(order.client_order_id)).side is Side.BUY
    assert [one.client_order_id for one in await ems.orders.open(ACCOUNT)] == [order.client_order_id]
    assert len(await ems.orders.open()) == 1
    canceled = await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id)
    assert canceled.status in (OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED)
    second = await ems.orders.place(an_order())
    by_exchange_id = await ems.orders.cancel(exchange_id=ACCOUNT, exchange_order_id=second.exchange_order_id)
    assert by_exchange_id.client_order_id == second.client_order_id
    acknowledged = await ems.orders.cancel_all(exchange_id=ACCOUNT)
    assert acknowledged.message == "Ok"
    assert await ems.orders.open(ACCOUNT) == []
    rows = await ems.orders.history(now - timedelta(minutes=5), now + timedelta(minutes=5))
    assert {row.client_order_id for row in rows} == {order.client_order_id, second.client_order_id}
    assert [row.created_at for row in rows] == sorted(row.created_at for row in rows if row.created_at)
    balances = await ems.balances.get(ACCOUNT)
    assert balances[0].exchange_id == ACCOUNT
    assert {one.exchange_id for one in await ems.balances.get()} >= {ACCOUNT, "DERIBIT"}
    assert (await ems.positions.get("DERIBIT"))[0].exchange_id == "DERIBIT"

    assert "KRAKEN" in {one.exchange_id for one in await ems.exchanges.list()}
    assert EAST in {one.location_id for one in await ems.locations.list()}
    assert {one.exchange_id for one in await ems.endpoints.list(ACCOUNT)} == {ACCOUNT}
    assert "PRIVATE KEY" in await ems.certificate.pem()
    account = Account(exchange_id="BITMEX", parameters={"PublicApiKey": "a+b", "PrivateApiKey": "c&d"})
    await ems.accounts.save(account)
    assert (await ems.accounts.list("BITMEX"))[0]["PrivateApiKey"] == "c&d"
    await ems.accounts.delete("BITMEX")
    with pytest.raises(NotFound):
        await ems.accounts.delete("BITMEX")
    await ems.accounts.delete("BITMEX", missing_ok=True)
    await ems.accounts.delete_all()
    assert await ems.accounts.list() == []
    assert {record.operation for record in sim.requests} >= set(OPERATIONS)


async def test_an_order_fills_and_moves_balances(ems: EMSClient) -> None:
    def available(balances: list[coinapi_ems_async.Balance], asset: str) -> Decimal:
        rows = balances[0].data or []
        return next(row.available for row in rows if row.asset_id_coinapi == asset and row.available is not None)

    before = available(await ems.balances.get(ACCOUNT), "BTC")
    order = an_order(price="20000", time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    await ems.orders.place(order)
    final = await ems.orders.status(order.client_order_id)
    assert final.status is OrderStatus.FILLED
    assert final.is_final
    assert final.amount_filled == order.amount_order
    assert available(await ems.balances.get(ACCOUNT), "BTC") == before + order.amount_order


async def test_accounts_are_checked_before_and_by_the_service(ems: EMSClient) -> None:
    with pytest.raises(InvalidRequest):
        await ems.accounts.save(Account(exchange_id="KRAKEN", parameters={}))
    with pytest.raises(ValidationFailed):
        await ems.accounts.save(Account(exchange_id="KRAKEN", parameters={"PublicApiKey": "only half"}))
    with pytest.raises(ValidationFailed):
        await ems.accounts.save(Account(exchange_id="NOSUCHPLACE", parameters={"PublicApiKey": "a"}))


# Odd ids and arguments


ODD = ["a/b", "a#b", "a&b=c", "a+b", "a%2Fb", "a b", "ü-€", "a;b?c", "'quoted\"", "%00", "~tilde.dots"]


@pytest.mark.filterwarnings("ignore::coinapi_ems_async.UnusualClientOrderId")
@pytest.mark.parametrize("odd", ODD)
async def test_odd_ids_travel_whole(sim: Simulator, ems: EMSClient, odd: str) -> None:
    order = an_order(client_order_id=odd)
    assert (await ems.orders.place(order)).client_order_id == odd
    assert (await ems.orders.status(odd)).client_order_id == odd
    assert (await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=odd)).client_order_id == odd
    assert sim.executions(odd) == 1


@pytest.mark.parametrize(
    "tag", ["~", "/", ".", ",", ":", ";", "!", "@", "#", "$", "%", "^", "&", "*", "-", "_", "+", "="]
)
async def test_every_separator_of_an_account_tag(tag: str) -> None:
    account = f"KRAKEN{tag}JOHN{tag}2"
    async with Simulator(sites={EAST: 0.0}, exchanges=(account,), pace=Pace(reply=0, book=0)) as sim:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            order = an_order(exchange_id=account)
            assert (await ems.orders.place(order)).exchange_id == account
            assert (await ems.balances.get(account))[0].exchange_id == account
            if tag == ",":
                return  # servers may split a filter at commas (protocol C-17)
            assert [one.exchange_id for one in await ems.accounts.list(account)] == [account]
            assert [one.exchange_id for one in await ems.endpoints.list(account)] == [account]
            await ems.accounts.delete(account)
            assert await ems.accounts.list() == []


BAD_IDS: list[Any] = ["", "a\r\nX: 1", "a\nb", "a\0b", " a", "a ", ".", "..", "x" * 129, None, 5, b"id", "\ud800"]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_bad_ids_are_refused_before_anything_is_sent(sim: Simulator, ems: EMSClient, bad: Any) -> None:
    sim.clear()
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ems.orders.status(bad),
        lambda: ems.orders.cancel(exchange_id=ACCOUNT, client_order_id=bad),
        lambda: ems.orders.submit_cancel(exchange_id=bad, client_order_id="id"),
        lambda: ems.orders.cancel_all(exchange_id=bad),
        lambda: ems.accounts.delete(bad),
        lambda: ems.accounts.list(bad),
        lambda: ems.endpoints.list("fine", bad),
    ]
    if bad is not None:
        calls += [lambda: ems.balances.get(bad), lambda: ems.orders.open(bad), lambda: ems.positions.get(bad)]
    for call in calls:
        with pytest.raises(InvalidRequest):
            await call()
    assert [one for one in sim.requests if one.operation != "probe"] == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "10", True])
async def test_bad_time_limits(ems: EMSClient, timeout: Any) -> None:
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ems.orders.submit(an_order(), timeout=timeout),
        lambda: ems.balances.get(timeout=timeout),
        lambda: ems.locations.list(timeout=timeout),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match="timeout"):
            await call()


async def test_bad_arguments_of_orders(ems: EMSClient) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # what is tested
    aware = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidRequest, match="naive"):
        await ems.orders.submit(an_order(), not_after=naive)
    with pytest.raises(InvalidRequest, match="naive"):
        await ems.orders.history(naive, aware)
    with pytest.raises(InvalidRequest, match="before"):
        await ems.orders.history(aware, aware)
    with pytest.raises(InvalidRequest, match="NewOrder"):
        await ems.orders.place({"exchange_id": ACCOUNT})  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidRequest, match="Account"):
        await ems.accounts.save({"exchange_id": ACCOUNT})  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InvalidRequest, match="both"):
        await ems.orders.cancel(exchange_id=ACCOUNT, client_order_id="a", exchange_order_id="b")
    with pytest.raises(InvalidRequest, match="neither"):
        await ems.orders.cancel(exchange_id=ACCOUNT)


# Life of a client


async def test_use_before_opening_and_after_closing(sim: Simulator) -> None:
    ems = EMSClient(sim.api_key, management_url=sim.management_url)
    assert ems.sites == []
    assert not ems.health().is_open
    with pytest.raises(UsageError, match="not open"):
        await ems.orders.open()
    await ems.open()
    with pytest.raises(UsageError, match="open already"):
        await ems.open()
    await ems.aclose()
    await ems.aclose()
    assert ems.sites == []
    with pytest.raises(UsageError, match="closed"):
        await ems.orders.submit(an_order())
    with pytest.raises(UsageError, match="closed"):
        await ems.locations.list()
    with pytest.raises(UsageError, match="closed"):
        await ems.open()


async def test_closing_what_was_never_opened() -> None:
    ems = EMSClient("key")
    await ems.aclose()
    with pytest.raises(UsageError, match="closed"):
        await ems.open()


async def test_use_from_another_loop(ems: EMSClient) -> None:
    caught: list[BaseException] = []

    def elsewhere() -> None:
        for call in (ems.orders.open, ems.locations.list, ems.aclose):
            try:
                asyncio.run(call())
            except EMSError as error:
                caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [type(error) for error in caught] == [UsageError] * 3
    assert all("event loop" in str(error) for error in caught[:1])
    assert await ems.orders.open() == []


@pytest.mark.every_loop
async def test_nothing_is_left_on_the_loop() -> None:
    async def use() -> None:
        async with Simulator(sites={EAST: 0.0}, pace=Pace(reply=0, book=0)) as sim:
            async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
                await ems.orders.place(an_order())
                await ems.balances.get()

    before = asyncio.all_tasks()
    await use()
    assert asyncio.all_tasks() == before
    gc.collect()  # an unclosed socket would warn now, and warnings are errors


async def test_a_failed_opening_leaves_nothing_either() -> None:
    before = asyncio.all_tasks()
    async with Simulator(sites={EAST: 0.0}) as sim:
        for wrong in ("wrong", sim.api_key):
            if wrong == sim.api_key:
                sim.auth_fail = 403
            with pytest.raises(EMSError):
                await EMSClient(wrong, management_url=sim.management_url).open()
    assert asyncio.all_tasks() == before
    gc.collect()


@pytest.mark.every_loop
async def test_opening_cancelled_at_any_moment_leaves_nothing(sim: Simulator) -> None:
    before = asyncio.all_tasks()
    for steps in range(0, 60, 3):
        ems = EMSClient(sim.api_key, management_url=sim.management_url)
        task = asyncio.create_task(ems.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError) or ems.health().is_open
        await ems.aclose()
    assert asyncio.all_tasks() == before


async def test_closing_while_opening(sim: Simulator) -> None:
    before = asyncio.all_tasks()
    ems = EMSClient(sim.api_key, management_url=sim.management_url)
    opening = asyncio.create_task(ems.open())
    await asyncio.sleep(0.002)
    await ems.aclose()
    with pytest.raises(EMSError):
        await opening
    assert not ems.health().is_open
    assert asyncio.all_tasks() == before


async def test_closing_while_opening_with_a_session_of_the_users_own(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        ems = EMSClient(sim.api_key, management_url=sim.management_url, management_session=session)
        opening = asyncio.create_task(ems.open())
        await asyncio.sleep(0.002)
        await ems.aclose()
        with pytest.raises(EMSError):
            await opening
        assert session.trace_configs == []
        assert not session.closed


async def test_closing_finishes_however_often_it_is_cancelled(sim: Simulator) -> None:
    before = asyncio.all_tasks()
    sim.inject(Injection(operation="order_new", status=200, body=None, hang=True))
    ems = EMSClient(sim.api_key, management_url=sim.management_url, settings=Settings(close_wait=0.2))
    await ems.open()
    placing = asyncio.create_task(ems.orders.submit(an_order()))
    async with asyncio.timeout(5):
        while not any(one.operation == "order_new" for one in sim.requests):
            await asyncio.sleep(0.01)
    closing = asyncio.create_task(ems.aclose())
    for _ in range(5):
        await asyncio.sleep(0.01)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await placing
    assert asyncio.all_tasks() == before


async def test_a_client_that_is_never_closed_says_so(sim: Simulator) -> None:
    ems = EMSClient(sim.api_key, management_url=sim.management_url)
    await ems.open()
    with pytest.warns(ResourceWarning, match="never closed"):
        ems.__del__()
    await ems.aclose()
    assert not ems.health().is_open


async def test_under_a_cancelled_scope_of_anyio(sim: Simulator) -> None:
    before = asyncio.all_tasks()
    with anyio.CancelScope() as scope:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            scope.cancel()
            await ems.balances.get()
    assert scope.cancelled_caught
    assert asyncio.all_tasks() == before


async def test_under_asyncio_timeout(sim: Simulator) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        await _read_for_ever(sim)
    assert asyncio.all_tasks() == before


async def _read_for_ever(sim: Simulator) -> None:
    async with asyncio.timeout(0.3), EMSClient(sim.api_key, management_url=sim.management_url) as ems:
        while True:
            await ems.balances.get()


async def test_in_a_task_group_of_anyio(sim: Simulator, ems: EMSClient) -> None:
    outcomes = []

    async def place() -> None:
        outcomes.append(await ems.orders.submit(an_order()))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(place)
    assert len(outcomes) == 50
    assert all(isinstance(one, Accepted) for one in outcomes)
    assert all(sim.executions(one.client_order_id or "") == 1 for one in outcomes)


async def test_closing_while_calls_are_under_way(sim: Simulator) -> None:
    ems = EMSClient(sim.api_key, management_url=sim.management_url)
    await ems.open()
    orders = [an_order() for _ in range(20)]
    placing = [asyncio.create_task(ems.orders.submit(order)) for order in orders]
    reading = [asyncio.create_task(ems.balances.get()) for _ in range(20)]
    await asyncio.sleep(0.005)
    await ems.aclose()
    outcomes = await asyncio.gather(*placing)
    for order, outcome in zip(orders, outcomes, strict=True):
        executed = sim.executions(order.client_order_id)
        expected = {"Accepted": {1}, "NotSent": {0}, "Unknown": {0, 1}}[type(outcome).__name__]
        assert executed in expected, outcome
    for result in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(result, list | EMSError), result


async def test_a_fixture_may_open_and_close_in_different_tasks(sim: Simulator) -> None:
    async def fixture() -> AsyncIterator[EMSClient]:
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            yield ems

    generator = fixture()

    async def step() -> EMSClient:
        return await anext(generator)

    ems = await asyncio.create_task(step())
    assert await ems.orders.open() == []
    with pytest.raises(StopAsyncIteration):
        await asyncio.create_task(step())


# Set-up


def test_a_client_without_key_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COINAPI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="COINAPI_API_KEY"):
        EMSClient()
    monkeypatch.setenv("COINAPI_API_KEY", "from-the-environment")
    assert "from-the" not in repr(EMSClient())
    for bad in ("", "two words", "line\r\nend", "ümlaut"):
        with pytest.raises(ConfigurationError) as caught:
            EMSClient(bad)
        assert not bad or bad not in str(caught.value)


async def test_the_management_url_from_the_environment(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sim.environment().items():
        monkeypatch.setenv(name, value)
    async with EMSClient() as ems:
        assert isinstance(await ems.orders.submit(an_order()), Accepted)


@pytest.mark.parametrize(
    "arguments",
    [{"settings": {}}, {"auth": "header"}, {"ssl_context": False}, {"api_key": 5}, {"api_key": ""}],
)
def test_arguments_of_the_wrong_kind(arguments: Any) -> None:
    with pytest.raises(ConfigurationError):
        EMSClient(**({"api_key": "key"} | arguments))


@pytest.mark.parametrize(
    "changes",
    [
        {"pool_size": 2.5},
        {"order_timeout": 0},
        {"read_timeout": -1},
        {"pool_size": float("nan")},
        {"pool_size": 4, "order_share": 4},
        {"probe_path": "no-slash"},
        {"probe_path": "/a b"},
        {"idle_timeout": "45"},
    ],
)
def test_settings_out_of_range(changes: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        Settings(**changes)


def test_transports_of_this_release() -> None:
    for make in (EMSClient, EMSClient.self_hosted):
        with pytest.raises(ConfigurationError, match="transport"):
            make("http://127.0.0.1", transport="carrier-pigeon")  # type: ignore[arg-type]  # what is tested


async def test_a_self_hosted_server_needs_no_key_and_has_no_management_api() -> None:
    async with served(lambda seen: answer(report(seen))) as (server, ems):
        assert isinstance(await ems.orders.submit(an_order(exchange_id="ANY:WHERE")), Accepted)
        assert "x-coinapi-key" not in server.seen[0].headers
        assert [site.id for site in ems.sites] == ["self-hosted"]
        with pytest.raises(UsageError, match="no Managed Cloud API"):
            await ems.accounts.list()
        with pytest.raises(UsageError, match="reads no site table"):
            await ems.refresh()
        assert ems.health().table_age is None


async def test_the_first_account_can_be_saved() -> None:
    async with Simulator(sites={EAST: 0.0}, exchanges=(), pace=Pace(reply=0, book=0)) as sim:
        async with EMSClient.cloud_only(sim.api_key, management_url=sim.management_url) as cloud:
            assert await cloud.endpoints.list() == []
            outcome = await cloud.orders.submit(an_order())
            assert isinstance(outcome, NotSent)
            parameters = {"PublicApiKey": "a", "PrivateApiKey": "b"}
            await cloud.accounts.save(Account(exchange_id=ACCOUNT, parameters=parameters))
            assert cloud.health().is_open
            with pytest.raises(UsageError):
                await cloud.refresh()
        async with EMSClient(sim.api_key, management_url=sim.management_url) as ems:
            assert isinstance(await ems.orders.submit(an_order()), Accepted)


def test_importing_is_cheap() -> None:
    code = (
        "import sys; import coinapi_ems_async; "
        "print([name for name in ('aiohttp', 'anyio', 'typer', 'rich', 'trustme', 'h2', "
        "'coinapi_ems_async.simulator', 'coinapi_ems_async.cli') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_all_there() -> None:
    names = coinapi_ems_async.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(coinapi_ems_async, name) is not None
    public = {name for name in vars(coinapi_ems_async) if not name.startswith("_")} | {"__version__"}
    modules = {name for name in public if type(getattr(coinapi_ems_async, name)).__name__ == "module"}
    assert public - modules == set(names)


def test_the_used_symbol_is_one_the_simulator_serves(sim: Simulator) -> None:
    assert sim.book(ACCOUNT, SYMBOL)


class Awaited:
    """A hook whose call is a coroutine."""

    async def __call__(self, *told: object) -> None: ...


async def awaited(*told: object) -> None: ...


@pytest.mark.parametrize("hook", ["on_call", "on_settled", "cost"])
def test_a_hook_that_cannot_be_called_is_refused(hook: str) -> None:
    for wrong in (5, awaited, Awaited(), partial(awaited, 1), partial(Awaited(), 1)):
        with pytest.raises(ConfigurationError, match=f"{hook} must be a function that is not async"):
            EMSClient("key", **{hook: wrong})  # type: ignore[arg-type]  # that is the point


def test_a_class_in_place_of_an_instance_is_told_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match=r"write ApiKeyQuery\(\.\.\.\)"):
        EMSClient("key", auth=ApiKeyQuery)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("path", [".", "/", "", 5])
def test_a_journal_must_be_a_file(path: object) -> None:
    with pytest.raises(ConfigurationError, match="journal must be the path of a file"):
        EMSClient("key", journal=path)  # type: ignore[arg-type]  # that is the point
