"""Telling a user's hook of every call, off the way of the calls themselves; and what may be such a hook."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction
from typing import Any, Final

import msgspec

from .operations import Request
from .outcomes import AttemptRecord, Outcome, Timing

__all__ = ["CallHook", "CallRecord", "Observer", "SettledHook", "is_plain", "never_awaited"]

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


def is_plain(given: object) -> bool:
    """Whether it can be called, and does its work then: as far as can be seen, nobody has to await the result."""
    while isinstance(given, partial):
        given = given.func
    ways = (given, getattr(type(given), "__call__", None))  # noqa: B004 - the function itself is looked at
    return callable(given) and not any(iscoroutinefunction(way) or isasyncgenfunction(way) for way in ways)


def never_awaited(name: str, function: Callable[..., object], log: logging.Logger) -> Callable[..., Any]:
    """Return the function, with one ERROR if it turns out to return coroutines: they are closed, and never run."""
    is_told = False

    def call(*news: object) -> None:
        """Call it, and see what it returns."""
        nonlocal is_told
        returned = function(*news)
        if not iscoroutine(returned):
            return
        returned.close()
        if not is_told:
            is_told = True
            log.error("%s must not be async: it returns a coroutine, which nobody awaits", name)

    return call


class Observer:
    """Hands records and late outcomes to the hooks, if there are any."""

    def __init__(self, hook: CallHook | None, on_settled: SettledHook | None = None) -> None:
        self._hook = hook and never_awaited("on_call", hook, log)
        self._on_settled = on_settled and never_awaited("on_settled", on_settled, log)
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
