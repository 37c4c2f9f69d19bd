"""Calls that end in every way there is, without any server: what is recorded of them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import NoReturn

import pytest

from coinapi_ems_async import (
    Accepted,
    ConfigurationError,
    Evidence,
    NotSent,
    NotSentReason,
    Settings,
    Unknown,
    operations,
)
from coinapi_ems_async.calls import Call, outcome_of
from coinapi_ems_async.journal.journal import Journal
from coinapi_ems_async.journal.orders import OrderRecorder
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.outcomes import Outcome

from ..conftest import an_order
from .helpers import rows

ID = "one-id"
TAKEN = Accepted(client_order_id=ID, site="a")
EARLIER = Accepted(client_order_id=ID, site="earlier")

Run = Callable[[Call], Awaitable[None]]


async def carried(path: Path, ledger: OrderLedger, run: Run, outcome: Outcome | None = None) -> Exception | None:
    """Carry one order; returns what came out of that, if anything did."""
    journal = await Journal.open(path, Settings())
    ledger.listeners.append(journal.resolved)
    recorder = OrderRecorder(journal, lambda call: outcome or outcome_of(call))
    request = operations.new_order(an_order(client_order_id=ID))
    try:
        await recorder.carry(Call(request, started=monotonic(), timeout=10.0), "a", run)
    except asyncio.CancelledError:
        return RuntimeError("cancelled")
    except Exception as error:
        return error
    finally:
        await journal.aclose(5.0)
    return None


def ends(error: BaseException | None, *before: Callable[[Call], None]) -> Run:
    async def run(call: Call) -> None:
        for step in before:
            step(call)
        if error is not None:
            raise error

    return run


def doubts(ledger: OrderLedger) -> Callable[[Call], None]:
    """Leave the order unresolved."""

    def step(call: Call) -> None:
        evidence = (Evidence(what="lost"),)
        call.doubt = ledger.doubt(ID, exchange_id="KRAKEN", site="a", evidence=evidence, number=call.number)

    return step


def settles(ledger: OrderLedger, outcome: Outcome) -> Callable[[Call], None]:
    """Hear what became of it."""

    def step(call: Call) -> None:
        assert call.doubt is not None
        ledger.settle(call.doubt, outcome)

    return step


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (asyncio.CancelledError(), ("not sent", "abandoned")),
        (ConfigurationError("the bearer supplier failed"), ("not sent", "abandoned")),
        (RuntimeError("a bug"), ("unknown", "RuntimeError")),
    ],
)
async def test_only_what_is_proved_is_recorded_as_not_sent(
    tmp_path: Path, error: BaseException, recorded: tuple[str, str]
) -> None:
    assert await carried(tmp_path / "j", OrderLedger(10), ends(error)) is not None
    assert rows(tmp_path / "j", "outcome, reason") == [recorded]


async def test_a_committed_order_whose_caller_went_away_is_unknown(tmp_path: Path) -> None:
    ledger = OrderLedger(10)
    await carried(tmp_path / "j", ledger, ends(asyncio.CancelledError(), doubts(ledger)))
    assert rows(tmp_path / "j") == [(ID, "unknown")]


async def test_an_answer_that_came_together_with_the_cancellation_counts(tmp_path: Path) -> None:
    ledger = OrderLedger(10)
    steps = (doubts(ledger), settles(ledger, TAKEN))
    await carried(tmp_path / "j", ledger, ends(asyncio.CancelledError(), *steps))
    assert rows(tmp_path / "j", "outcome, site") == [("accepted", "a")]


@pytest.mark.parametrize("is_settled", [True, False])
async def test_what_became_of_an_earlier_copy_says_nothing_of_this_one(tmp_path: Path, is_settled: bool) -> None:
    ledger = OrderLedger(10)
    earlier = ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    if is_settled:
        ledger.settle(earlier, EARLIER)
    await carried(tmp_path / "j", ledger, ends(asyncio.CancelledError()))
    assert rows(tmp_path / "j", "outcome, site") == [("not sent", None)]


async def test_an_unknown_order_that_is_resolved_already_is_recorded_as_that(tmp_path: Path) -> None:
    ledger = OrderLedger(10)
    steps = (doubts(ledger), settles(ledger, TAKEN))
    unknown = Unknown(client_order_id=ID, site="a")
    assert await carried(tmp_path / "j", ledger, ends(None, *steps), unknown) is None
    assert rows(tmp_path / "j", "outcome, site") == [("accepted", "a")]


async def test_an_order_that_is_not_recorded_is_not_run(tmp_path: Path) -> None:
    async def run(_call: Call) -> NoReturn:
        raise AssertionError("it ran")

    journal = await Journal.open(tmp_path / "j", Settings())
    await journal.aclose(5.0)
    recorder = OrderRecorder(journal, outcome_of)
    call = Call(operations.new_order(an_order()), started=monotonic(), timeout=10.0)
    await recorder.carry(call, "a", run)
    assert isinstance(call.outcome, NotSent)
    assert call.outcome.reason is NotSentReason.JOURNAL
    assert call.outcome.message == "the journal could not record it: the journal is closed"
    assert rows(tmp_path / "j") == []
    health = journal.health()
    assert health.failures == 2  # the order, and that it was not sent
