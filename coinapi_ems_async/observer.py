"""Telling a user's hook of every call, off the way of the calls themselves."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from .operations import Request
from .outcomes import AttemptRecord, Outcome, Timing

__all__ = ["CallHook", "CallRecord", "Observer", "SettledHook"]

log: Final = logging.getLogger("coinapi_ems_async.client")


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call from its beginning to its end, all attempts included.

    operation: such as `order_new`. ended: "accepted", "rejected", "not sent", "unknown" for changes; "value" or
    the name of the error for reads and management calls; "cancelled" if the caller went away. timing: of the last
    attempt, None if there was none.
    """

    operation: str
    ended: str
    exchange_id: str | None = None
    client_order_id: str | None = None
    timing: Timing | None = None
    attempts: tuple[AttemptRecord, ...] = ()


CallHook = Callable[[CallRecord], object]
"""Called once for each call, from the event loop, after its caller was told; what it raises is logged."""


SettledHook = Callable[[Outcome], object]
"""Called when an order of unknown outcome is settled, with what became of it; what it raises is logged."""


class Observer:
    """Hands records and late outcomes to the hooks, if there are any."""

    def __init__(self, hook: CallHook | None, on_settled: SettledHook | None = None) -> None:
        self._hook = hook
        self._on_settled = on_settled
        self.is_watching = hook is not None

    def tell(
        self, request: Request, ended: str, timing: Timing | None, attempts: tuple[AttemptRecord, ...]
    ) -> None:
        """Tell the hook of a call, soon."""
        record = CallRecord(
            operation=request.operation.name,
            ended=ended,
            exchange_id=request.exchange_id,
            client_order_id=request.client_order_id,
            timing=timing,
            attempts=attempts,
        )
        asyncio.get_running_loop().call_soon(self._call, record)

    def _call(self, record: CallRecord) -> None:
        try:
            if self._hook is not None:
                self._hook(record)
        except Exception:
            log.exception("the on_call hook failed on %s", record.operation)

    def settled(self, outcome: Outcome) -> None:
        """Tell the hook what became of an order, soon."""
        if self._on_settled is not None:
            asyncio.get_running_loop().call_soon(self._call_settled, self._on_settled, outcome)

    @staticmethod
    def _call_settled(hook: SettledHook, outcome: Outcome) -> None:
        try:
            hook(outcome)
        except Exception:
            log.exception("the on_settled hook failed on %s", outcome.client_order_id)
