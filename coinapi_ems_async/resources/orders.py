"""Orders: place, cancel, look at (EMS REST, Orders)."""

from collections.abc import Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from .. import operations
from ..calls import Call, outcome_of
from ..doubts import UnresolvedOrder
from ..errors import InvalidRequest
from ..journal.entries import RecoveredOrder
from ..models.history import OrderHistory
from ..models.orders import CancelAll, CancelOrder, ExecutionReport, NewOrder
from ..models.times import aware
from ..outcomes import Accepted, Outcome, error_of
from .advice import Advice
from .base import Core, Group, seconds
from .batches import OnOutcome, cancels_of, limit_of, orders_of, report_of, reports_of, run_batch
from .callbacks import checked_callback
from .expiry import check_expiry, latest_for
from .following import Following, OnReport

__all__ = ["Orders"]


class Orders(Group):
    """Order calls. `place`, `cancel` and `cancel_all` raise; their `submit` twins return the same as a value.

    timeout: seconds for the whole call, 30 by default for changes and 10 for reads. In a batch each order has its
    own, from its turn on.
    """

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._advice = Advice(core.settings.unsupported)

    @property
    def unresolved(self) -> Mapping[str, UnresolvedOrder]:
        """Orders of unknown outcome by client_order_id, a live view.

        They are looked for at once, for 10 s, at every site that serves them (`Settings.reconcile`). An order
        leaves it for `settled` when a late answer, or any report read by this client, tells what became of it. One
        that no site ever knows stays until `forget`.
        """
        return self._core.ledger.unresolved

    @property
    def settled(self) -> Mapping[str, Outcome]:
        """What became of orders that were unresolved, by client_order_id, a live view of the latest 1,000."""
        return self._core.ledger.settled

    def forget(self, client_order_id: str) -> UnresolvedOrder:
        """Take all orders of an id off `unresolved`, after you have looked at the exchange yourself.

        The id stays refused.

        Raises InvalidRequest: if it is not unresolved.
        """
        if client_order_id not in self._core.ledger.unresolved:
            raise InvalidRequest(f"{client_order_id!r} is not an unresolved order of this client")
        return self._core.ledger.forget(client_order_id)

    async def resolve(self, client_order_id: str, *, timeout: float | None = None) -> Outcome:
        """Wait until an order of unknown outcome is settled, and return what became of it.

        A late answer on its own connection or a report from any site settles it; it is never sent again. That no
        site knows it proves nothing: then, or when the time is over (10 s by default), it is still Unknown, with
        all that was seen in `evidence`, and stays in `unresolved`. Raises InvalidRequest: if it is no such order
        of this client. UsageError: if the client is not open.
        """
        ledger, dispatcher = self._core.ledger, self._core.dispatcher
        if client_order_id not in ledger.unresolved and client_order_id not in ledger.settled:
            raise InvalidRequest(f"{client_order_id!r} is not an unresolved order of this client")
        return await dispatcher.resolve(
            client_order_id, timeout=seconds(timeout, self._core.settings.read_timeout)
        )

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

        not_after: aware datetime; an order that could only leave later, or not before its own expire_time, is
        NotSent.
        allow_duplicate_id: send although an order with this id is in flight, unresolved, or was taken before. If
        its outcome is Unknown only its own late answer settles it: a report may be about the other.
        Raises InvalidRequest: if the order or an argument is malformed, or its expire_time has passed already.
        UsageError: if the client is not open.
        """
        return outcome_of(await self._send(order, timeout, not_after, allow_duplicate_id))

    def _send(
        self,
        order: NewOrder,
        timeout: float | None,
        not_after: datetime | None,
        allow_duplicate_id: bool,
        *,
        is_checked: bool = False,
    ) -> Coroutine[Any, Any, Call]:
        """Check everything that can be checked, before anything is awaited.

        is_checked: its time was, before its turn in a batch came: should it have passed since, it is NotSent.
        """
        dispatcher = self._core.dispatcher
        settings = self._core.settings
        request = operations.new_order(order, good_till_time_text=settings.good_till_time_text)
        self._advice.check(order)
        latest = None if not_after is None else aware("not_after", not_after).timestamp()
        if order.expire_time is not None:
            latest = latest_for(order, latest)
            if not is_checked:
                check_expiry(order)
        return dispatcher.new_order(
            request,
            timeout=settings.order_timeout if timeout is None else seconds(timeout, settings.order_timeout),
            not_after=latest,
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
        return call.report or report_of(outcome_of(call))

    async def submit_many(
        self,
        orders: Iterable[NewOrder],
        *,
        limit: int | None = None,
        timeout: float | None = None,
        not_after: datetime | None = None,
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Send new orders, some at a time, and return how each ended, in the order given.

        limit: how many are in flight; half of `Settings.order_share` by default, which is 8, so that single orders
        and cancels never wait behind a batch. not_after: as in `submit`; those whose turn comes later, or after
        their own expire_time, are NotSent.
        on_outcome: called with the place and the outcome as each ends; what it raises is logged.

        If the caller is cancelled, nothing more is sent and CancelledError goes on. What became of an order then:
        its outcome, if `on_outcome` was told; else, if it was sent, it stands in `unresolved`, and later in
        `settled`; else it was never sent.
        Raises InvalidRequest: if an element or an argument is malformed, two orders share an id, or one's
        expire_time has passed already; nothing is sent then. UsageError: if the client is not open.
        """
        self._core.dispatcher  # noqa: B018  # raises UsageError
        batch = orders_of(orders)
        for place, order in enumerate(batch):
            self._advice.check(order)
            check_expiry(order, where=f"orders[{place}]: ")
        latest = None if not_after is None else aware("not_after", not_after)
        each = seconds(timeout, self._core.settings.order_timeout)

        async def send(order: NewOrder) -> Outcome:
            """Send one, whose time begins now."""
            return outcome_of(await self._send(order, each, latest, False, is_checked=True))

        return await run_batch(batch, send, limit_of(limit, self._core.settings), on_outcome)

    async def place_many(
        self,
        orders: Iterable[NewOrder],
        *,
        limit: int | None = None,
        timeout: float | None = None,
        not_after: datetime | None = None,
        on_outcome: OnOutcome | None = None,
    ) -> list[ExecutionReport]:
        """Send new orders, some at a time, and return their reports, in the order given.

        The arguments, and what a cancelled caller should know, are those of `submit_many`.
        Raises OrdersFailed: when all have ended, if one was not taken; it carries every outcome, and those that
        were taken stand. InvalidRequest, UsageError: as `submit_many` does.
        """
        outcomes = await self.submit_many(
            orders, limit=limit, timeout=timeout, not_after=not_after, on_outcome=on_outcome
        )
        return reports_of(outcomes)

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
        return report_of(outcome)

    async def cancel_many(
        self,
        cancels: Iterable[CancelOrder | NewOrder | ExecutionReport | str],
        *,
        exchange_id: str | None = None,
        limit: int | None = None,
        timeout: float | None = None,
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Cancel orders, some at a time, and return how each cancel ended, in the order given.

        cancels: what names an order: a CancelOrder, the order itself, a report, or a client_order_id, for which
        `exchange_id` says the account. One named twice is canceled once, and both places have its outcome.
        limit, on_outcome: as in `submit_many`. If the caller is cancelled, nothing more is sent.
        Raises InvalidRequest: if an element or an argument is malformed; nothing is sent then. UsageError: if the
        client is not open.
        """
        self._core.dispatcher  # noqa: B018  # raises UsageError
        batch = cancels_of(cancels, exchange_id)
        each = seconds(timeout, self._core.settings.order_timeout)

        async def send(cancel: CancelOrder) -> Outcome:
            """Send one, whose time begins now."""
            return await self._core.dispatcher.cancel(operations.cancel_order(cancel), timeout=each)

        return await run_batch(batch, send, limit_of(limit, self._core.settings), on_outcome)

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

    async def wait_final(
        self,
        client_order_id: str,
        *,
        exchange_id: str | None = None,
        timeout: float | None = None,
        on_report: OnReport | None = None,
    ) -> ExecutionReport:
        """Read an order's status until it is final, and return that report (EMS REST, Get order status).

        It is read as `status` does, after 50 ms and then ever more slowly, up to 2 s. Failing reads are survived.
        timeout: seconds in all, 30 by default. on_report: called with every report that differs from the one
        before, the last included; what it raises is logged.
        Raises DeadlineExceeded: if it is not final in time; its `report` is the last one read, its cause what
        reads failed with since then. OrderNotFound: if no site knows the order for 10 s, which proves nothing;
        never of one that is unresolved. OrderRejected: if that is what became of one that was unresolved.
        OrderNotSent: after one read that finds nothing, if this client knows that it has not sent the order.
        NotRoutable: if no site serves the account, and the order is not one of this client's.
        InvalidRequest, UsageError: as `submit` does.
        """
        on_report = checked_callback("on_report", on_report)
        settings = self._core.settings

        async def read(time: float) -> ExecutionReport:
            """Read the order's status, in so many seconds at most."""
            return await self.status(client_order_id, exchange_id=exchange_id, timeout=time)

        following = Following(client_order_id, read, self._core.ledger, on_report, exchange_id=exchange_id)
        return await following.final(seconds(timeout, settings.order_timeout), settings.read_timeout)

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
