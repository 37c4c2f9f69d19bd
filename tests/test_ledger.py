"""What the client believes of its own orders, when several were sent under one id on purpose."""

import pytest

from coinapi_ems_async import (
    Accepted,
    ExecutionReport,
    NotSent,
    NotSentReason,
    OrderStatus,
    Rejected,
    RejectedReason,
)
from coinapi_ems_async.doubts import is_of_another
from coinapi_ems_async.ledger import OrderLedger
from coinapi_ems_async.outcomes import Outcome

ID = "one-id"
TAKEN = Accepted(client_order_id=ID, site="a")
REFUSED = Rejected(client_order_id=ID, site="b", reason=RejectedReason.VALIDATION, status=400)


def doubtful(copies: int, exchange_id: str | None = "KRAKEN") -> OrderLedger:
    ledger = OrderLedger(10)
    for _ in range(copies):
        ledger.doubt(ID, exchange_id=exchange_id, site="a")
    return ledger


def settle(ledger: OrderLedger, outcome: Outcome) -> None:
    """Take in the late answer of the oldest that is unresolved."""
    ledger.settle(ledger.doubts(ID)[0], outcome)


def seen(status: OrderStatus, exchange_id: str = "KRAKEN") -> ExecutionReport:
    return ExecutionReport(exchange_id=exchange_id, client_order_id=ID, status=status)


@pytest.mark.parametrize("late", [(TAKEN, REFUSED), (REFUSED, TAKEN)])
def test_a_refused_copy_does_not_hide_one_that_was_taken(late: tuple[Outcome, Outcome]) -> None:
    ledger = doubtful(2)
    settle(ledger, late[0])
    assert ID in ledger.unresolved
    settle(ledger, late[1])
    assert not ledger.unresolved
    assert ledger.settled[ID] is TAKEN
    assert ledger.is_spent(ID)


def test_copies_that_were_all_refused_free_the_id() -> None:
    ledger = doubtful(2)
    settle(ledger, REFUSED)
    settle(ledger, REFUSED)
    assert ledger.settled[ID] is REFUSED
    assert not ledger.is_spent(ID)


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.REJECTED])
def test_a_report_settles_one_order_and_none_of_two(status: OrderStatus) -> None:
    ledger = doubtful(2)
    for _ in range(2):  # it is of one of the two, and nobody knows of which, nor of the other
        ledger.saw(seen(status), "a")
    assert len(ledger.doubts(ID)) == 2
    assert not ledger.settled
    assert "may be about another order" in ledger.unresolved[ID].evidence[-1].what
    alone = doubtful(1)
    alone.saw(seen(status), "a")
    assert not alone.unresolved
    assert isinstance(alone.settled[ID], Rejected if status == OrderStatus.REJECTED else Accepted)
    assert alone.is_spent(ID) is (status != OrderStatus.REJECTED)


def test_once_one_of_two_was_refused_the_report_is_of_the_other() -> None:
    ledger = doubtful(2)
    settle(ledger, REFUSED)
    ledger.saw(seen(OrderStatus.NEW), "a")
    assert isinstance(ledger.settled[ID], Accepted)


def test_what_is_settled_is_not_settled_by_a_later_answer() -> None:
    ledger, told = doubtful(2), list[Outcome | None]()
    ledger.listeners.append(lambda _doubt, outcome: told.append(outcome))
    first, second = ledger.doubts(ID)
    ledger.settle(first, TAKEN)
    ledger.settle(first, REFUSED)
    assert ledger.doubts(ID) == (second,)
    ledger.forget(ID)
    ledger.settle(second, REFUSED)
    assert told == [TAKEN, None]
    assert (first.outcome, second.outcome, second.is_over) == (TAKEN, None, True)


@pytest.mark.parametrize("ends", ["taken", "refused", "unknown"])
def test_no_report_settles_an_order_while_another_under_its_id_is_in_flight(ends: str) -> None:
    ledger = doubtful(1)
    assert ledger.begin(ID, again=True)
    ledger.saw(seen(OrderStatus.NEW), "a")
    assert ID in ledger.unresolved
    ledger.taken_by(ID, "a")
    ledger.end(ID, taken=ends == "taken")
    if ends == "unknown":
        ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    ledger.saw(seen(OrderStatus.NEW), "a")
    assert (ID in ledger.unresolved) is (ends != "refused")


@pytest.mark.parametrize(
    ("mine", "told", "is_another"),
    [
        ("KRAKEN/JOHN", "KRAKEN/JOHN", False),
        ("KRAKEN/JOHN", "KRAKEN", False),
        ("KRAKEN", "KRAKEN/JOHN", False),
        (None, "KRAKEN/JOHN", False),
        ("KRAKEN/JOHN", "KRAKEN/MARY", True),
        ("KRAKEN/JOHN", "BITMEX/JOHN", True),
        ("KRAKEN", "BITMEX", True),
    ],
)
def test_the_report_of_another_account_settles_nothing(mine: str | None, told: str, is_another: bool) -> None:
    ledger = doubtful(1, mine)
    for status in (OrderStatus.REJECTED, OrderStatus.NEW):
        report = seen(status, told)
        assert is_of_another(report, mine) is is_another
        assert ledger.is_ambiguous(report) is is_another
    ledger.saw(seen(OrderStatus.NEW, told), "a")
    assert (ID in ledger.unresolved) is is_another
    if is_another:
        assert told in ledger.unresolved[ID].evidence[-1].what


def test_what_was_told_of_an_earlier_order_is_not_told_of_a_later_one() -> None:
    ledger = doubtful(1)
    settle(ledger, REFUSED)
    assert ledger.settled[ID] is REFUSED
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    assert ID not in ledger.settled
    ledger.forget(ID)
    assert ID not in ledger.settled


