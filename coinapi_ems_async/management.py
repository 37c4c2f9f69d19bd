"""Calls of the Managed Cloud REST API: one server, always over aiohttp, one call at a time."""

import asyncio
import random
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from .answers import error_for, retry_after_seconds
from .auth import Auth
from .errors import EMSError, RateLimited, ServerFailed, TransportError
from .matrix import Row
from .observer import Observer
from .operations import Request
from .outcomes import AttemptRecord
from .redaction import Redaction
from .settings import Settings
from .transport.base import Attempt, Pool, TransportFailure

__all__ = ["Management"]

_FIRST_PAUSE: Final = 0.5
_MOST_PAUSE: Final = 10.0
_DEFAULT_RETRY_AFTER: Final = 1.0
_SITE: Final = "management"


class Management:
    """The Managed Cloud API behind one pool.

    Calls wait for each other: the API limits how many a key may have at once, without saying to how many.
    """

    def __init__(
        self, pool: Pool, auth: Auth, settings: Settings, observer: Observer, redaction: Redaction
    ) -> None:
        self._pool = pool
        self._auth = auth
        self._settings = settings
        self._observer = observer
        self._redaction = redaction
        self._turn = asyncio.Lock()

    async def call(self, request: Request, *, timeout: float | None = None, tries: int | None = None) -> Any:
        """Return the value of a call.

        timeout: of each try, seconds. Reads are tried again after lost connections and server failures, with
        full jitter over 0.5 and 1 s, and after 429 when its Retry-After is 10 s at most (1 s if there is none);
        calls that change something are sent once. tries: how often in all.
        Raises AnswerError or TransportError: as the tree in `errors` says.
        """
        started = monotonic()
        attempts: list[Attempt] = []
        ended = "value"
        try:
            return await self._call(request, timeout, tries, attempts)
        except BaseException as error:
            ended = "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
            raise
        finally:
            if self._observer.is_watching:
                timing = attempts[-1].timing(started) if attempts else None
                self._observer.tell(request, ended, timing, _records(attempts))

    async def _call(
        self, request: Request, timeout: float | None, tries: int | None, attempts: list[Attempt]
    ) -> Any:
        if tries is None:
            tries = self._settings.management_tries if request.operation.method == "GET" else 1
        while True:
            try:
                return await self._once(request, timeout or self._settings.management_timeout, attempts)
            except (TransportError, ServerFailed, RateLimited) as error:
                pause = _pause(error, len(attempts))
                if len(attempts) >= tries or pause > _MOST_PAUSE:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, request: Request, timeout: float, attempts: list[Attempt]) -> Any:
        token = await self._auth.token(timeout)
        attempt = await self._in_turn(request, timeout, token)
        attempts.append(attempt)
        records = _records(attempts)
        if attempt.answer is None:
            failure = attempt.failure or _out_of_time(attempt)
            raise self._error(attempt, failure.row, failure.message, records)
        assert attempt.reading is not None  # noqa: S101  # whoever has an answer has read it
        reading = attempt.reading
        if reading.row is Row.SUCCESS:
            return reading.value
        raise self._error(attempt, reading.row, reading.message, records)

    async def _in_turn(self, request: Request, timeout: float, token: str | None) -> Attempt:
        """Make one attempt when the calls before are done; waiting for that counts apart, and is bounded too."""
        try:
            async with asyncio.timeout(timeout):
                await self._turn.acquire()
        except TimeoutError:
            waiting = Attempt(request, _SITE, until=monotonic())
            waiting.fail(TransportFailure(Row.POOL_WAIT, "other calls of the management API took all the time"))
            return waiting
        try:
            until = monotonic() + timeout
            attempt = Attempt(request, _SITE, until, bearer=token, redaction=self._redaction)
            await self._carry(attempt)
            return attempt
        finally:
            self._turn.release()

    async def _carry(self, attempt: Attempt) -> None:
        self._pool.carry(attempt)
        try:
            await attempt.wait()
        finally:
            attempt.abort()

    def _error(self, attempt: Attempt, row: Row, message: str, records: tuple[AttemptRecord, ...]) -> EMSError:
        reading = attempt.reading
        return error_for(
            attempt.request,
            row,
            message,
            status=reading.status if reading else 0,
            raw=attempt.answer.body if attempt.answer else b"",
            shown=attempt.shown_body(),
            site=_SITE,
            phase=records[-1].phase,
            attempts=records,
            retry_after=retry_after_seconds(reading.retry_after, datetime.now(UTC)) if reading else None,
        )

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


def _records(attempts: list[Attempt]) -> tuple[AttemptRecord, ...]:
    return tuple(attempt.record() for attempt in attempts)


def _pause(error: EMSError, tries: int) -> float:
    if isinstance(error, RateLimited):
        return _DEFAULT_RETRY_AFTER if error.retry_after is None else error.retry_after
    return random.uniform(0, _FIRST_PAUSE * 2 ** (tries - 1))  # noqa: S311  # spreads load, protects nothing


def _out_of_time(attempt: Attempt) -> TransportFailure:
    return TransportFailure(Row.CONNECT_TIMEOUT if attempt.committed is None else Row.NO_ANSWER)
