from coinapi_ems_async import ValidationFailed
from coinapi_ems_async.models.rejects import read_problem

BODY = b'{"type":"about:blank","title":"Bad","status":400,"traceId":"00-ab","errors":{"price":["too low"]}}'


def test_the_frameworks_refusal_by_field() -> None:
    problem = ValidationFailed("no", status=400, raw=BODY).problem
    assert problem is not None
    assert problem.errors == {"price": ["too low"]}
    assert (problem.title, problem.traceId) == ("Bad", "00-ab")


def test_other_bodies_are_none() -> None:
    for body in (b"", b"no", b"[]", b"{}", b'{"message":"Orders log is not configured"}'):
        assert read_problem(body) is None
