"""The pool over connections that many exchanges share: who is let in, and for how long they had not been used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

import pytest
from h2.settings import SettingCodes

from coinapi_ems_async import Settings
from coinapi_ems_async.operations import ACCOUNT_SAVE, Request
from coinapi_ems_async.transport.base import Attempt, Connection, Owner
from coinapi_ems_async.transport.pool import SitePool

from .peer import READ, Line, order, settings_frame, until, window

pytestmark = pytest.mark.every_loop

WINDOW = 65_535


@dataclass
class Shared:
    """A pool, and the lines it opened; only the first handshake ever ends."""

    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = SitePool(self.connect, Settings(), size=64, order_share=16, per_connection=100)

    async def connect(self, owner: Owner, generation: int) -> Connection:
        if self.lines:
            await asyncio.get_running_loop().create_future()
        line = Line({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        line.connection.owner = owner
        self.lines.append(line)
        return line.connection

    def send(self, request: Request = READ) -> Attempt:
        attempt = Attempt(request, "site", until=monotonic() + 60)
        self.pool.carry(attempt)
        return attempt

    def answer(self, attempt: Attempt, stream: int) -> None:
        (line,) = self.lines
        line.hear(line.answer(stream, b"[]"))
        assert attempt.done is not None


@asynccontextmanager
async def shared() -> AsyncIterator[Shared]:
    """One that has its connection, and an exchange on stream 1."""
    made = Shared()
    made.send()
    await until(lambda: made.lines and made.lines[0].connection.running)
    yield made
    await made.pool.aclose()


def sent(*attempts: Attempt) -> list[bool]:
    return [attempt.committed is not None for attempt in attempts]


# Who is let in


async def blocked(site: Shared) -> tuple[Attempt, list[Attempt]]:
    """Use up the connection's window; return who waits for it, and who waits behind that in the pool."""
    site.send(Request(operation=ACCOUNT_SAVE, target=ACCOUNT_SAVE.path, body=b"x" * (WINDOW - 100)))
    first = site.send(order())
    behind = [site.send() for _ in range(5)]
    assert sent(first, *behind) == [False] * 6
    assert site.lines[0].connection.room() == 0
    return first, behind


async def test_when_what_kept_it_shut_is_given_up_everybody_who_waits_is_let_in() -> None:
    async with shared() as site:
        first, behind = await blocked(site)
        first.abort()
        assert sent(*behind) == [True] * 5
        assert sent(site.send()) == [True]
        assert site.pool.is_at_hand()


async def test_when_it_is_sent_at_last_everybody_who_waits_is_let_in() -> None:
    async with shared() as site:
        first, behind = await blocked(site)
        site.lines[0].hear(window(WINDOW))
        assert sent(first, *behind) == [True] * 6
        assert sent(site.send()) == [True]


async def test_a_connection_that_was_full_lets_in_as_many_as_end() -> None:
    async with shared() as site:
        (line,) = site.lines
        line.hear(settings_frame({SettingCodes.MAX_CONCURRENT_STREAMS: 2}))
        second = site.send()
        waiting = [site.send() for _ in range(3)]
        assert sent(second, *waiting) == [True, False, False, False]
        site.answer(second, 3)
        assert sent(*waiting) == [True, False, False]
        line.hear(settings_frame({SettingCodes.MAX_CONCURRENT_STREAMS: 9}))
        assert sent(*waiting) == [True] * 3
        assert sent(site.send()) == [True]


# For how long it had not been used


async def lost(site: Shared, *attempts: Attempt) -> list[float]:
    """Let the connection be lost; return for how long it had rested before each attempt that was under way."""
    site.lines[0].cable.lose(None)
    await until(lambda: all(attempt.failure is not None for attempt in attempts))
    return [site.pool.rested(attempt) for attempt in attempts]


def ago(site: Shared, seconds: float) -> None:
    """Let the last use of the connection be so long ago."""
    site.lines[0].connection.idle_since -= seconds


async def test_what_the_loss_of_a_connection_ends_does_not_count_as_its_use() -> None:
    async with shared() as site:
        site.lines[0].hear(site.lines[0].answer(1, b"[]"))
        ago(site, 7)
        burst = [site.send() for _ in range(3)]
        rests = await lost(site, *burst)
        assert all(7 <= rest < 12 for rest in rests), rests


async def test_what_is_never_without_streams_has_not_rested() -> None:
    async with shared() as site:
        ago(site, 60)
        overlapping = site.send()
        site.lines[0].hear(site.lines[0].answer(1, b"[]"))
        last = site.send()
        site.answer(overlapping, 3)
        newest = site.send()
        assert all(0 <= rest < 5 for rest in await lost(site, last, newest))


async def test_a_connection_on_which_an_answer_is_due_for_a_while_has_not_rested() -> None:
    async with shared() as site:
        site.lines[0].hear(site.lines[0].answer(1, b"[]"))
        ago(site, 7)
        slow = site.send()
        assert slow.committed is not None
        slow.committed -= 2
        quick = site.send()
        rested_before, rested_meanwhile = await lost(site, slow, quick)
        assert rested_before > 4
        assert rested_meanwhile == 0


async def test_what_was_never_sent_does_not_count_as_use() -> None:
    async with shared() as site:
        site.lines[0].hear(site.lines[0].answer(1, b"[]"))
        ago(site, 7)
        late = Attempt(READ, "site", until=monotonic() - 1)
        site.pool.carry(late)
        assert late.failure is not None
        (rest,) = await lost(site, site.send())
        assert rest >= 7
