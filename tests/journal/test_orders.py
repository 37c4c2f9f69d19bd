"""Orders with a journal: what stands in the file, when, and what that does to the orders."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coinapi_ems_async import (
    Accepted,
    ApiKeyHeader,
    ConfigurationError,
    EMSClient,
    NoSites,
    NotSent,
    NotSentReason,
    OrderNotSent,
    Rejected,
    Settings,
    Unknown,
    UsageError,
)
from coinapi_ems_async.simulator import Injection, Pace, Simulator

from ..conftest import ACCOUNT, EAST, WEST, an_order
from .helpers import change, client, contents, rows, seen, stalled, until

SENTINEL = "SENTINEL-5ca1ab1e-key"


@pytest.mark.every_loop
async def test_every_outcome_is_in_the_file_after_its_order(sim: Simulator, path: Path) -> None:
    orders = [an_order() for _ in range(5)]
    async with client(sim, path) as ems:
        assert isinstance(await ems.orders.submit(orders[0]), Accepted)
        sim.inject(Injection(operation="order_new", status=400, body={"message": "bad price"}))
        assert isinstance(await ems.orders.submit(orders[1]), Rejected)
        sim.inject(Injection(operation="order_new", status=500, execute="never"))
        assert isinstance(await ems.orders.submit(orders[2]), Unknown)
        late = datetime.now(UTC) - timedelta(seconds=1)
        assert isinstance(await ems.orders.submit(orders[3], not_after=late), NotSent)
        assert isinstance(await ems.orders.submit(an_order(amount_order="100000000")), Rejected)
    found = rows(path, "client_order_id, outcome, status, reason, site, first_site, exchange_id")
    assert [row[1:4] for row in found] == [
        ("accepted", 200, None),
        ("rejected", 400, "validation"),
        ("unknown", 500, None),
        ("not sent", None, "not after"),
        ("rejected", 200, "exchange"),
    ]
    assert {row[4] or EAST for row in found} | {row[5] for row in found} <= {EAST, WEST}
    assert [row[0] for row in found[:4]] == [order.client_order_id for order in orders[:4]]
    assert {row[6] for row in found} == {ACCOUNT}
    bodies = rows(path, "body, raw")
    assert json.loads(bodies[0][0])["client_order_id"] == orders[0].client_order_id
    assert json.loads(bodies[0][1])["client_order_id"] == orders[0].client_order_id
    assert b"bad price" in bodies[1][1]


async def test_an_order_is_in_the_file_before_the_server_has_it(sim: Simulator, path: Path) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, hang=True))
    async with client(sim, path, close_wait=0.1) as ems:
        order = an_order()
        placing = asyncio.create_task(ems.orders.submit(order))
        await until(lambda: bool(seen(sim)), "the request")
        assert rows(path) == [(order.client_order_id, None)]
        assert isinstance(placing, asyncio.Task)
    assert isinstance(await placing, Unknown)
    assert rows(path) == [(order.client_order_id, "unknown")]


async def test_what_cannot_be_recorded_is_not_sent(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        change(path, "CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        with pytest.raises(OrderNotSent, match="the journal could not record it: disk is full") as caught:
            await ems.orders.place(order := an_order())
        assert isinstance(caught.value.outcome, NotSent)
        assert caught.value.outcome.reason is NotSentReason.JOURNAL
        health = ems.health().journal
        assert health is not None
        assert (health.failures, health.last_error) == (1, "disk is full")
        change(path, "DROP TRIGGER full")
        assert seen(sim) == []
        assert isinstance(await ems.orders.submit(order), Accepted)
    assert rows(path) == [(order.client_order_id, "accepted")]


def move(file: Path, away: Path, *, is_replaced: bool) -> None:
    file.rename(away)
    if is_replaced:
        file.write_bytes(away.read_bytes())


@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_no_order_is_sent_while_its_record_would_not_be_found(
    sim: Simulator, path: Path, caplog: pytest.LogCaptureFixture, ending: str, is_replaced: bool
) -> None:
    file, away = Path(f"{path}{ending}"), path.with_name("away")
    async with client(sim, path) as ems:
        first, *lost, last = (an_order() for _ in range(4))
        assert isinstance(await ems.orders.submit(first), Accepted)
        await asyncio.sleep(0.02)  # what was seen holds for 10 ms
        move(file, away, is_replaced=is_replaced)
        for outcome in [await ems.orders.submit(order) for order in (*lost, lost[0])]:
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.JOURNAL
            assert f"the journal's file is gone or was replaced: {path}" in outcome.message
        health = ems.journal.health()
        assert health.failures == 3
        assert "gone or was replaced" in (health.last_error or "")
        assert caplog.text.count("could not be written") == 1
        away.replace(file)
        assert isinstance(await ems.orders.submit(last), Accepted)
        assert caplog.text.count("can be written again") == 1
    assert seen(sim) == [first.client_order_id, last.client_order_id]
    assert [outcome for _, outcome in rows(path)] == ["accepted", *["not sent"] * 3, "accepted"]


async def test_a_journal_that_is_deleted_stays_so(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
        await asyncio.sleep(0.02)
        os.remove(path)
        order = an_order()
        assert isinstance(await ems.orders.submit(order), NotSent)
    assert path.name not in os.listdir(path.parent)
    async with client(sim, path) as ems:
        assert isinstance(await ems.orders.submit(order), Accepted)
    assert seen(sim).count(order.client_order_id) == 1


async def test_one_error_is_said_once_until_the_journal_can_be_written_again(
    sim: Simulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(sim, path) as ems:
        for _ in range(2):
            caplog.clear()
            change(
                path, "CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
            outcomes = await ems.orders.submit_many([an_order() for _ in range(20)])
            assert [type(outcome) for outcome in outcomes] == [NotSent] * 20
            assert caplog.text.count("disk is full: an order is not sent") == 1
            change(path, "DROP TRIGGER full")
            assert isinstance(await ems.orders.submit(an_order()), Accepted)
            assert caplog.text.count("can be written again") == 1
        assert ems.journal.health().failures == 40


async def test_one_order_that_cannot_be_recorded_does_not_stop_its_neighbours(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        change(
            path,
            "CREATE TRIGGER picky BEFORE INSERT ON orders WHEN NEW.client_order_id = 'odd' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        orders = [an_order(), an_order(client_order_id="odd"), an_order()]
        with stalled(path):
            first = asyncio.create_task(ems.orders.submit(an_order()))
            await until(lambda: ems.journal.health().waiting == 0, "the writer")
            others = [asyncio.create_task(ems.orders.submit(order)) for order in orders]
            await asyncio.sleep(0)
        outcomes = [await one for one in (first, *others)]
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, NotSent, Accepted]


async def test_an_outcome_that_cannot_be_written_changes_nothing_for_the_caller(
    sim: Simulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = an_order()
    async with client(sim, path) as ems:
        change(path, "CREATE TRIGGER full BEFORE UPDATE ON orders BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        assert isinstance(await ems.orders.submit(order), Accepted)
        await until(lambda: ems.journal.health().failures == 1, "the failure")
        assert not ems.orders.unresolved
    assert "an entry stays unresolved" in caplog.text
    assert rows(path) == [(order.client_order_id, None)]
    change(path, "DROP TRIGGER full")
    async with client(sim, path) as ems:
        assert list(ems.orders.unresolved) == [order.client_order_id]
        (found,) = await ems.orders.recover()
        assert isinstance(found.outcome, Accepted)
    assert rows(path) == [(order.client_order_id, "accepted")]


# Time, cancellation and the end, while the file cannot be written


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (lambda: {"timeout": 0.1}, NotSentReason.DEADLINE),
        (lambda: {"not_after": datetime.now(UTC) + timedelta(seconds=0.1)}, NotSentReason.NOT_AFTER),
        (dict, NotSentReason.JOURNAL),  # SQLite itself gives up after a second
    ],
)
async def test_time_runs_while_an_order_waits_for_the_file(
    sim: Simulator, path: Path, arguments: Any, reason: NotSentReason
) -> None:
    async with client(sim, path) as ems:
        with stalled(path):
            outcome = await ems.orders.submit(an_order(), **arguments())
        assert isinstance(outcome, NotSent)
        assert outcome.reason is reason
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
    assert len(seen(sim)) == 1
    assert {outcome for _, outcome in rows(path)} <= {"accepted", "not sent"}


@pytest.mark.every_loop
async def test_an_order_cancelled_while_it_is_recorded_is_not_sent(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        order = an_order()
        with stalled(path):
            placing = asyncio.create_task(ems.orders.submit(order))
            await asyncio.sleep(0)
            placing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await placing
        assert not ems.orders.unresolved
        assert isinstance(await ems.orders.submit(order), Accepted)  # its id is free
    assert rows(path, "outcome, reason, generation") == [("not sent", "abandoned", 1), ("accepted", None, 2)]
    assert seen(sim) == [order.client_order_id]


async def test_an_order_cancelled_after_it_was_sent_is_unknown_until_its_answer_comes(
    sim: Simulator, path: Path
) -> None:
    sim.inject(Injection(operation="order_new", status=200, body=None, delay=0.3))
    async with client(sim, path, late_answer=5.0, close_wait=5.0) as ems:
        order = an_order()
        placing = asyncio.create_task(ems.orders.submit(order))
        await until(lambda: bool(seen(sim)), "the request")
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        await ems.journal.unresolved()
        assert rows(path) == [(order.client_order_id, "unknown")]
        await until(lambda: not ems.orders.unresolved, "the late answer")
    assert rows(path, "client_order_id, outcome, reason") == [(order.client_order_id, "accepted", "told later")]


async def test_closing_refuses_what_is_not_recorded_and_writes_all_else(sim: Simulator, path: Path) -> None:
    ems = client(sim, path)
    await ems.open()
    taken, waiting = an_order(), an_order()
    await ems.orders.place(taken)
    with stalled(path) as release:
        placing = asyncio.create_task(ems.orders.submit(waiting))
        await asyncio.sleep(0)
        closing = asyncio.create_task(ems.aclose())
        outcome = await placing
        release()
        await closing
    assert isinstance(outcome, NotSent)
    assert outcome.reason is NotSentReason.ABANDONED
    assert rows(path) == [(taken.client_order_id, "accepted"), (waiting.client_order_id, "not sent")]
    assert sorted(one.name for one in path.parent.iterdir()) == ["orders.journal", "orders.journal.lock"]


# Ids


async def test_ids_count_over_the_lives_of_a_client(sim: Simulator, path: Path) -> None:
    taken, doubtful, refused, forgotten = (an_order() for _ in range(4))
    async with client(sim, path) as ems:
        await ems.orders.place(taken)
        sim.inject(Injection(operation="order_new", status=400))
        await ems.orders.submit(refused)
        for order in (doubtful, forgotten):
            sim.inject(Injection(operation="order_new", status=500, execute="never"))
            assert isinstance(await ems.orders.submit(order), Unknown)
        ems.orders.forget(forgotten.client_order_id)
    async with client(sim, path) as ems:
        assert list(ems.orders.unresolved) == [doubtful.client_order_id]
        for order in (taken, doubtful, forgotten):
            outcome = await ems.orders.submit(order)
            assert isinstance(outcome, NotSent)
            assert outcome.reason is NotSentReason.DUPLICATE
        assert isinstance(await ems.orders.submit(refused), Accepted)
        assert isinstance(await ems.orders.submit(taken, allow_duplicate_id=True), Accepted | Rejected)
    generations = rows(path, "client_order_id, generation, outcome")
    assert generations[-2][:2] == (refused.client_order_id, 2)
    assert generations[-1][:2] == (taken.client_order_id, 2)
    assert (forgotten.client_order_id, 1, "forgotten") in generations


async def test_only_the_latest_ids_are_remembered_but_every_unresolved_one(sim: Simulator, path: Path) -> None:
    orders = [an_order() for _ in range(5)]
    async with client(sim, path) as ems:
        sim.inject(Injection(operation="order_new", status=500, times=3, execute="never"))
        for order in orders[:3]:
            assert isinstance(await ems.orders.submit(order), Unknown)
        for order in orders[3:]:
            await ems.orders.place(order)
    async with client(sim, path, remembered_orders=1) as ems:
        refused = [order.client_order_id for order in orders if ems.ledger.is_spent(order.client_order_id)]
        assert refused == [order.client_order_id for order in (*orders[:3], orders[4])]


# Time


async def test_old_entries_go_unless_they_are_unresolved(sim: Simulator, path: Path) -> None:
    orders = [an_order() for _ in range(6)]
    async with client(sim, path) as ems:
        for order in orders:
            await ems.orders.place(order)
    change(
        path,
        "UPDATE orders SET intended_at = intended_at - 3e6, ended_at = ended_at - 3e6 WHERE number <= 4",
        "UPDATE orders SET outcome = 'unknown' WHERE number = 2",
        "UPDATE orders SET ended_at = ended_at + 3e6 WHERE number = 3",  # settled lately
        "UPDATE orders SET intended_at = intended_at + 1e9 WHERE number = 6",  # the wall clock was wrong
    )
    async with client(sim, path) as ems:
        assert rows(path, "number") == [(2,), (3,), (5,), (6,)]
        assert list(ems.orders.unresolved) == [orders[1].client_order_id]
        entry = ems.orders.unresolved[orders[1].client_order_id]
        assert entry.since <= asyncio.get_running_loop().time() + 1  # monotonic, while the file's times are not
        (found,) = await ems.orders.recover()
        assert timedelta(days=34) < datetime.now(UTC) - found.sent_at < timedelta(days=36)
    async with client(sim, path, journal_keep=0.001) as ems:
        await ems.orders.place(an_order())
    assert rows(path, "number")[-1] == (7,)  # numbers go on


# Company


@pytest.mark.parametrize("sync", ["process", "disk"])
async def test_orders_of_one_moment_share_a_transaction(sim: Simulator, path: Path, sync: str) -> None:
    async with client(sim, path, journal_sync=sync) as ems:
        journal = ems.journal
        with stalled(path):
            first = asyncio.create_task(ems.orders.submit(an_order()))
            await until(lambda: journal.health().waiting == 0, "the writer")
            others = [asyncio.create_task(ems.orders.submit(an_order())) for _ in range(49)]
            await asyncio.sleep(0)
        outcomes = [await one for one in (first, *others)]
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert journal.health().transactions <= 6
        await journal.unresolved()
        assert journal.health().waiting == 0
    assert rows(path, "DISTINCT outcome") == [("accepted",)]


async def test_a_thousand_orders_at_once(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        outcomes = await asyncio.gather(*(ems.orders.submit(an_order(price="1")) for _ in range(1000)))
        assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert rows(path, "DISTINCT outcome") == [("accepted",)]
    assert len(rows(path)) == 1000
    assert len(seen(sim)) == 1000


# Privacy


async def test_no_secret_is_in_any_file(tmp_path: Path) -> None:
    pace = Pace(reply=0, book=0, cancel=0)
    async with Simulator(sites={EAST: 0.0}, api_key=SENTINEL, pace=pace) as sim:
        ems = client(sim, tmp_path / "j")
        async with ems:
            for status in (200, 400, 401, 500, 200):
                sim.inject(
                    Injection(operation="order_new", status=status, body=f'{{"message": "key {SENTINEL} is bad"}}')
                )
                await ems.orders.submit(an_order())
            await ems.journal.unresolved()
            texts = contents(tmp_path)
        texts += contents(tmp_path)
        assert len(texts) == 6
        assert b"<hidden>" in b"".join(texts)
        assert not any(b"5ca1ab1e" in text for text in texts)
        assert SENTINEL not in repr(ems.health())


async def test_no_bearer_token_is_in_any_file(tmp_path: Path) -> None:
    async with Simulator(sites={EAST: 0.0}) as sim:
        auth = ApiKeyHeader(bearer=lambda: "bearer-5ca1ab1e")
        url, key = sim.management_url, sim.api_key
        async with EMSClient(key, management_url=url, auth=auth, journal=tmp_path / "j") as ems:
            body = '{"message": "what is bearer-5ca1ab1e?"}'
            sim.inject(Injection(operation="order_new", status=403, body=body))
            assert isinstance(await ems.orders.submit(an_order()), Rejected)
        texts = contents(tmp_path)
    assert b"what is <hidden>?" in b"".join(texts)
    assert not any(b"5ca1ab1e" in text for text in texts)


# Owners


async def test_a_second_client_cannot_have_the_same_file(sim: Simulator, path: Path) -> None:
    async with client(sim, path) as ems:
        second = client(sim, path)
        with pytest.raises(ConfigurationError, match=f"{path} is in use by another client"):
            await second.open()
        assert not second.health().is_open
        with pytest.raises(UsageError):
            await second.orders.submit(an_order())
        assert isinstance(await ems.orders.submit(an_order()), Accepted)


async def test_a_client_that_cannot_open_lets_go_of_the_file(sim: Simulator, path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    settings = Settings(management_timeout=0.2, management_tries=1)
    with pytest.raises(NoSites):
        await EMSClient(sim.api_key, management_url=nobody, journal=path, settings=settings).open()
    async with client(sim, path) as ems:
        assert isinstance(await ems.orders.submit(an_order()), Accepted)


async def test_what_is_done_after_closing_is_told_to_be_lost(
    sim: Simulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = an_order()
    async with client(sim, path) as ems:
        sim.inject(Injection(operation="order_new", status=500, execute="never"))
        assert isinstance(await ems.orders.submit(order), Unknown)
        journal = ems.journal
    ems.orders.forget(order.client_order_id)
    assert "the journal is closed: an entry stays unresolved" in caplog.text
    with pytest.raises(UsageError, match="is closed"):
        await journal.unresolved()
    await journal.aclose(1.0)  # for the second time
    assert rows(path) == [(order.client_order_id, "unknown")]


# How it is asked for


@pytest.mark.parametrize("journal", [7, b"path", "", "a\0b", object()])
def test_what_is_no_path_is_refused_at_once(journal: Any) -> None:
    with pytest.raises(ConfigurationError, match="journal must be the path"):
        EMSClient.self_hosted("http://127.0.0.1:1", journal=journal)


@pytest.mark.parametrize("wrong", [{"journal_sync": "never"}, {"journal_keep": 0}, {"journal_keep": -1.0}])
def test_settings_of_the_journal_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="journal_"):
        Settings(**wrong)


async def test_a_self_hosted_client_keeps_one_too(sim: Simulator, path: Path) -> None:
    url = sim.site_urls[EAST]
    async with EMSClient.self_hosted(url, auth=ApiKeyHeader(), api_key=sim.api_key, journal=str(path)) as ems:
        assert isinstance(await ems.orders.submit(an_order()), Accepted)
    assert len(rows(path)) == 1
