"""The tree of errors is what its docstring draws; outcomes become errors and back."""

import copy
import inspect
import pickle
import re

import pytest

import coinapi_ems_async
from coinapi_ems_async import (
    Accepted,
    AttemptRecord,
    Evidence,
    NotSent,
    NotSentReason,
    OrderNotSent,
    OrderRejected,
    OrderUnknown,
    Phase,
    Rejected,
    RejectedReason,
    Timing,
    Unknown,
    errors,
    outcomes,
)
from coinapi_ems_async.errors import EMSError, OrderError
from coinapi_ems_async.outcomes import error_of

LINE = re.compile(r"^(?P<indent>[│ ]*(?:├── |└── )?)(?P<name>[A-Z]\w+)(?: \((?P<also>\w+)\))?(?P<text>.*)$")


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Name -> (parent, built-in base) as the docstring draws them."""
    found: dict[str, tuple[str | None, str | None]] = {}
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if not (match := LINE.match(line)):
            continue
        level = len(match["indent"]) // 4
        also = match["also"] or next(iter(re.findall(r"\((\w+Error)\)$", line)), None)
        del stack[level:]
        found[match["name"]] = (stack[-1] if stack else None, also)
        stack.append(match["name"])
    return found


def real() -> dict[str, type[EMSError]]:
    return {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, EMSError) and cls.__module__ == errors.__name__
    }


def test_the_tree_is_what_is_drawn() -> None:
    classes = real()
    assert set(drawn()) == set(classes)
    for name, (parent, also) in drawn().items():
        bases = [base.__name__ for base in classes[name].__bases__]
        assert bases == [one for one in (parent or "Exception", also) if one], name


def test_every_class_is_public() -> None:
    assert set(errors.__all__) == set(real())
    assert set(errors.__all__) <= set(coinapi_ems_async.__all__)
    assert sorted(errors.__all__) == errors.__all__
    for name in errors.__all__:
        assert getattr(coinapi_ems_async, name) is getattr(errors, name)
        assert inspect.getdoc(getattr(errors, name))


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_be_copied_and_pickled(name: str) -> None:
    error = real()[name]("what happened", client_order_id="a", site="s", phase="committed")
    assert str(error) == "what happened [client_order_id a, site s, phase committed]"
    assert error.attempts == ()
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
    assert str(real()[name]("alone")) == "alone"


ATTEMPTS = (
    AttemptRecord(site="east", phase=Phase.WAITING, milliseconds=1.25, failure="refused"),
    AttemptRecord(site="west", phase=Phase.ANSWERED, milliseconds=2.0, status=400),
    AttemptRecord(site="west", phase=Phase.COMMITTED, milliseconds=3.0),
)


@pytest.mark.parametrize(
    ("outcome", "cls", "said"),
    [
        (
            Rejected(
                client_order_id="a", reason=RejectedReason.VALIDATION, status=400, message="no", attempts=ATTEMPTS
            ),
            OrderRejected,
            "rejected (validation, HTTP 400): no",
        ),
        (
            Rejected(client_order_id="a", reason=RejectedReason.AUTHENTICATION, status=401, attempts=ATTEMPTS),
            OrderRejected,
            "rejected (authentication, HTTP 401)",
        ),
        (
            NotSent(client_order_id="a", reason=NotSentReason.DEADLINE, message="late", attempts=ATTEMPTS),
            OrderNotSent,
            "not sent (deadline): late",
        ),
        (Unknown(client_order_id="a", message="lost", attempts=ATTEMPTS), OrderUnknown, "outcome unknown (lost)"),
    ],
)
def test_an_outcome_becomes_its_error(
    outcome: Rejected | NotSent | Unknown, cls: type[OrderError], said: str
) -> None:
    error = error_of(outcome)
    assert type(error) is cls
    assert error.message.startswith(said)
    assert error.outcome is outcome
    assert (error.client_order_id, error.phase, error.attempts) == ("a", "committed", ATTEMPTS)
    assert isinstance(error, EMSError)
    without = error_of(Unknown(client_order_id=None))
    assert (without.phase, without.attempts) == (None, ())


def test_a_rejection_carries_the_exchanges_report() -> None:
    report = coinapi_ems_async.ExecutionReport(
        exchange_id="K", client_order_id="a", status=coinapi_ems_async.OrderStatus.REJECTED
    )
    outcome = Rejected(client_order_id="a", reason=RejectedReason.EXCHANGE, status=200, report=report)
    error = error_of(outcome)
    assert isinstance(error, OrderRejected)
    assert error.report is report
    assert "ExecutionReport" in repr(outcome)


def test_records_say_how_an_attempt_ended() -> None:
    assert [str(record) for record in ATTEMPTS] == [
        "east: refused after 1.2 ms (waiting)",
        "west: HTTP 400 after 2.0 ms (answered)",
        "west: committed after 3.0 ms (committed)",
    ]
    assert str(Evidence(what="lost", site="east")) == "east: lost"
    assert str(Evidence(what="lost")) == "lost"


def test_timing_knows_what_it_lacks() -> None:
    whole = Timing(started=1.0, committed=2.0, first_byte=3.0, done=4.0, decoded=5.5)
    assert (whole.total, whole.round_trip) == (4.5, 2.0)
    assert (Timing(started=1.0).total, Timing(started=1.0).round_trip) == (None, None)
    assert Timing(started=1.0, done=2.0).round_trip is None


def test_an_outcome_shows_what_it_has() -> None:
    accepted = Accepted(client_order_id="a", message="Ok", raw=b"never shown")
    assert repr(accepted) == "Accepted(client_order_id='a', message='Ok')"
    assert list(accepted.__rich_repr__()) == [("client_order_id", "a"), ("message", "Ok")]


def test_what_outcomes_offers_is_public() -> None:
    assert set(outcomes.__all__) - {"error_of"} <= set(coinapi_ems_async.__all__)
