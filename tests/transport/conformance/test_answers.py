"""Well-formed answers: each has one meaning, whatever carries it, however it is written or cut into segments."""

import gzip

import msgspec
import pytest

from coinapi_ems_async import Accepted, Unknown

from ...conftest import an_order
from ...wire import Reply, Seen, Transport, answer, report
from .forms import Form, forms_in
from .stage import EVERY_TRANSPORT, Replies, Stage, stage, success

pytestmark = pytest.mark.every_loop

YES = ("accepted", "accepted", "value")


def written(form: Form, piece: int | None = None) -> Replies:
    return lambda seen: form.reply(success(seen), piece=piece)


@EVERY_TRANSPORT
async def test_every_way_to_write_an_answer_means_the_same(transport: Transport) -> None:
    async with stage(transport) as play:
        got = {form.name: await play.says(written(form)).all_three() for form in forms_in(transport)}
    assert got == dict.fromkeys(got, YES)


@EVERY_TRANSPORT
@pytest.mark.parametrize("piece", [1, 7, 100])
async def test_segments_mean_nothing(transport: Transport, piece: int) -> None:
    async with stage(transport) as play:
        got = {form.name: await play.says(written(form, piece)).order() for form in forms_in(transport)}
    assert got == dict.fromkeys(got, "accepted")


REJECT = msgspec.json.encode({"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "message": "no"})
TIMED_OUT = REJECT.replace(b"OTHER", b"EXCHANGE_RESPONSE_TIMEOUT")
NOT_FOUND = REJECT.replace(b"OTHER", b"ORDER_ID_NOT_FOUND")
UNREACHABLE = REJECT.replace(b"OTHER", b"EXCHANGE_UNREACHABLE")
PROBLEM = b'{"title":"One or more validation errors occurred.","status":400,"errors":{"price":["too low"]}}'
PAGE = b"<html><h1>Bad Gateway</h1></html>"

SUCCESS = {201: YES, 202: YES, 203: YES, 299: YES}
NOTHING = ("unknown", "accepted", "UnexpectedAnswer")  # an order's success is its report, a cancel-all's is not
REDIRECT = ("unknown", "unknown", "UnexpectedAnswer")
NOT_FOLLOWED = ("rejected: redirect not followed",) * 2 + ("UnexpectedAnswer",)
INVALID = ("rejected: validation",) * 2 + ("ValidationFailed",)
REFUSED_CALLER = ("rejected: authentication",) * 2 + ("AuthenticationFailed",)
NOT_ROUTED = ("rejected: not routed",) * 2 + ("NotFound",)
NOT_KNOWN = ("rejected: not known here",) * 2 + ("NotFound",)
MISDIRECTED = ("rejected: not routed",) * 2 + ("UnexpectedAnswer",)
LIMITED = ("rejected: rate limited",) * 2 + ("RateLimited",)
EXCHANGE_DOWN = ("rejected: exchange unreachable",) * 2 + ("ExchangeUnreachable",)
REFUSED = ("rejected: refused",) * 2 + ("UnexpectedAnswer",)
FAILED = ("unknown", "unknown", "ServerFailed")

STATUSES: dict[tuple[int, bytes], tuple[str, ...]] = {
    **{(status, b""): REDIRECT for status in (300, 301, 302, 303, 304, 305)},
    **{(status, b""): NOT_FOLLOWED for status in (307, 308)},
    (200, b""): NOTHING,
    (202, b""): NOTHING,
    (204, b""): NOTHING,
    (400, b""): INVALID,
    (400, PROBLEM): INVALID,
    (400, REJECT): INVALID,
    (400, NOT_FOUND): NOT_KNOWN,
    (400, UNREACHABLE): EXCHANGE_DOWN,
    (400, TIMED_OUT): FAILED,
    **{(status, body): REFUSED_CALLER for status in (401, 403) for body in (b"", REJECT)},
    (404, b""): NOT_ROUTED,
    (404, REJECT): NOT_KNOWN,
    **{(405, body): NOT_ROUTED for body in (b"", REJECT)},
    **{(418, body): REFUSED for body in (b"", REJECT, PAGE)},
    **{(421, body): MISDIRECTED for body in (b"", REJECT)},
    **{(429, body): LIMITED for body in (b"", REJECT)},
    **{(490, body): EXCHANGE_DOWN for body in (b"", REJECT)},
    **{(s, body): FAILED for s in (500, 501, 502, 503, 504, 505, 599) for body in (b"", REJECT, PAGE)},
}


@EVERY_TRANSPORT
async def test_a_status_means_what_the_table_says(transport: Transport) -> None:
    got = {}
    async with stage(transport, read_attempts=1) as play:
        for status, body in STATUSES:
            got[status, body] = await refused(play, answer(body, status))
    assert got == STATUSES


async def refused(play: Stage, reply: Reply) -> tuple[str, ...]:
    """Return what three calls come to, and check that both changes reached the server once."""
    before = len(play.server.seen)
    outcomes = await play.says(lambda seen: reply).all_three()
    changes = [seen.operation for seen in play.server.seen[before:] if seen.method == "POST"]
    assert changes == ["POST /v1/orders", "POST /v1/orders/cancel/all"]
    return outcomes


@EVERY_TRANSPORT
async def test_any_2xx_is_read_as_200(transport: Transport) -> None:
    async with stage(transport) as play:
        got = {s: await play.says(lambda seen, s=s: answer(success(seen), s)).all_three() for s in SUCCESS}  # type: ignore[misc]  # bound now
    assert got == SUCCESS


@EVERY_TRANSPORT
async def test_an_answer_of_several_megabytes_is_read_whole(transport: Transport) -> None:
    one = report(Seen("GET", "/", {}, b'{"client_order_id":"id-1"}', 0, 0), error_message="x" * 1_000)
    body = b"[" + b",".join([one] * 4_000) + b"]"
    assert len(body) > 4_000_000
    async with stage(transport, lambda seen: answer(body)) as play:
        assert len(await play.ems.orders.open()) == 4_000
        outcome = await play.says(lambda seen: answer(report(seen))).ems.orders.submit(an_order())
        assert isinstance(outcome, Accepted)


@EVERY_TRANSPORT
async def test_an_answer_larger_than_the_limit_is_not_read(transport: Transport) -> None:
    async with stage(transport, max_body=10_000) as play:
        large = b"[" + b" " * 10_000 + b"]"
        assert await play.says(lambda seen: answer(large)).all_three() == ("unknown", "unknown", "ConnectionLost")
        assert await play.says(lambda seen: answer(success(seen))).order() == "accepted"


@EVERY_TRANSPORT
async def test_an_answer_that_unpacks_to_more_than_the_limit_is_not_read(transport: Transport) -> None:
    bomb = answer(gzip.compress(b"0" * 20_000_000), 200, "Content-Encoding: gzip")
    async with stage(transport, lambda seen: bomb, max_body=1_000_000, read_attempts=1) as play:
        outcome = await play.ems.orders.submit(an_order())
        assert isinstance(outcome, Unknown)
        assert "larger than" in outcome.message
        assert await play.read() == "ConnectionLost"
