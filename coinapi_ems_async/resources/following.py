"""Reads an order's status again and again until it is final."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from ..doubts import is_of_another
from ..errors import (
    DeadlineExceeded,
    EMSError,
    InvalidRequest,
    NotRoutable,
    OrderNotFound,
    RateLimited,
    UsageError,
)
from ..ledger import OrderLedger
from ..models.orders import ExecutionReport
from ..outcomes import Rejected, error_of
from .callbacks import tell

__all__ = ["Following", "OnReport"]

OnReport = Callable[[ExecutionReport], object]
"""Is told every report that differs from the one before it."""

_FIRST_PAUSE: Final = 0.05
_MOST_PAUSE: Final = 2.0
UNSEEN_FOR: Final = 10.0
"""How long an order may be unknown to every site before waiting for it ends: as long as one that was sent can
take to show up."""


class Following:
    """Waits for one order.

    read: its status, given the seconds that may take. ledger: tells whether the order may still show up.
    exchange_id: its account; a report of another one with the same id is not of this order. unseen_for: seconds
    for which it may be unknown to every site.
    """

    def __init__(
        self,
        client_order_id: str,
        read: Callable[[float], Awaitable[ExecutionReport]],
        ledger: OrderLedger,
        on_report: OnReport | None,
        *,
        exchange_id: str | None = None,
        unseen_for: float = UNSEEN_FOR,
    ) -> None:
        self._name = client_order_id
        self._read = read
        self._ledger = ledger
        self._on_report = on_report
        self._exchange_id = exchange_id
        self._unseen_for = unseen_for
        self._random = random.Random()  # noqa: S311  # spreads load, protects nothing
        self._pause = _FIRST_PAUSE
        self._last: ExecutionReport | None = None
        self._error: EMSError | None = None

    async def final(self, timeout: float, read_timeout: float) -> ExecutionReport:
        """Return the first final report.

        Raises DeadlineExceeded: if there is none in time. OrderNotFound: if no site knows the order for 10 s.
        OrderRejected: if a late answer refused it. OrderNotSent: if this client knows that it was not
        sent, and the first read finds none that somebody else has sent. NotRoutable: if no site serves the
        account, and the order is not one of this client's. InvalidRequest, UsageError: as `status` does.
        """
        began = monotonic()
        until = began + timeout
        while (left := until - monotonic()) > 0:
            try:
                report = await self._read(min(left, read_timeout))
            except (InvalidRequest, UsageError):
                raise
            except EMSError as error:
                now = monotonic()
                # A read that the end cut short says less than those before it.
                if not (isinstance(error, DeadlineExceeded) and now >= until and (self._last or self._error)):
                    self._failed(error, now - began)
            else:
                self._saw(report)
                if report.is_final and not self._may_be_another(report):
                    return report
            await self._rest(until - monotonic())
        raise self._too_late(timeout) from self._error

    def _may_be_another(self, report: ExecutionReport) -> bool:
        return is_of_another(report, self._exchange_id) or self._ledger.is_ambiguous(report)

    def _saw(self, report: ExecutionReport) -> None:
        self._error = None
        if report != self._last:
            self._last, self._pause = report, _FIRST_PAUSE  # it moves: more may follow soon
            tell("on_report", self._on_report, report)

    def _failed(self, error: EMSError, waited: float) -> None:
        """Go on, unless the order was not sent, was refused after all, or there is nothing to wait for."""
        if self._last is None and (unsent := self._ledger.unsent(self._name)) is not None:
            raise error_of(unsent) from error
        if isinstance(error, NotRoutable) and self._last is None and not self._ledger.is_spent(self._name):
            raise error  # no order of this client, and nobody there who could tell of it
        self._error = error
        if isinstance(error, RateLimited) and error.retry_after is not None:
            self._pause = max(self._pause, error.retry_after)
        if not isinstance(error, OrderNotFound) or self._last is not None:
            return
        outcome = self._ledger.settled.get(self._name)
        if isinstance(outcome, Rejected) and not self._ledger.is_spent(self._name):
            raise error_of(outcome) from error
        if waited > self._unseen_for and self._name not in self._ledger.unresolved:
            raise error

    async def _rest(self, left: float) -> None:
        """Sleep a little longer each time; near the end only half of what is left, so that the end is seen."""
        pause = self._pause * self._random.uniform(1.0, 1.25)
        self._pause = min(self._pause * 2, _MOST_PAUSE)
        await asyncio.sleep(max(0.0, min(pause, left / 2 if left > 2 * _FIRST_PAUSE else left)))

    def _too_late(self, timeout: float) -> DeadlineExceeded:
        status = f"its last status was {self._last.status}" if self._last else "no report of it was read"
        if self._last is not None and self._may_be_another(self._last):
            status += ", which may be about another order with its id"
        failed = f"; the last read failed: {self._error.message}" if self._error else ""
        return DeadlineExceeded(
            f"the order did not end within {timeout:g} s: {status}{failed}",
            report=self._last,
            client_order_id=self._name,
        )
