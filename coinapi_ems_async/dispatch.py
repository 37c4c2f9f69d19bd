"""One call: choose a site, get a connection, commit, read the answer, and do what the table says.

Nothing here decides what may be repeated: `matrix.MATRIX` does. Here is how each of its moves is made.
"""

import asyncio
import contextlib
import logging
import random
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from . import operations
from .answers import read_answer, retry_after_seconds
from .auth import Auth
from .budget import RetryBudget
from .calls import Call, Try, outcome_of, read_error, settled_as, with_evidence
from .errors import EMSError
from .ledger import OrderLedger
from .matrix import MATRIX, Kind, Move, Row
from .models.orders import ExecutionReport
from .operations import Request
from .outcomes import Accepted, NotSent, NotSentReason, Outcome, Unknown
from .settings import Settings
from .sites.roster import Roster, SiteEntry
from .transport.base import Attempt, Lease, TransportFailure

__all__ = ["Dispatcher"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

_FIRST_PAUSE: Final = 0.05
_MOST_PAUSE: Final = 2.0
_DEFAULT_RETRY_AFTER: Final = 1.0


class Dispatcher:
    """Carries calls to EMS sites."""

    def __init__(self, roster: Roster, ledger: OrderLedger, settings: Settings, auth: Auth) -> None:
        self._roster = roster
        self._ledger = ledger
        self._settings = settings
        self._auth = auth
        self._budget = RetryBudget()
        self._random = random.Random()  # noqa: S311  # spreads load, protects nothing
        self._listening: set[Attempt] = set()
        self._orphans: dict[Attempt, tuple[Call, SiteEntry, Lease, asyncio.TimerHandle]] = {}
        self._settled = asyncio.Event()
        self._closing = False

    async def new_order(
        self,
        request: Request,
        *,
        timeout: float,
        not_after: float | None = None,
        allow_duplicate_id: bool = False,
    ) -> Outcome:
        """Send a new order and return its outcome.

        An id that is in flight, unresolved, or was taken before is refused unless `allow_duplicate_id`.
        Raises ConfigurationError: if the bearer supplier fails; nothing was sent then.
        """
        name = request.client_order_id or ""
        if self._ledger.is_spent(name) and not allow_duplicate_id:
            return NotSent(
                client_order_id=name,
                reason=NotSentReason.DUPLICATE,
                message=f"{name} is in flight, unresolved, or was taken before: a new order needs a new id",
            )
        self._ledger.begin(name)
        try:
            outcome = await self.change(request, timeout=timeout, not_after=not_after)
            if isinstance(outcome, Unknown):
                self._ledger.doubt(
                    name, exchange_id=request.exchange_id, site=outcome.site, evidence=outcome.evidence
                )
            elif isinstance(outcome, Accepted):
                self._ledger.spend(name)
            return outcome
        finally:
            self._ledger.end(name)

    async def change(self, request: Request, *, timeout: float, not_after: float | None = None) -> Outcome:
        """Send a new order, a cancel or a cancel-all and return its outcome.

        Raises ConfigurationError: if the bearer supplier fails; nothing was sent then.
        """
        call = Call(request, started=monotonic(), timeout=timeout, not_after=not_after)
        await self._run(call)
        outcome = self._outcome(call)
        if isinstance(outcome, Unknown) and request.kind is Kind.CANCEL_ONE:
            outcome = await self._recheck(call, outcome)
        if isinstance(outcome, Accepted) and request.kind is Kind.CANCEL_ONE:
            self._saw(outcome.report, outcome.site)
        if isinstance(outcome, Unknown) and request.kind is not Kind.NEW_ORDER:
            log.warning("%s at site %s: outcome unknown: %s", request.kind, outcome.site, outcome.message)
        return outcome

    async def read(self, request: Request, *, timeout: float) -> Any:
        """Return the value of a read. Raises EMSError: as the tree in `errors` says."""
        call = Call(request, started=monotonic(), timeout=timeout)
        self._budget.earn()
        await self._run(call)
        last = call.tries[-1] if call.tries else None
        if last is not None and last.row is Row.SUCCESS and last.reading is not None:
            self._saw(last.reading.value, last.entry.site.id)
            return last.reading.value
        raise read_error(call, no_site=lambda: self._no_site(request))

    # The loop

    async def _run(self, call: Call) -> None:
        """Make attempts until the table says stop, the sites are used up, or the time is over."""
        while True:
            entry = self._pick(call)
            if entry is None:
                return
            one = await self._try(call, entry)
            call.tries.append(one)
            call.tried.add(entry.site.url)
            self._roster.note(entry, one.row, one.message)
            if monotonic() >= call.until or not await self._goes_on(call, one):
                return

    def _pick(self, call: Call) -> SiteEntry | None:
        if call.again is not None:
            entry, call.again = call.again, None
            return entry
        ranked = self._roster.ranked(
            call.request.exchange_id,
            tried=call.tried,
            preferred=None if call.kind is Kind.NEW_ORDER else self._ledger.taker(call.request.client_order_id),
        )
        if not ranked or (ranked[0].site.url in call.tried and call.kind is not Kind.READ):
            return None
        return ranked[0]

    async def _goes_on(self, call: Call, one: Try) -> bool:
        """Make the table's move; returns whether there is another attempt to make."""
        move = MATRIX[one.row].for_kind(call.kind)
        if move is Move.SAME_THEN_NEXT and call.first_time(move):
            call.again = one.entry
            return call.kind is not Kind.READ or one.attempt.committed is None or self._may_repeat(call)
        if move is Move.AFFINE_ONCE:
            return self._asks_elsewhere(call, one)
        if move is Move.SAME_LATER:
            return await self._after_pause(call, one)
        if move is Move.NEXT_ONCE and not call.first_time(move):
            return False
        if move in (Move.NEXT, Move.NEXT_ONCE, Move.SAME_THEN_NEXT):
            return await self._to_next(call, one)
        return False

    async def _to_next(self, call: Call, one: Try) -> bool:
        """Before the commit point every site may be visited once; after it only reads go on, within bounds."""
        untried = self._untried(call)
        if one.attempt.committed is None or call.kind is not Kind.READ:
            return untried
        if not self._may_repeat(call):
            return False
        if untried:
            return True
        return await self._pause(call, self._random.uniform(0, min(_FIRST_PAUSE * 2**call.sent, _MOST_PAUSE)))

    def _may_repeat(self, call: Call) -> bool:
        return call.sent < self._settings.read_attempts and self._budget.spend()

    def _asks_elsewhere(self, call: Call, one: Try) -> bool:
        """An order is not known here: ask the site that took it, or, of a status, every capable site in turn."""
        taker = self._ledger.taker(call.request.client_order_id)
        if taker is not None and taker in self._roster.entries:
            if taker in call.tried or one.entry.site.url == taker:
                return False
            call.again = self._roster.entries[taker]
            return True
        if call.request.operation is not operations.ORDER_STATUS:
            return False
        return self._untried(call)

    def _untried(self, call: Call, but: SiteEntry | None = None) -> bool:
        """Whether the call has not been to every capable site yet."""
        capable = self._roster.directory.capable(call.request.exchange_id)
        return any(site.url not in call.tried and (but is None or site.url != but.site.url) for site in capable)

    async def _after_pause(self, call: Call, one: Try) -> bool:
        text = one.reading.retry_after if one.reading else None
        pause = retry_after_seconds(text, datetime.now(UTC))
        pause = _DEFAULT_RETRY_AFTER if pause is None else pause
        call.again = one.entry
        fits = monotonic() + pause < call.until
        return fits and self._may_repeat(call) and await self._pause(call, pause)

    async def _pause(self, call: Call, seconds: float) -> bool:
        """Sleep; returns at once and False if the call's time would be over."""
        if monotonic() + seconds >= call.until:
            return False
        await asyncio.sleep(seconds)
        return True

    # One attempt

    async def _try(self, call: Call, entry: SiteEntry) -> Try:
        token = await self._auth.token(call.until - monotonic())
        is_change = call.kind is not Kind.READ
        until = call.until if is_change else min(call.until, monotonic() + self._settings.read_try_timeout)
        attempt = Attempt(call.request, entry.site.id, until=until, not_after=call.not_after, bearer=token)
        patience = self._settings.pool_timeout if self._untried(call, but=entry) else until - monotonic()
        try:
            lease = await entry.pool.acquire(for_order=is_change, until=min(until, monotonic() + patience))
        except TransportFailure as failure:
            attempt.fail(failure)
            return self._concluded(call, entry, attempt)
        if self._closing:
            attempt.withdraw()
        if is_change:
            self._listening.add(attempt)
            attempt.on_settled = self._heard
        lease.exchange(attempt)
        try:
            await attempt.wait()
        except asyncio.CancelledError:
            self._left_alone(call, entry, attempt, lease)
            raise
        if call.kind is Kind.NEW_ORDER and attempt.committed is not None:
            self._ledger.taken_by(call.request.client_order_id or "", entry.site.url)
        return self._ended(call, entry, attempt, lease)

    def _ended(self, call: Call, entry: SiteEntry, attempt: Attempt, lease: Lease) -> Try:
        if attempt.settled:
            one = self._concluded(call, entry, attempt)
            if one.row is Row.OUT_OF_STEP:
                lease.discard()
            return one
        if attempt.withdraw():
            lease.abort()
            row = Row.ABANDONED if monotonic() >= call.until else Row.CONNECT_TIMEOUT
            return Try(entry, attempt, row, "the time was over before it was sent")
        if call.kind is Kind.READ:
            lease.abort()
        else:
            self._adopt(call, entry, attempt, lease)
        return Try(entry, attempt, Row.NO_ANSWER, Row.NO_ANSWER.value)

    @staticmethod
    def _concluded(call: Call, entry: SiteEntry, attempt: Attempt) -> Try:
        """How a settled attempt ended."""
        if (answer := attempt.answer) is not None:
            reading = read_answer(call.request, answer.status, answer.headers, answer.body)
            return Try(entry, attempt, reading.row, reading.message or reading.row.value, reading)
        failure = attempt.failure or TransportFailure(Row.NO_ANSWER)
        late = failure.row is Row.ABANDONED and call.kind is Kind.READ and monotonic() < call.until
        return Try(entry, attempt, Row.CONNECT_TIMEOUT if late else failure.row, failure.message)

    # Changes whose caller is gone

    def _left_alone(self, call: Call, entry: SiteEntry, attempt: Attempt, lease: Lease) -> None:
        """The caller was cancelled: what is not committed never will be, what is committed goes on alone."""
        if attempt.withdraw() or call.kind is Kind.READ:
            lease.abort()
            return
        name = call.request.client_order_id
        if call.kind is Kind.NEW_ORDER and name is not None:
            self._ledger.taken_by(name, entry.site.url)
            self._ledger.doubt(name, exchange_id=call.request.exchange_id, site=entry.site.id)
        self._adopt(call, entry, attempt, lease)

    def _adopt(self, call: Call, entry: SiteEntry, attempt: Attempt, lease: Lease) -> None:
        """Listen to a committed change for a while, though nobody waits for it any more."""
        wait = max(0.0, call.until - monotonic()) + self._settings.late_answer
        timer = asyncio.get_running_loop().call_later(wait, lease.abort)
        self._orphans[attempt] = (call, entry, lease, timer)
        if attempt.settled:
            self._heard(attempt)

    def _heard(self, attempt: Attempt) -> None:
        """Runs when a change is settled; what became of an adopted one is told to the ledger."""
        self._listening.discard(attempt)
        self._settled.set()
        orphan = self._orphans.pop(attempt, None)
        if orphan is None:
            return
        call, entry, lease, timer = orphan
        timer.cancel()
        one = self._concluded(call, entry, attempt)
        if one.row is Row.OUT_OF_STEP:
            lease.discard()
        if call.kind is Kind.NEW_ORDER:
            self._ledger.settle(settled_as(call, one))

    async def aclose(self) -> None:
        """Refuse what is not committed yet, and wait a bounded time for the answers to what is."""
        self._closing = True
        for attempt in self._listening:
            attempt.withdraw()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.close_wait):
                while self._unanswered:
                    self._settled.clear()
                    await self._settled.wait()
        if self._unanswered:
            log.warning("closing with %d changes sent and not answered", self._unanswered)

    @property
    def _unanswered(self) -> int:
        return sum(attempt.committed is not None for attempt in self._listening)

    # Cancels of unknown outcome

    async def _recheck(self, call: Call, outcome: Unknown) -> Outcome:
        """Read the order's status; if it is final that is the answer, if it is open cancel once more."""
        name = call.request.client_order_id
        left = call.until - monotonic()
        if not self._settings.resend_cancel or name is None or left <= 0 or self._closing:
            return outcome
        status = operations.order_status(name, exchange_id=call.request.exchange_id)
        try:
            report = await self.read(status, timeout=left)
        except EMSError as error:
            return with_evidence(outcome, f"reading its status failed: {error}", call)
        if report.is_final:
            return Accepted(
                client_order_id=name,
                site=outcome.site,
                attempts=outcome.attempts,
                timing=outcome.timing,
                report=report,
            )
        second = Call(call.request, started=call.started, timeout=call.until - call.started)
        second.spent = call.spent  # what may be done once may be done once over both
        await self._run(second)
        call.tries += second.tries
        again = self._outcome(second)
        if isinstance(again, Accepted):
            return settled_as(call, second.tries[-1])
        return with_evidence(outcome, f"it was open, and a second cancel ended as {type(again).__name__}", call)

    # Small things

    def _outcome(self, call: Call) -> Outcome:
        return outcome_of(call, no_site=lambda: self._no_site(call.request), closing=self._closing)

    def _no_site(self, request: Request) -> str:
        served = sorted({name for site in self._roster.directory.sites.values() for name in site.exchanges})
        return (
            f"no known site serves {request.exchange_id or 'anything'}; served are: {', '.join(served) or 'none'}"
        )

    def _saw(self, value: Any, site: str | None) -> None:
        """Reports from any answer may settle unresolved orders."""
        if self._ledger.unresolved:
            for report in value if isinstance(value, list) else (value,):
                if isinstance(report, ExecutionReport):
                    self._ledger.saw(report, site)
