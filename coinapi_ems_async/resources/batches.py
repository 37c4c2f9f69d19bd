"""Many orders or cancels, some at a time. Each has its own outcome, and none hides another's."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from ..errors import (
    ConfigurationError,
    InvalidRequest,
    OrderError,
    OrderNotSent,
    OrderRejected,
    OrdersFailed,
    OrderUnknown,
    UsageError,
)
from ..models.orders import CancelOrder, ExecutionReport, NewOrder
from ..outcomes import Accepted, NotSent, NotSentReason, Outcome, Unknown, error_of
from ..settings import Settings
from .callbacks import checked_callback, tell

__all__ = ["OnOutcome", "cancels_of", "limit_of", "orders_of", "report_of", "reports_of", "run_batch"]

OnOutcome = Callable[[int, Outcome], object]
"""Is told the place in the batch, and how that order or cancel ended."""

log: Final = logging.getLogger("coinapi_ems_async.orders")

_WORDS: Final = {OrderRejected: "rejected", OrderNotSent: "not sent", OrderUnknown: "unknown"}

_T = TypeVar("_T")
_Item = TypeVar("_Item", NewOrder, CancelOrder)


def limit_of(given: int | None, settings: Settings) -> int:
    """Return how many may be in flight: by default half of the connections that are the orders' own.

    The other half is left to single orders and cancels, which must not wait behind a batch.
    Raises InvalidRequest: if it is no whole number from 1 to `pool_size`.
    """
    if given is None:
        return max(1, settings.order_share // 2)
    if type(given) is not int or not 1 <= given <= settings.pool_size:
        raise InvalidRequest(
            f"limit must be a whole number from 1 to Settings.pool_size ({settings.pool_size}), got {given!r:.80}"
        )
    return given


def orders_of(given: Iterable[NewOrder]) -> list[NewOrder]:
    """Return the orders of a batch. Raises InvalidRequest: if one is none, or two have one client_order_id."""
    places: dict[str, int] = {}
    orders = _elements("orders", given)
    for place, order in enumerate(orders):
        if not isinstance(order, NewOrder):
            raise InvalidRequest(f"orders[{place}]: expected a NewOrder, got {type(order).__name__}")
        first = places.setdefault(order.client_order_id, place)
        if first != place:
            raise InvalidRequest(
                f"orders[{first}] and orders[{place}] have the same client_order_id {order.client_order_id!r}"
            )
    return orders


def cancels_of(
    given: Iterable[CancelOrder | NewOrder | ExecutionReport | str], exchange_id: str | None
) -> list[CancelOrder]:
    """Return the cancels of a batch. Raises InvalidRequest: if one names no order, or a malformed one."""
    return [_cancel(place, one, exchange_id) for place, one in enumerate(_elements("cancels", given))]


def _elements(name: str, given: Iterable[_T]) -> list[_T]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidRequest(f"{name} must be a list or another iterable, got {type(given).__name__}")
    return list(given)


def _cancel(place: int, one: object, exchange_id: str | None) -> CancelOrder:
    if isinstance(one, CancelOrder):
        return one
    if isinstance(one, NewOrder | ExecutionReport):
        return CancelOrder(exchange_id=one.exchange_id, client_order_id=one.client_order_id)
    if not isinstance(one, str):
        raise InvalidRequest(
            f"cancels[{place}]: expected a CancelOrder, an order, a report or a client_order_id, "
            f"got {type(one).__name__}"
        )
    if exchange_id is None:
        raise InvalidRequest(f"cancels[{place}] is a client_order_id: say on which account with exchange_id=")
    return CancelOrder(exchange_id=exchange_id, client_order_id=one)


async def run_batch(
    items: Sequence[_Item],
    send: Callable[[_Item], Awaitable[Outcome]],
    limit: int,
    on_outcome: OnOutcome | None,
) -> list[Outcome]:
    """Send every item, `limit` at a time, and return how each ended, in the order given.

    Equal items are sent once. If the caller is cancelled, nothing more is begun; what was sent goes on without it.
    Raises InvalidRequest: if `on_outcome` cannot be called; nothing is sent then.
    """
    on_outcome = checked_callback("on_outcome", on_outcome)
    import anyio
    from anyio.lowlevel import checkpoint_if_cancelled

    places: dict[_Item, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item, []).append(place)
    outcomes: list[Outcome | None] = [None] * len(items)
    waiting = iter(places.items())
    caller = asyncio.current_task()
    assert caller is not None  # noqa: S101  # a coroutine runs in a task
    cancels_before = caller.cancelling()  # more than 0 where a handler of CancelledError cancels its orders

    async def work() -> None:
        """Send one after another of what is left."""
        for item, mine in waiting:
            # A cancelled caller's own turn comes later than that of a worker whose answer is there.
            await checkpoint_if_cancelled()
            if caller.cancelling() > cancels_before:
                return
            outcome = await _outcome(item, send)
            for place in mine:
                outcomes[place] = outcome
                tell("on_outcome", on_outcome, place, outcome)

    async with anyio.create_task_group() as workers:
        for _ in range(min(limit, len(places))):
            workers.start_soon(work)
    return [outcome or _not_begun(item) for item, outcome in zip(items, outcomes, strict=True)]


async def _outcome(item: _Item, send: Callable[[_Item], Awaitable[Outcome]]) -> Outcome:
    """Send one; whatever is raised is its own outcome and nobody else's."""
    name = item.client_order_id
    try:
        return await send(item)
    except UsageError as error:
        return NotSent(client_order_id=name, reason=NotSentReason.ABANDONED, message=error.message)
    except ConfigurationError as error:
        if isinstance(item, NewOrder):
            return NotSent(client_order_id=name, reason=NotSentReason.ABANDONED, message=error.message)
        # A cancel may have been sent once, and fail like this when it is about to be sent again.
        return Unknown(client_order_id=name, message=error.message)
    except Exception as error:
        log.exception("order %s: outcome unknown: internal error", name)
        return Unknown(client_order_id=name, message=f"internal error ({type(error).__name__})")


def _not_begun(item: _Item) -> NotSent:
    message = "the batch was cancelled before its turn came"
    return NotSent(client_order_id=item.client_order_id, reason=NotSentReason.ABANDONED, message=message)


def report_of(outcome: Outcome) -> ExecutionReport:
    """Return the report of what was taken. Raises OrderError: as the outcome is."""
    if not isinstance(outcome, Accepted):
        raise error_of(outcome)
    if outcome.report is None:
        raise OrderUnknown("accepted without a report", outcome=outcome)
    return outcome.report


def reports_of(outcomes: Sequence[Outcome]) -> list[ExecutionReport]:
    """Return all reports. Raises OrdersFailed: if an order was not taken."""
    reports: list[ExecutionReport] = []
    errors: dict[int, OrderError] = {}
    for place, outcome in enumerate(outcomes):
        try:
            reports.append(report_of(outcome))
        except OrderError as error:
            errors[place] = error
    if errors:
        place, first = next(iter(errors.items()))
        counts = Counter(_WORDS[type(error)] for error in errors.values())
        told = ", ".join(f"{number} {word}" for word, number in counts.items())
        raise OrdersFailed(
            f"{len(errors)} of {len(outcomes)} orders were not taken ({told}); see `outcomes`. "
            f"The first, orders[{place}]: {first}",
            outcomes=outcomes,
            errors=errors,
        ) from first
    return reports
