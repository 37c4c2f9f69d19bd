"""An order on its way past the journal: in the file before it can leave, and its outcome after it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from time import monotonic

from ..calls import Call
from ..errors import EMSError
from ..outcomes import NotSent, NotSentReason, Outcome, Rejected, Unknown
from .entries import Ending
from .journal import Intent, Journal, report_of

__all__ = ["OrderRecorder"]


class OrderRecorder:
    """What the dispatcher asks to carry new orders. outcome: how a call ended."""

    def __init__(self, journal: Journal, outcome: Callable[[Call], Outcome]) -> None:
        self._journal = journal
        self._outcome = outcome

    async def carry(self, call: Call, site: str | None, run: Callable[[Call], Awaitable[None]]) -> None:
        """Record the order, `run` it, record how it ended; `site` is where it is to go first.

        If it cannot be recorded in time it is not run, and `call.outcome` says why.
        """
        request = call.request
        row = (request.client_order_id or "", request.exchange_id, site, time.time(), request.body)
        intent = await self._journal.record(row, _until(call))
        call.number = intent.number
        try:
            if intent.is_recorded:
                await run(call)
            else:
                call.outcome = _not_recorded(call, intent, is_closing=self._journal.is_closing)
        except BaseException as error:
            self._left(call, intent, error)
            raise
        self._end(call, intent)

    def _end(self, call: Call, intent: Intent) -> None:
        for one in call.tries:
            one.attempt.hide_bearer()
        if call.report is not None:
            last = call.tries[-1]
            answer = last.attempt.answer
            self._journal.end(
                intent,
                Ending.ACCEPTED,
                site=last.entry.site.id,
                status=answer.status if answer else None,
                raw=answer.body if answer else b"",
            )
            return
        outcome = self._outcome(call)
        self._tell(intent, outcome, outcome.raw)

    def _tell(self, intent: Intent, outcome: Outcome, raw: bytes) -> None:
        if isinstance(outcome, NotSent):
            ending, reason = Ending.NOT_SENT, outcome.reason.value
        elif isinstance(outcome, Rejected):
            ending, reason = Ending.REJECTED, outcome.reason.value
        else:
            ending, reason = Ending.UNKNOWN if isinstance(outcome, Unknown) else Ending.ACCEPTED, None
        self._journal.end(
            intent,
            ending,
            site=outcome.site,
            status=getattr(outcome, "status", None),
            reason=reason,
            message=getattr(outcome, "message", None) or "",
            raw=raw,
        )

    def _left(self, call: Call, intent: Intent, error: BaseException) -> None:
        """The call ended by an exception: only what is proved not to have been sent is recorded as that.

        Cancellation leaves a committed order in doubt; if its answer was there already that is settled, and stands
        in the file, where nothing unknown comes after it. An error of this package comes from before the attempt
        was made.
        """
        for one in call.tries:
            one.attempt.hide_bearer()
        if call.doubt is not None:
            self._journal.end(intent, Ending.UNKNOWN, reason="the caller went away before the answer")
        elif isinstance(error, asyncio.CancelledError | EMSError):
            outcome = self._outcome(call)
            if isinstance(outcome, NotSent):
                self._journal.end(intent, Ending.NOT_SENT, reason=NotSentReason.ABANDONED.value)
            else:
                self._tell(intent, outcome, report_of(outcome))
        else:
            self._journal.end(intent, Ending.UNKNOWN, reason=type(error).__name__)


def _until(call: Call) -> float:
    """When the order is too late to be sent, on the monotonic clock."""
    if call.not_after is None:
        return call.until
    return min(call.until, monotonic() + max(0.0, call.not_after - time.time()))


def _not_recorded(call: Call, intent: Intent, *, is_closing: bool) -> NotSent:
    if intent.error is not None:
        reason, said = NotSentReason.JOURNAL, f"the journal could not record it: {intent.error}"
    elif is_closing:
        reason, said = NotSentReason.ABANDONED, "the client was closed while the journal recorded it"
    elif intent.until < call.until:
        reason, said = NotSentReason.NOT_AFTER, "not_after or expire_time passed while the journal recorded it"
    else:
        reason, said = NotSentReason.DEADLINE, "the time was over while the journal recorded it"
    return NotSent(client_order_id=call.request.client_order_id, reason=reason, message=said)
