"""Answers that break HTTP/1.1: an error or the right value, the same one however the bytes are cut."""

from collections.abc import Iterable, Iterator

import pytest

from coinapi_ems_async.transport.http1 import MAX_HEAD

from . import corpus
from .corpus import Malformed
from .fakes import Verdict, verdict_on

CORPUS = corpus.http1()


def each(items: list[Malformed]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("item", items, ids=lambda item: item.name)


ALL = each(CORPUS)
SETTLED = each([item for item in CORPUS if not item.open])
"""Those whose verdict stands before the connection ends."""
LONG = 2_000
STRAYS = (b"\0", b"\r\n", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) >= 60
    assert len({item.name for item in CORPUS}) == len(CORPUS)


@ALL
async def test_an_answer_that_breaks_http_is_an_error_or_what_it_must_be(item: Malformed) -> None:
    verdict = verdict_on(item.data)
    assert verdict.answer == item.expected, item.why
    assert verdict.again == item.again
    assert verdict.at_once or item.open, "it waited for the end of the connection"


@ALL
async def test_the_verdict_does_not_depend_on_how_the_bytes_are_cut(item: Malformed) -> None:
    whole = verdict_on(item.data)
    wrong = {cut: got for cut, pieces in _cuts(item.data) if _told(got := verdict_on(*pieces)) != _told(whole)}
    assert wrong == {}


@SETTLED
async def test_bytes_behind_it_change_nothing_and_end_the_connection(item: Malformed) -> None:
    whole = verdict_on(item.data)
    for stray in STRAYS:
        for pieces in ((item.data + stray,), (item.data, stray), _bytewise(item.data + stray)):
            verdict = verdict_on(*pieces)
            assert (verdict.answer, verdict.row) == (whole.answer, whole.row), stray
            assert not verdict.again, stray


@each([item for item in CORPUS if item.expected is not None and not item.open and len(item.data) < LONG])
async def test_an_answer_cut_anywhere_is_an_error(item: Malformed) -> None:
    for size in range(len(item.data)):
        verdict = verdict_on(item.data[:size])
        if verdict.at_once:  # it was whole by then, and what follows is something else
            assert verdict.answer == item.expected
        else:
            assert verdict.answer is None, size


def _told(verdict: Verdict) -> Verdict:
    """What must not depend on the cuts: all but the moment, since an error may show itself early or late."""
    return verdict._replace(at_once=True)


def _cuts(data: bytes) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for at in _positions(data):
        yield f"in two at {at}", (data[:at], data[at:])
    yield "byte by byte", _bytewise(data)
    for size in (2, 3, 7):
        yield f"by {size}", _pieces(data, size)


def _positions(data: bytes) -> Iterable[int]:
    """All there are, and of long ones those where something happens."""
    if len(data) < LONG:
        return range(1, len(data))
    near_limit = range(MAX_HEAD - 5, MAX_HEAD + 6)
    return sorted({*range(1, 60), *near_limit, *range(len(data) - 60, len(data)), *range(1, len(data), 5000)})


def _bytewise(data: bytes) -> tuple[bytes, ...]:
    """Byte by byte, at least where a long one begins and ends."""
    if len(data) < LONG:
        return _pieces(data, 1)
    return (*_pieces(data[:200], 1), *_pieces(data[200:-200], 97), *_pieces(data[-200:], 1))


def _pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    size = size if len(data) < LONG else size * 101
    return tuple(data[at : at + size] for at in range(0, len(data), size))
