"""Orders: place, cancel, look at (EMS REST, Orders)."""

from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from .. import operations
from ..calls import Call, outcome_of
from ..errors import InvalidRequest, OrderUnknown
from ..journal.entries import RecoveredOrder
from ..ledger import UnresolvedOrder
from ..models.history import OrderHistory
from ..models.orders import CancelAll, CancelOrder, ExecutionReport, NewOrder
from ..models.times import aware
from ..outcomes import Accepted, Outcome, error_of
from .base import Group, seconds

__all__ = ["Orders"]


class Orders(Group):
    """Order calls. `place`, `cancel` and `cancel_all` raise; their `submit` twins return the same as a value.

    timeout: seconds for the whole call, 30 by default for changes and 10 for reads.
    """

    @property
    def unresolved(self) -> Mapping[str, UnresolvedOrder]:
        """Orders of unknown outcome by client_order_id, a live view.

        An order leaves it for `settled` when a late answer, or any report read by this client, tells what became
        of it. One that no site ever knows stays until `forget`.
        """
        return self._core.ledger.unresolved

    @property
    def settled(self) -> Mapping[str, Outcome]:
        """What became of orders that were unresolved, by client_order_id, a live view of the latest 1,000."""
        return self._core.ledger.settled

    def forget(self, client_order_id: str) -> UnresolvedOrder:
        """Take an order off `unresolved`, after you have looked at the exchange yourself; its id stays refused.

        Raises InvalidRequest: if it is not unresolved.
        """
        if client_order_id not in self._core.ledger.unresolved:
            raise InvalidRequest(f"{client_order_id!r} is not an unresolved order of this client")
        return self._core.ledger.forget(client_order_id)

    async def recover(self, *, timeout: float = 10.0) -> list[RecoveredOrder]:
        """Look up what the journal holds unresolved, as after a crash, and return each with what is known now.

        Such orders were about to be sent, or were sent, and no outcome was recorded. They are in `unresolved` from
        the moment the client opens; their status is read at every site that may know them, and nothing is sent
        again. One that no site knows stays unknown, in `unresolved` and in the journal: a 404 proves nothing.
        timeout: seconds for all of them together.
        Raises UsageError: if the client is not open, or keeps no journal. InvalidRequest: if the time limit is
        malformed. ConfigurationError: if the journal cannot be read.
        """
        core = self._core
        journal, dispatcher = core.journal, core.dispatcher
        from ..journal.recovery import recover

        return await recover(journal, core.ledger, dispatcher.resolve, timeout=seconds(timeout, 10.0))

    async def submit(
        self,
        order: NewOrder,
        *,
        timeout: float | None = None,
        not_after: datetime | None = None,
        allow_duplicate_id: bool = False,
    ) -> Outcome:
        """Send a new order and return how that ended (EMS REST, Send new order).

        not_after: aware datetime; an order that could only leave later is NotSent.
        allow_duplicate_id: send although an order with this id is in flight, unresolved, or was taken before.
        Raises InvalidRequest: if the order or an argument is malformed. UsageError: if the client is not open.
        """
        return outcome_of(await self._send(order, timeout, not_after, allow_duplicate_id))

    def _send(
        self, order: NewOrder, timeout: float | None, not_after: datetime | None, allow_duplicate_id: bool
    ) -> Coroutine[Any, Any, Call]:
        """Check everything that can be checked, before anything is awaited."""
        dispatcher = self._core.dispatcher
        settings = self._core.settings
        return dispatcher.new_order(
            operations.new_order(order, good_till_time_text=settings.good_till_time_text),
            timeout=settings.order_timeout if timeout is None else seconds(timeout, settings.order_timeout),
            not_after=None if not_after is None else aware("not_after", not_after).timestamp(),
            allow_duplicate_id=allow_duplicate_id,
        )

    async def place(
        self,
        order: NewOrder,
        *,
        timeout: float | None = None,
        not_after: datetime | None = None,
        allow_duplicate_id: bool = False,
    ) -> ExecutionReport:
        """Send a new order and return its report, often of status ROUTED (EMS REST, Send new order).

        The arguments are those of `submit`.
        Raises OrderRejected, OrderNotSent, OrderUnknown: as the outcome is. InvalidRequest, UsageError: as
        `submit` does.
        """
        call = await self._send(order, timeout, not_after, allow_duplicate_id)
        return call.report or _report(outcome_of(call))

    async def submit_cancel(
        self,
        *,
        exchange_id: str,
        client_order_id: str | None = None,
        exchange_order_id: str | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Cancel one order, named by exactly one of its ids, and return how that ended (EMS REST, Cancel order).

        The report is the last one known, such as PENDING_CANCEL: follow the order's status.
        Raises InvalidRequest, UsageError: as `submit` does.
        """
        dispatcher = self._core.dispatcher
        cancel = CancelOrder(
            exchange_id=exchange_id, client_order_id=client_order_id, exchange_order_id=exchange_order_id
        )
        request = operations.cancel_order(cancel)
        return await dispatcher.cancel(request, timeout=seconds(timeout, self._core.settings.order_timeout))

    async def cancel(
        self,
        *,
        exchange_id: str,
        client_order_id: str | None = None,
        exchange_order_id: str | None = None,
        timeout: float | None = None,
    ) -> ExecutionReport:
        """Cancel one order and return the last report known (EMS REST, Cancel order).

        Raises OrderRejected, OrderNotSent, OrderUnknown: as the outcome is. InvalidRequest, UsageError: as
        `submit` does.
        """
        outcome = await self.submit_cancel(
            exchange_id=exchange_id,
            client_order_id=client_order_id,
            exchange_order_id=exchange_order_id,
            timeout=timeout,
        )
        return _report(outcome)

    async def submit_cancel_all(self, *, exchange_id: str, timeout: float | None = None) -> Outcome:
        """Cancel every open order of an exchange account and return how that ended (EMS REST, Cancel all).

        Accepted acknowledges the request and proves nothing about the orders: read the open ones.
        Raises InvalidRequest, UsageError: as `submit` does.
        """
        dispatcher = self._core.dispatcher
        request = operations.cancel_all(CancelAll(exchange_id=exchange_id))
        return await dispatcher.cancel(request, timeout=seconds(timeout, self._core.settings.order_timeout))

    async def cancel_all(self, *, exchange_id: str, timeout: float | None = None) -> Accepted:
        """Cancel every open order of an exchange account (EMS REST, Cancel all).

        Raises OrderRejected, OrderNotSent, OrderUnknown: as the outcome is. InvalidRequest, UsageError: as
        `submit` does.
        """
        return _accepted(await self.submit_cancel_all(exchange_id=exchange_id, timeout=timeout))

    async def open(self, exchange_id: str | None = None, *, timeout: float | None = None) -> list[ExecutionReport]:
        """Return the open orders of one exchange account or of all (EMS REST, Get open orders).

        Without exchange_id an exchange that is down may be missing without a word.
        Raises ExchangeUnreachable: on 490. AnswerError, TransportError: as the tree in `errors` says.
        """
        reports: list[ExecutionReport] = await self._read(
            operations.of_exchange(operations.ORDERS_OPEN, exchange_id), timeout
        )
        return reports

    async def status(
        self, client_order_id: str, *, exchange_id: str | None = None, timeout: float | None = None
    ) -> ExecutionReport:
        """Return the last report of an order (EMS REST, Get order status).

        The site that took the order is asked if this client knows it; else every site that serves
        `exchange_id`, any at all without one, until one knows the order.
        Raises OrderNotFound: if none does, which proves nothing. AnswerError, TransportError: as the tree in
        `errors` says.
        """
        request = operations.order_status(client_order_id, exchange_id=exchange_id)
        report: ExecutionReport = await self._read(request, timeout)
        return report

    async def history(self, start: datetime, end: datetime, *, timeout: float | None = None) -> list[OrderHistory]:
        """Return the change events of orders from `start` to `end`, aware datetimes, by time of creation.

        An order may appear many times (EMS REST, Order history). Keep the window short: there is no paging.
        Raises HistoryNotConfigured: if the service keeps no order log. InvalidRequest: if a time is naive.
        AnswerError, TransportError: as the tree in `errors` says.
        """
        rows: list[OrderHistory] = await self._read(operations.orders_history(start, end), timeout)
        latest = datetime.max.replace(tzinfo=UTC)
        return sorted(rows, key=lambda row: row.created_at or latest)


def _accepted(outcome: Outcome) -> Accepted:
    if isinstance(outcome, Accepted):
        return outcome
    raise error_of(outcome)


def _report(outcome: Outcome) -> ExecutionReport:
    if isinstance(outcome, Accepted) and outcome.report is not None:
        return outcome.report
    raise OrderUnknown("accepted without a report", outcome=_accepted(outcome))
