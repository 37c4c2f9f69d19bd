"""What the client believes of its own orders, when several were sent under one id on purpose."""

import pytest

from coinapi_ems_async import Accepted, ExecutionReport, OrderStatus, Rejected, RejectedReason
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.outcomes import Outcome

ID = "one-id"
TAKEN = Accepted(client_order_id=ID, site="a")
REFUSED = Rejected(client_order_id=ID, site="b", reason=RejectedReason.VALIDATION, status=400)


def doubtful(copies: int) -> OrderLedger:
    ledger = OrderLedger(10)
    for _ in range(copies):
        ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    return ledger


def seen(status: OrderStatus) -> ExecutionReport:
    return ExecutionReport(exchange_id="KRAKEN", client_order_id=ID, status=status)


@pytest.mark.parametrize("late", [(TAKEN, REFUSED), (REFUSED, TAKEN)])
def test_a_refused_copy_does_not_hide_one_that_was_taken(late: tuple[Outcome, Outcome]) -> None:
    ledger = doubtful(2)
    ledger.settle(late[0])
    assert ID in ledger.unresolved
    ledger.settle(late[1])
    assert not ledger.unresolved
    assert ledger.settled[ID] is TAKEN
    assert ledger.is_spent(ID)


def test_copies_that_were_all_refused_free_the_id() -> None:
    ledger = doubtful(2)
    ledger.settle(REFUSED)
    ledger.settle(REFUSED)
    assert ledger.settled[ID] is REFUSED
    assert not ledger.is_spent(ID)


def test_a_rejected_report_settles_one_order_but_not_one_of_two() -> None:
    ledger = doubtful(2)
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert ID in ledger.unresolved
    assert ledger.is_spent(ID)
    ledger.saw(seen(OrderStatus.NEW), "a")
    assert not ledger.unresolved
    alone = doubtful(1)
    alone.saw(seen(OrderStatus.REJECTED), "a")
    assert isinstance(alone.settled[ID], Rejected)
    assert not alone.is_spent(ID)


def test_a_late_refusal_of_a_copy_does_not_free_an_id_that_was_taken() -> None:
    ledger = OrderLedger(10)
    ledger.spend(ID)
    ledger.doubt(ID, exchange_id="KRAKEN", site="b")
    ledger.settle(REFUSED)
    assert ledger.is_spent(ID)
