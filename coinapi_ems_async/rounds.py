"""One round of a call: an attempt that did not begin at once, or may be overtaken, and those beside it.

A change races before its commit point only: it stands in the queues of several sites, and the first connection
that is free takes it; the mark is forbidden to the others at that instant. A read may be asked at a second site
when the first is slow to answer (a hedge), and is asked elsewhere at once when its site is in trouble.
"""

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import Final

from .calls import Call, Try
from .hedging import ServiceTimes
from .matrix import MATRIX, READ, SUCCESS, Kind, Move, Row
from .settings import Settings
from .sites.health import Health
from .sites.roster import Roster, SiteEntry
from .transport.base import Attempt, TransportFailure
from .transport.watch import Watch

__all__ = ["Round", "Rounds"]

_SHORTEST_RACE: Final = 0.050
_LONGEST_RACE: Final = 0.250
_WORTH_A_HEDGE: Final = frozenset({Health.HEALTHY, Health.PROBATION})
_GOES_ON: Final = frozenset({Move.NEXT, Move.NEXT_ONCE, Move.SAME_THEN_NEXT})
_OVERTAKEN: Final = "another site was first"


class Round:
    """Attempts of one call that are under way at the same time; `until` is when to look again at the latest."""

    __slots__ = ("call", "is_extended", "racing", "troubled", "until", "waiter")

    def __init__(self, call: Call, entry: SiteEntry, attempt: Attempt) -> None:
        self.call = call
        self.racing: dict[Attempt, SiteEntry] = {attempt: entry}
        self.until = inf
        self.waiter: asyncio.Future[None] | None = None
        self.troubled: SiteEntry | None = None
        """A site where it is under way, and that has come into trouble."""
        self.is_extended = False
        """Whether nobody else is to take part: a read was hedged, or there is nobody."""

    def wake(self) -> None:
        """End the wait: it is time to look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    @property
    def newest(self) -> Attempt:
        """The attempt that began last."""
        return next(reversed(self.racing))


class Rounds:
    """Makes rounds, and ends attempts.

    watch: where everybody waits, those included who wait for one attempt alone. attempt: makes the attempt of a
    call at a site. spend: takes one repetition of a read from the budget, if there is one left. adopt: listens on
    to a committed change whose time is over. abandon: the same for one whose caller was cancelled.
    """

    def __init__(
        self,
        roster: Roster,
        settings: Settings,
        *,
        watch: Watch[Attempt | Round],
        attempt: Callable[[Call, SiteEntry, str | None], Attempt],
        spend: Callable[[], bool],
        adopt: Callable[[Call, SiteEntry, Attempt], None],
        abandon: Callable[[Call, SiteEntry, Attempt], None],
        note: Callable[[Call, Try], None],
    ) -> None:
        self._roster = roster
        self._settings = settings
        self._watch = watch
        self._attempt = attempt
        self._spend = spend
        self._adopt = adopt
        self._abandon = abandon
        self._note = note
        self._times = ServiceTimes()

    async def finish(self, call: Call, entry: SiteEntry, attempt: Attempt) -> Try:
        """Wait for the end of the round that the attempt has begun; what else was tried is noted on the call."""
        one = Round(call, entry, attempt)
        try:
            while (end := self._step(one)) is None:
                if any(racer.done is not None for racer in one.racing):
                    continue
                one.until = min(self._join_at(one), *(racer.until for racer in one.racing))
                waiter = self._watch.enter(one)
                for racer in one.racing:
                    racer.waiter = waiter
                try:
                    await waiter
                finally:
                    self._watch.leave(one)
                    for racer in one.racing:
                        racer.waiter = None
        except BaseException:  # cancelled, or something broke: what is committed must not be lost with it
            for racer, its in one.racing.items():
                self.leave_alone(call, its, racer)
            raise
        return end

    def trouble(self, entry: SiteEntry) -> None:
        """Take in that a site has come into trouble: what is under way there is to be moved."""
        for one in self._watch:
            if isinstance(one, Round) and entry in one.racing.values():
                one.troubled = entry
                one.wake()

    # Ends of attempts

    def over(self, call: Call, entry: SiteEntry, attempt: Attempt) -> Try:
        """Return how an attempt ended, or stands now that its time is over; what is committed goes on alone."""
        reading = attempt.reading
        if reading is not None and reading.row is SUCCESS and call.kind is not READ:
            return Try(entry, attempt, SUCCESS, "", reading)  # the usual end of an order
        if attempt.done is None:
            if attempt.committed is None:
                attempt.abort()
            elif call.kind is Kind.READ:
                end = Try(entry, attempt, Row.NO_ANSWER, Row.NO_ANSWER.value)
                self._gave_up(end)
                attempt.abort()
                return end
            else:
                self._adopt(call, entry, attempt)
        end = conclude(call, entry, attempt)
        if end.row is Row.SUCCESS and call.kind is Kind.READ and attempt.done and attempt.committed:
            name = attempt.request.operation.name
            self._times.answered(entry.site.url, name, attempt.done - attempt.committed)
        return end

    def leave_alone(self, call: Call, entry: SiteEntry, attempt: Attempt) -> None:
        """The caller was cancelled: what is not committed never will be, what is committed goes on alone."""
        if attempt.withdraw() or call.kind is Kind.READ:
            attempt.abort()
        else:
            self._abandon(call, entry, attempt)

    def _gave_up(self, end: Try) -> None:
        if end.attempt.committed is not None:
            name, waited = end.attempt.request.operation.name, monotonic() - end.attempt.committed
            self._times.given_up(end.entry.site.url, name, waited)

    # One look at a round

    def _step(self, one: Round) -> Try | None:
        """Do what is to be done now; returns the attempt that decides, if there is one."""
        now = monotonic()
        for attempt in [racer for racer in one.racing if racer.done is not None or racer.until <= now]:
            if attempt in one.racing and (end := self._ended(one, attempt)) is not None:
                return end
        self._drop_overtaken(one)
        if one.troubled is not None:
            self._move(one, one.troubled)
            one.troubled = None
        elif now >= self._join_at(one):
            self._join(one)
        return None

    def _ended(self, one: Round, attempt: Attempt) -> Try | None:
        """Take in that an attempt is over; returns it if that decides the round."""
        if _is_overtaken(attempt):
            self._drop(one, (attempt,))
            return None
        call, entry = one.call, one.racing.pop(attempt)
        end = self.over(call, entry, attempt)
        self._drop_overtaken(one)
        if not one.racing or _decides(call, end):
            self._drop(one, list(one.racing))
            return end
        call.tries.append(end)
        call.been_at(entry.site.url, end.row)
        self._note(call, end)
        if attempt.committed is None and MATRIX[end.row].for_kind(call.kind) in _GOES_ON:
            self._join(one)
        return None

    def _drop_overtaken(self, one: Round) -> None:
        self._drop(one, [racer for racer in one.racing if _is_overtaken(racer)])

    def _drop(self, one: Round, losers: Iterable[Attempt]) -> None:
        """Stop attempts that another has made needless; they stay on the record."""
        call = one.call
        for attempt in losers:
            entry = one.racing.pop(attempt)
            if attempt.committed is not None and call.kind is not Kind.READ:
                # Rivals share one mark, so there is no second; if there were, it would be as good as executed.
                call.tries.append(self.over(call, entry, attempt))
                continue
            end = Try(entry, attempt, Row.ABANDONED, _OVERTAKEN)
            call.tries.append(end)
            if call.kind is Kind.READ:
                self._gave_up(end)
            attempt.abort()

    def _join_at(self, one: Round) -> float:
        """When another site is to take part."""
        if one.is_extended:
            return inf
        newest = one.newest
        entry = one.racing[newest]
        estimate = entry.estimator.estimate
        may_hedge = one.call.kind is Kind.READ and self._settings.hedge_reads
        patience = inf
        if may_hedge:
            patience = self._times.hedge_after(entry.site.url, newest.request.operation.name, estimate)
        if newest.committed is not None:
            return newest.committed + patience
        if entry.pool.is_full(newest.request):
            return newest.started + self._settings.pool_timeout
        pause = _LONGEST_RACE if estimate is None else min(max(2 * estimate, _SHORTEST_RACE), _LONGEST_RACE)
        return newest.started + min(pause, patience)

    def _join(self, one: Round) -> None:
        """Let one more site take part, if there is one that is worth it."""
        newest = one.newest
        is_hedge = newest.committed is not None
        is_full = not is_hedge and one.racing[newest].pool.is_full(newest.request)
        if not is_full:
            one.racing[newest].hurry()  # is it slow, or gone? A probe tells before its turn would come
        entry = self._next_site(one)
        if (
            entry is None
            or (is_hedge and (entry.health.state not in _WORTH_A_HEDGE or not self._spend()))
            or (is_full and entry.health.state is not Health.HEALTHY)
        ):
            one.is_extended = True  # looking again would find the same
            return
        one.is_extended = is_hedge
        self._begin(one, entry, is_hedge=is_hedge)

    def _move(self, one: Round, troubled: SiteEntry) -> None:
        """A site is in trouble: ask the next at once, and go on waiting there only for what has been asked."""
        entry = self._next_site(one)
        if entry is None or entry.health.state is not Health.HEALTHY:
            return
        there = [racer for racer, its in one.racing.items() if its is troubled]
        if any(racer.committed is not None for racer in there) and one.call.kind is not Kind.READ:
            return
        self._begin(one, entry, is_hedge=True)
        for racer in there:
            if racer.committed is None:
                one.call.tries.append(Try(one.racing.pop(racer), racer, Row.GIVEN_UP, Row.GIVEN_UP.value))
                one.call.been_at(troubled.site.url, Row.GIVEN_UP)
                racer.abort()

    def _begin(self, one: Round, entry: SiteEntry, *, is_hedge: bool) -> None:
        """Ask one more site; unless it is a hedge, only one of those not committed yet may be."""
        attempt = self._attempt(one.call, entry, one.newest.bearer)
        one.racing[attempt] = entry
        if not is_hedge or one.call.kind is not Kind.READ:
            rivals = tuple(one.racing)
            for racer in rivals:
                racer.rivals = rivals
        entry.pool.carry(attempt)

    def _next_site(self, one: Round) -> SiteEntry | None:
        call = one.call
        seen = call.tried | {entry.site.url for entry in one.racing.values()}
        for_order = call.kind is not Kind.READ
        ranked = self._roster.ranked(call.request.exchange_id, tried=seen, for_order=for_order)
        fresh = (entry for entry in ranked if entry.site.url not in seen)
        return next((entry for entry in fresh if self._may_join(call, entry)), None)

    def _may_join(self, call: Call, entry: SiteEntry) -> bool:
        """Whether it may take part beside others: one that was given up only if it is well, or none is left."""
        if entry.site.url not in call.given_up or entry.health.state is Health.HEALTHY:
            return True
        return all(one.is_lost for one in self._roster.ranked(call.request.exchange_id))


def _is_overtaken(attempt: Attempt) -> bool:
    """Whether a rival has the mark."""
    return attempt.committed is None and any(rival.committed is not None for rival in attempt.rivals)


def _decides(call: Call, end: Try) -> bool:
    """Whether the end of one attempt is that of the round though others are under way.

    A change ends with the one that was committed. A read ends with its value, or with what every site would say:
    that an order is not known, or a key not welcome, may be otherwise elsewhere.
    """
    if call.kind is Kind.READ:
        return end.row in (Row.SUCCESS, Row.VALIDATION)
    return end.attempt.committed is not None or MATRIX[end.row].for_kind(call.kind) is Move.NOT_SENT


def conclude(call: Call, entry: SiteEntry, attempt: Attempt) -> Try:
    """Return how an attempt ended, or stands when its time is over."""
    if (reading := attempt.reading) is not None:
        row = reading.row
        return Try(entry, attempt, row, "" if row is Row.SUCCESS else reading.message or row.value, reading)
    failure = attempt.failure
    if failure is None:
        failure = TransportFailure(Row.ABANDONED if attempt.committed is None else Row.NO_ANSWER)
    row, now = failure.row, monotonic()
    is_over = now >= call.until
    if row is Row.ABANDONED and call.kind is Kind.READ and attempt.until <= now < call.until:
        row = Row.CONNECT_TIMEOUT  # only this try's time is over
    elif row is Row.CONNECT_TIMEOUT and is_over:
        row = Row.ABANDONED  # the caller's patience says nothing about the site
    return Try(entry, attempt, row, failure.message)