def test_an_id_that_was_taken_is_known_as_long_as_an_order_under_it_is_unresolved() -> None:
    ledger = OrderLedger(2)
    ledger.spend(ID)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    for number in range(9):
        ledger.spend(str(number))
    ledger.saw(seen(OrderStatus.NEW), "a")
    assert ID in ledger.unresolved
    settle(ledger, REFUSED)
    assert not ledger.is_spent(ID), "as long as any other"


def test_an_order_that_was_not_processed_after_all_was_never_sent() -> None:
    ledger = OrderLedger(10)
    assert ledger.begin(ID, again=False)
    ledger.taken_by(ID, "a")
    ledger.end(ID, taken=False)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    outcome = NotSent(client_order_id=ID, reason=NotSentReason.NOT_PROCESSED)
    settle(ledger, outcome)
    assert ledger.settled[ID] is outcome
    assert ledger.unsent(ID) == outcome
    assert ledger.taker(ID) is None
    assert not ledger.is_spent(ID)


def test_a_late_refusal_of_a_copy_does_not_free_an_id_that_was_taken() -> None:
    ledger = OrderLedger(10)
    ledger.spend(ID)
    ledger.doubt(ID, exchange_id="KRAKEN", site="b")
    settle(ledger, REFUSED)
    assert ledger.is_spent(ID)


def refused_before() -> OrderLedger:
    """Of two orders sent one after the other under one id, the first was refused and the second is unknown."""
    ledger = OrderLedger(10)
    for _ in range(2):
        assert ledger.begin(ID, again=False)
        ledger.taken_by(ID, "a")
        ledger.end(ID, taken=False)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    return ledger


def test_the_report_of_an_order_refused_before_does_not_settle_the_one_after_it() -> None:
    ledger = refused_before()
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert ID in ledger.unresolved
    ledger.saw(seen(OrderStatus.ROUTED), "a")
    assert isinstance(ledger.settled[ID], Accepted)


def test_that_is_so_however_many_orders_were_sent_since() -> None:
    ledger = refused_before()
    for number in range(20):
        assert ledger.begin(str(number), again=False)
        ledger.taken_by(str(number), "a")
        ledger.end(str(number), taken=True)
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert ID in ledger.unresolved
    assert "may be about another order" in ledger.unresolved[ID].evidence[-1].what


def test_an_order_found_unresolved_and_refused_was_sent_before_the_next() -> None:
    ledger = doubtful(1)
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert not ledger.unresolved
    assert ledger.begin(ID, again=False)
    ledger.taken_by(ID, "b")
    ledger.end(ID, taken=False)
    ledger.doubt(ID, exchange_id="KRAKEN", site="b")
    assert ledger.is_ambiguous(seen(OrderStatus.REJECTED))
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert ID in ledger.unresolved


def test_its_own_answer_settles_it_all_the_same() -> None:
    ledger = refused_before()
    settle(ledger, REFUSED)
    assert ledger.settled[ID] is REFUSED


def test_one_of_two_at_a_time_that_was_refused_does_not_settle_the_other() -> None:
    ledger = OrderLedger(10)
    assert ledger.begin(ID, again=False)
    assert ledger.begin(ID, again=True)
    ledger.taken_by(ID, "a")
    ledger.end(ID, taken=False)  # the second was refused
    ledger.end(ID, taken=False)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert ID in ledger.unresolved


def test_an_id_that_was_sent_once_after_all_is_not_taken_for_a_reused_one() -> None:
    ledger = OrderLedger(10)
    for again in (False, True):
        assert ledger.begin(ID, again=again)
    for _ in range(2):  # neither was sent
        ledger.end(ID, taken=False)
    assert ledger.begin(ID, again=False)
    ledger.taken_by(ID, "a")
    ledger.end(ID, taken=False)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    ledger.saw(seen(OrderStatus.REJECTED), "a")
    assert isinstance(ledger.settled[ID], Rejected)


def unsent(name: str) -> NotSent:
    return NotSent(client_order_id=name, reason=NotSentReason.DEADLINE)


def test_of_orders_that_were_not_sent_so_many_are_remembered() -> None:
    ledger = OrderLedger(10)
    for number in range(1_001):
        ledger.not_sent(unsent(str(number)))
    assert ledger.unsent("0") is None
    assert ledger.unsent("1") == unsent("1")


def test_an_id_under_which_an_order_was_sent_later_is_not_said_to_be_unsent() -> None:
    ledger = OrderLedger(10)
    ledger.not_sent(unsent(ID))
    assert ledger.begin(ID, again=False)
    assert ledger.unsent(ID) is None  # it may be, any moment
    ledger.taken_by(ID, "a")
    ledger.end(ID, taken=False)  # it was refused
    assert ledger.unsent(ID) is None
    ledger.not_sent(unsent(ID))  # a third time: what a site says of the second would be about this id
    assert ledger.unsent(ID) is None


@pytest.mark.parametrize(
    "status", [OrderStatus.ROUTED, OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED]
)
def test_no_report_settles_a_second_order_under_the_id_of_one_that_was_taken(status: OrderStatus) -> None:
    ledger = OrderLedger(10)
    for taken in (True, False):
        assert ledger.begin(ID, again=not taken)
        ledger.taken_by(ID, "a")
        ledger.end(ID, taken=taken)
    ledger.doubt(ID, exchange_id="KRAKEN", site="a")
    ledger.saw(seen(status), "a")
    assert ledger.unresolved[ID].evidence[-1].what == (
        f"its status is {status}, which may be about another order with its id, at KRAKEN"
    )
    settle(ledger, REFUSED)  # its own answer, late
    assert ID not in ledger.unresolved
