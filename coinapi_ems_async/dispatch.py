"""One call: choose a site, get a connection, commit, read the answer, and do what the table says.

Nothing here decides what may be repeated: `matrix.MATRIX` does. Here is how each of its moves is made.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import operations
from .answers import retry_after_seconds
from .auth import Auth
from .budget import RetryBudget
from .calls import Call, Try, outcome_of, read_error, settled_as, with_evidence
from .doubts import Doubt, is_of_another, maybe_another
from .errors import ConfigurationError, EMSError
from .ledger import OrderLedger
from .matrix import MATRIX, NEW_ORDER, READ, SUCCESS, UNPROCESSED, Kind, Move, Row
from .models.lifecycle import OrderStatus
from .models.orders import ExecutionReport
from .observer import Observer
from .operations import Request
from .orphans import Orphans
from .outcomes import Accepted, NotSent, NotSentReason, Outcome, Rejected, Unknown
from .reconcile import Reconciler
from .redaction import Redaction
from .rounds import Round, Rounds
from .settings import Settings
from .sites.health import Health
from .sites.roster import Roster, SiteEntry
from .transport.base import Attempt, is_change
from .transport.watch import Watch

if TYPE_CHECKING:
    from .journal.orders import OrderRecorder

__all__ = ["Dispatcher"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

_ENDED: Final[Mapping[type[Outcome], str]] = {
    Accepted: "accepted",
    Rejected: "rejected",
    NotSent: "not sent",
    Unknown: "unknown",
}
_REJECTED: Final = OrderStatus.REJECTED
_FIRST_PAUSE: Final = 0.05
_MOST_PAUSE: Final = 2.0
_DEFAULT_RETRY_AFTER: Final = 1.0
_IN_USE: Final = 1.0
"""A server that ends a connection this many seconds after it was used does so for another reason than that it was
idle (gunicorn: 2 s, Node.js: 5, nginx: 75)."""
_MOST_NAMED: Final = 10
"""Orders named in one line of the log."""


class Dispatcher:
    """Carries calls to EMS sites."""

    def __init__(
        self,
        roster: Roster,
        ledger: OrderLedger,
        settings: Settings,
        auth: Auth,
        observer: Observer,
        redaction: Redaction,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self._settings = settings
        self._auth = auth
        self._observer = observer
        self._redaction = redaction
        self._budget = RetryBudget()
        self._random = random.Random()  # noqa: S311  # spreads load, protects nothing
        self._busy_poll = settings.busy_poll
        self._watch: Watch[Attempt | Round] = Watch(settings.busy_poll)
        self._closing = False
        self._looks: set[Attempt] = set()
        """Those that look for orders: closing waits for what they find."""
        self._reconciler = Reconciler(roster, ledger, settings, self._look_at, ended=self._watch.nudge)
        self._orphans = Orphans(
            ledger, settings.late_answer, doubtful=self._reconciler.start, ended=self._watch.nudge
        )
        self._rounds = Rounds(
            roster,
            settings,
            watch=self._watch,
            attempt=self._attempt,
            spend=self._budget.spend,
            adopt=self._orphans.adopt,
            abandon=self._abandoned,
            note=self._note,
        )
        ledger.listeners.append(self._resolved)
        roster.on_trouble = self._rounds.trouble
        self.recorder: OrderRecorder | None = None
        """Carries new orders, if there is a journal."""

    async def new_order(
        self,
        request: Request,
        *,
        timeout: float,
        not_after: float | None = None,
        allow_duplicate_id: bool = False,
    ) -> Call:
        """Send a new order; the call tells how that ended: its `report` if it was taken, else see `outcome`.

        An id that is in flight, unresolved, or was taken before is refused unless `allow_duplicate_id`.
        Raises ConfigurationError: if the bearer supplier fails; nothing was sent then.
        """
        name, exchange_id = request.client_order_id or "", request.exchange_id
        call = Call(request, monotonic(), timeout, not_after)
        if not self._ledger.begin(name, again=allow_duplicate_id):
            return self._duplicate(call, name)
        try:
            if self.recorder is not None:
                await self.recorder.carry(call, self._first_site(call), self._run)
            elif self._auth.bearer is not None or (entry := self._roster.first_for_order(exchange_id)) is None:
                await self._run(call)
            else:
                # How nearly all orders go. Not through `_run`: a coroutine more costs 0.4 us of an order's 22.
                attempt = self._attempt(call, entry, None)
                entry.pool.carry(attempt)
                if attempt.done is None and (attempt.committed is not None or not self._may_race(attempt)):
                    try:
                        await self._waiter(entry, attempt)
                    except asyncio.CancelledError:
                        self._rounds.leave_alone(call, entry, attempt)
                        raise
                    finally:
                        self._watch.leave(attempt)
                if not self._is_success(call, entry, attempt):
                    await self._run(call, entry, attempt)
        except BaseException as error:
            self._tell(call, _name_of(error))
            if not isinstance(error, asyncio.CancelledError):
                self._doubt(call)  # whatever broke, the order is not lost with it
            raise
        finally:
            self._ledger.end(name, taken=call.report is not None)
        if call.report is None:
            call.outcome = outcome = self._doubt(call)
            if isinstance(outcome, NotSent):
                self._ledger.not_sent(outcome)
        if self._observer.is_watching:
            self._tell(call, _ENDED[Accepted if call.outcome is None else type(call.outcome)])
        return call

    async def cancel(self, request: Request, *, timeout: float) -> Outcome:
        """Send a cancel or a cancel-all and return its outcome.

        Raises ConfigurationError: if the bearer supplier fails; nothing was sent then.
        """
        call = Call(request, started=monotonic(), timeout=timeout)
        try:
            await self._run(call)
            outcome = self.outcome(call)
            if isinstance(outcome, Unknown):
                look = self._recheck if request.kind is Kind.CANCEL_ONE else self._with_open_orders
                outcome = await look(call, outcome)
        except BaseException as error:
            self._tell(call, _name_of(error))
            raise
        if self._observer.is_watching:
            self._tell(call, _ENDED[type(outcome)])
        if isinstance(outcome, Accepted) and request.kind is Kind.CANCEL_ONE:
            self._saw(outcome.report, outcome.site)
        if isinstance(outcome, Unknown):
            log.warning("%s at site %s: outcome unknown: %s", request.kind, outcome.site, outcome.message)
        return outcome

    async def read(self, request: Request, *, timeout: float) -> Any:
        """Return the value of a read. Raises EMSError: as the tree in `errors` says."""
        call = Call(request, started=monotonic(), timeout=timeout)
        self._budget.earn()
        try:
            await self._run(call)
            last = call.tries[-1] if call.tries else None
            if last is None or last.row is not Row.SUCCESS or last.reading is None:
                raise read_error(call, no_site=lambda: self._no_site(request))
        except BaseException as error:
            self._tell(call, _name_of(error))
            raise
        if self._observer.is_watching:
            self._tell(call, "value")
        self._saw(last.reading.value, last.entry.site.id)
        return last.reading.value

    async def resolve(self, client_order_id: str, *, timeout: float) -> Outcome:
        """Look for an unresolved order until it is settled or the time is over; return what is known then.

        It is never sent again.
        """
        return await self._reconciler.resolve(client_order_id, timeout)

    # The loop

    async def _run(self, call: Call, entry: SiteEntry | None = None, attempt: Attempt | None = None) -> None:
        """Make attempts until the table says stop, the sites are used up, or the time is over.

        entry, attempt: the first, if it has begun already, and has perhaps been waited for.
        """
        if entry is None:
            entry = self._pick(call)
        while entry is not None:
            if attempt is None:
                try:
                    token = None if self._auth.bearer is None else await self._auth.token(call.until - monotonic())
                except ConfigurationError:
                    if not call.sent:
                        raise
                    return  # what was sent before decides
                attempt = self._attempt(call, entry, token)
                entry.pool.carry(attempt)
            one = None
            if attempt.done is None and self._may_race(attempt):
                one = await self._rounds.finish(call, entry, attempt)
                entry, attempt = one.entry, one.attempt
            elif attempt.done is None and monotonic() < attempt.until:
                try:
                    await self._waiter(entry, attempt)
                except asyncio.CancelledError:
                    self._rounds.leave_alone(call, entry, attempt)
                    raise
                finally:
                    self._watch.leave(attempt)
            if call.kind is NEW_ORDER and self._is_success(call, entry, attempt):
                return
            one = one or self._rounds.over(call, entry, attempt)
            call.tries.append(one)
            if not await self._goes_on_after(call, one):
                return
            entry, attempt = self._pick(call), None

    def _may_race(self, attempt: Attempt) -> bool:
        """Whether other sites may yet take part."""
        may_repeat = attempt.committed is None or attempt.request.operation.kind is READ
        return may_repeat and len(self._roster.entries) > 1

    def _waiter(self, entry: SiteEntry, attempt: Attempt) -> "asyncio.Future[None]":
        """Begin to wait for an attempt."""
        if entry.answered_in < self._busy_poll and attempt.request.operation.kind is not READ:
            self._watch.stay_awake()
        return self._watch.enter(attempt)

    def _is_success(self, call: Call, entry: SiteEntry, attempt: Attempt) -> bool:
        """Whether a new order's attempt ended in success; takes that in, if so."""
        reading = attempt.reading
        if reading is None or reading.row is not SUCCESS:
            return False
        call.ended(entry, attempt)
        self._note_site(call.request, entry, attempt)
        report = reading.value
        call.report = None if report.status is _REJECTED else report
        if entry.troubled:
            self._roster.answered(entry, call.request.exchange_id)
        return True

    async def _goes_on_after(self, call: Call, one: Try) -> bool:
        """Take in how an attempt ended, and make the table's move; returns whether there is another to make."""
        entry = one.entry
        if call.kind is NEW_ORDER and one.row not in UNPROCESSED:
            self._note_site(call.request, entry, one.attempt)
        if one.row is SUCCESS:
            if entry.troubled:
                self._roster.answered(entry, call.request.exchange_id)
            return False
        call.been_at(entry.site.url, one.row)
        self._note(call, one)
        return monotonic() < call.until and await self._goes_on(call, one)

    def _note(self, call: Call, one: Try) -> None:
        """Tell the roster how an attempt ended."""
        text = one.reading.retry_after if one.reading is not None else None
        self._roster.note(
            one.entry,
            one.row,
            one.message,
            exchange_id=call.request.exchange_id,
            retry_after=retry_after_seconds(text, datetime.now(UTC)) if text else None,
            reused=one.attempt.reused,
            stale=one.entry.pool.is_outdated(one.attempt),
        )

    def _pick(self, call: Call) -> SiteEntry | None:
        if call.again is not None:
            entry, call.again = call.again, None
            return entry
        ranked = self._roster.ranked(
            call.request.exchange_id,
            tried=call.tried,
            preferred=None if call.kind is Kind.NEW_ORDER else self._ledger.taker(call.request.client_order_id),
            for_order=call.kind is not Kind.READ,
        )
        if not ranked or (ranked[0].site.url in call.tried and call.kind is not Kind.READ):
            return None
        return ranked[0]

    async def _goes_on(self, call: Call, one: Try) -> bool:
        """Make the table's move; returns whether there is another attempt to make."""
        move = MATRIX[one.row].for_kind(call.kind)
        if move is Move.SAME_THEN_NEXT and not self._is_nearer_elsewhere(call, one) and call.first_time(move):
            call.again = one.entry
            return call.kind is not Kind.READ or one.attempt.committed is None or self._may_repeat(call)
        if move is Move.ANYWHERE_ONCE:
            call.again = one.entry
            return call.first_time(move)
        if move is Move.AFFINE_ONCE:
            return self._asks_elsewhere(call, one)
        if move is Move.SAME_LATER:
            return await self._after_pause(call, one)
        if move is Move.IF_OPTED_IN:
            return (
                self._settings.reroute_unreachable and call.first_time(move) and await self._may_reroute(call, one)
            )
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

    def _is_nearer_elsewhere(self, call: Call, one: Try) -> bool:
        """Whether a read need not go back to a site that ended its connection: it is in doubt, ended one that was
        in use, as those do that die, or would have to be connected to anew, which takes longer than the next one
        does. Of an order another site may not know."""
        entry = one.entry
        if call.kind is not Kind.READ or call.request.client_order_id is not None:
            return False
        was_idle = entry.pool.rested(one.attempt) >= _IN_USE
        if entry.health.state is Health.HEALTHY and was_idle and entry.pool.is_at_hand():
            return False
        ranked = self._roster.ranked(call.request.exchange_id, tried=call.tried)
        following = next((other for other in ranked if other.site.url not in call.tried), None)
        return following is not None and following.health.state is Health.HEALTHY and following.pool.is_at_hand()

    def _may_repeat(self, call: Call) -> bool:
        return call.sent < self._settings.read_attempts and self._budget.spend()

    def _asks_elsewhere(self, call: Call, one: Try) -> bool:
        """An order is not known here: ask the site that took it, or, of a status, every capable site in turn."""
        taker = self._ledger.taker(call.request.client_order_id)
        if taker is not None and taker in self._roster.entries:
            if taker in call.tried or one.entry.site.url == taker or not call.first_time(Move.AFFINE_ONCE):
                return False
            call.again = self._roster.entries[taker]
            return True
        if call.request.operation is not operations.ORDER_STATUS:
            return False
        return self._untried(call)

    def _first_site(self, call: Call) -> str | None:
        best = self._roster.first_for_order(call.request.exchange_id)
        return best.site.id if best else None

    def _untried(self, call: Call) -> bool:
        """Whether the call has not been to every capable site yet."""
        return any(site.url not in call.tried for site in self._roster.directory.capable(call.request.exchange_id))

    async def _may_reroute(self, call: Call, one: Try) -> bool:
        """The exchange is unreachable from a site: whether the next may have it; of an order the first must not
        know."""
        if not self._settings.reroute_unreachable or not self._untried(call):
            return False
        if call.kind is not Kind.NEW_ORDER:
            return True
        name = call.request.client_order_id or ""
        try:
            look = await self._look_at(one.entry, operations.order_status(name), call.until)
        except ConfigurationError:  # no bearer token for it: the refusal stands
            return False
        return look.row is Row.NOT_KNOWN_HERE

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

    def _attempt(
        self, call: Call, entry: SiteEntry, token: str | None, *, even_when_closing: bool = False
    ) -> Attempt:
        started, until = monotonic(), call.until
        if call.kind is READ:
            until = min(until, started + self._settings.read_try_timeout)
        request, site = call.request, entry.site.id
        attempt = Attempt(request, site, until, call.not_after, token, started, self._redaction)
        if self._closing and not even_when_closing:
            attempt.withdraw()
        return attempt

    def _note_site(self, request: Request, entry: SiteEntry, attempt: Attempt) -> None:
        """Remember where a new order went, and how soon it was answered."""
        committed, first_byte = attempt.committed, attempt.first_byte
        if committed is not None:
            self._ledger.taken_by(request.client_order_id or "", entry.site.url)
            if first_byte is not None:
                entry.answered_in = first_byte - committed

    async def _look_at(self, entry: SiteEntry, request: Request, until: float) -> Try:
        """Make one attempt of a read at one site, whatever comes of it; closing waits for such reads."""
        call = Call(request, started=monotonic(), timeout=until - monotonic())
        token = None if self._auth.bearer is None else await self._auth.token(until - monotonic())
        attempt = self._attempt(call, entry, token, even_when_closing=True)
        self._looks.add(attempt)
        entry.pool.carry(attempt)
        try:
            if attempt.done is None:
                await self._watch.enter(attempt)
        except asyncio.CancelledError:
            attempt.abort()
            raise
        finally:
            self._looks.discard(attempt)
            self._watch.leave(attempt)
        one = self._rounds.over(call, entry, attempt)
        if one.row is not Row.SUCCESS:
            self._note(call, one)
        return one

    def _doubt(self, call: Call) -> Outcome:
        """Return how a new order ended; if nobody knows, it is unresolved from now on, and looked for."""
        outcome = self.outcome(call)
        name = call.request.client_order_id
        if isinstance(outcome, Unknown) and name is not None and call.doubt is None:
            call.doubt = self._ledger.doubt(
                name,
                exchange_id=call.request.exchange_id,
                site=outcome.site,
                evidence=outcome.evidence,
                number=call.number,
            )
            self._reconciler.start(name)
        return outcome

    # Changes whose caller is gone

    def _abandoned(self, call: Call, entry: SiteEntry, attempt: Attempt) -> None:
        """The caller of a committed change was cancelled: it goes on alone."""
        name = call.request.client_order_id
        if call.kind is Kind.NEW_ORDER and name is not None:
            self._ledger.taken_by(name, entry.site.url)
            call.doubt = self._ledger.doubt(
                name, exchange_id=call.request.exchange_id, site=entry.site.id, number=call.number
            )
        self._orphans.adopt(call, entry, attempt)

    def _resolved(self, doubt: Doubt, outcome: Outcome | None) -> None:
        if doubt.name not in self._ledger.unresolved:
            self._reconciler.settled(doubt.name)
        if outcome is not None:
            self._observer.settled(outcome)

    async def aclose(self) -> None:
        """Refuse what is not committed yet, and wait a bounded time for what became of what is."""
        self._closing = True
        for attempt in self._attempts():
            if attempt not in self._looks:
                attempt.withdraw()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.close_wait):
                while self._unanswered or len(self._reconciler):
                    await self._watch.change()
        if self._unanswered:
            log.warning("closing with %d changes sent and not answered", self._unanswered)
        await self._reconciler.aclose()
        if left := list(self._ledger.unresolved):
            more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
            log.warning("closing with orders unresolved: %s%s", ", ".join(left[:_MOST_NAMED]), more)
        self._orphans.close()
        self._watch.close()

    def _attempts(self) -> Iterator[Attempt]:
        """Every attempt that somebody waits for."""
        for one in self._watch:
            yield from (one,) if isinstance(one, Attempt) else one.racing

    @property
    def _unanswered(self) -> int:
        waiting = sum(one.committed is not None and is_change(one.request) for one in self._attempts())
        return waiting + len(self._orphans)

    # Cancels of unknown outcome

    async def _with_open_orders(self, call: Call, outcome: Unknown) -> Outcome:
        """A cancel-all of unknown outcome is never repeated: what is open still is told with it."""
        left = call.until - monotonic()
        if not self._settings.reconcile or left <= 0 or self._closing:
            return outcome
        request = operations.of_exchange(operations.ORDERS_OPEN, call.request.exchange_id)
        try:
            reports = await self.read(request, timeout=min(left, self._settings.read_timeout))
        except EMSError as error:
            return with_evidence(outcome, f"reading the open orders failed: {error}", call)
        return msgspec.structs.replace(outcome, open_orders=tuple(reports))

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
        if self._ledger.is_ambiguous(report) or is_of_another(report, call.request.exchange_id):
            return with_evidence(outcome, maybe_another(report), call)
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
        try:
            await self._run(second)
        except ConfigurationError as error:
            return with_evidence(outcome, f"it was open, and a second cancel could not be sent: {error}", call)
        call.tries.extend(second.tries)
        again = self.outcome(second)
        if isinstance(again, Accepted):
            return settled_as(call, second.tries[-1])
        return with_evidence(outcome, f"it was open, and a second cancel ended as {type(again).__name__}", call)

    # Small things

    def _duplicate(self, call: Call, name: str) -> Call:
        call.outcome = NotSent(
            client_order_id=name,
            reason=NotSentReason.DUPLICATE,
            message=f"{name} is in flight, unresolved, or was taken before: a new order needs a new id",
        )
        self._tell(call, _ENDED[NotSent])
        return call

    def _tell(self, call: Call, ended: str) -> None:
        if self._observer.is_watching:
            timing = call.tries[-1].attempt.timing(call.started) if call.tries else None
            self._observer.tell(call.request, ended, timing, call.records)

    def outcome(self, call: Call) -> Outcome:
        """Return how a change ended."""
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


def _name_of(error: BaseException) -> str:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
