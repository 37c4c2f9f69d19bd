"""The load on a client, open loop: reads and orders at their rates, whatever becomes of those before."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from coinapi_ems_async import AttemptRecord, CallRecord, EMSClient, NewOrder, Side, TimeInForce
from coinapi_ems_async.errors import EMSError

from .rig import ACCOUNT, OTHER_ACCOUNT

__all__ = ["CallLog", "Done", "Load", "an_order", "write_log"]

_OTHER_EACH: Final = 20
"""Every so many reads one is of the other account."""
_CANCEL_EACH: Final = 10
"""Every so many orders one rests in the book, and is cancelled."""
_CANCEL_ALL_EACH: Final = 40
"""Every so many orders all those of the other account are cancelled."""


class Done(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of the client's, as its hook told it: seconds on the clock that the servers' logs use too.

    ended: as `CallRecord` says it. sites: of its attempts, in order. site, committed: of the one that decided.
    The garbage collector does not look through them: the client would have to wait for that.
    """

    operation: str
    ended: str
    started: float
    done: float
    committed: float | None
    site: str | None
    sites: tuple[str, ...]
    failures: tuple[str, ...]
    client_order_id: str | None
    exchange_id: str | None
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.done - self.started

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.operation not in ("order_new", "order_cancel", "order_cancel_all")

    @property
    def is_order(self) -> bool:
        """Whether it is a new order."""
        return self.operation == "order_new"


class CallLog(list[Done]):
    """The client's attempt log: give it to a client as `on_call`."""

    def __call__(self, record: CallRecord) -> None:
        """Take in a call that has ended."""
        timing, now = record.timing, monotonic()
        last = record.attempts[-1].site if record.attempts else None
        self.append(
            Done(
                operation=record.operation,
                ended=record.ended,
                started=now if timing is None else timing.started,
                done=now if timing is None or timing.decoded is None else timing.decoded,
                committed=None if timing is None else timing.committed,
                site=last if timing is None else timing.site or last,
                sites=tuple(one.site for one in record.attempts),
                failures=tuple(one.failure or "" for one in record.attempts),
                client_order_id=record.client_order_id,
                exchange_id=record.exchange_id,
                attempts=record.attempts,
            )
        )

    @property
    def reads(self) -> list[Done]:
        """The reads, management calls not among them."""
        return [one for one in self if one.is_read and one.operation == "positions"]

    @property
    def orders(self) -> list[Done]:
        """The new orders."""
        return [one for one in self if one.is_order]


def write_log(path: Path, log: CallLog) -> None:
    """Append the log to a file, a line of JSON for each call."""
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(one) + b"\n" for one in log)


def an_order(exchange_id: str = ACCOUNT, *, rests: bool = False) -> NewOrder:
    """Return an order far from the market: it rests in the book, or is gone at once."""
    symbol = "KRAKEN_SPOT_BTC_USDT" if exchange_id == ACCOUNT else "BITMEX_PERP_BTC_USDT"
    return NewOrder(
        exchange_id=exchange_id,
        symbol_id_coinapi=symbol,
        side=Side.BUY,
        amount_order="0.045",
        price="9000",
        time_in_force=TimeInForce.GOOD_TILL_CANCEL if rests else TimeInForce.IMMEDIATE_OR_CANCEL,
    )


class Load:
    """So many reads and orders a second until it is stopped: `async with Load(ems, ...)`.

    cancels: how many cancels of one order, and of all, were asked for.
    """

    def __init__(
        self, ems: EMSClient, *, reads: float = 100.0, orders: float = 20.0, order_timeout: float = 1.5
    ) -> None:
        self._ems = ems
        self._rates = (reads, orders)
        self._timeout = order_timeout
        self._running: set[asyncio.Task[object]] = set()
        self._clocks: list[asyncio.Task[None]] = []
        self._number = self._reads = 0
        self.cancels: dict[str, int] = {}
        self.cancels_of_all = 0

    async def __aenter__(self) -> "Load":
        for rate, call in zip(self._rates, (self._read, self._order), strict=True):
            if rate > 0:
                self._clocks.append(asyncio.create_task(self._each(1 / rate, call)))
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Begin nothing more, and wait for what is under way."""
        for clock in self._clocks:
            clock.cancel()
        await asyncio.gather(*self._clocks, return_exceptions=True)
        while self._running:
            await asyncio.wait(set(self._running))

    async def _each(self, interval: float, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        due = monotonic()
        while True:
            task = asyncio.create_task(call())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            due += interval
            await asyncio.sleep(max(0.0, due - monotonic()))

    async def _read(self) -> None:
        self._reads += 1
        try:
            await self._ems.positions.get(ACCOUNT if self._reads % _OTHER_EACH else OTHER_ACCOUNT)
        except EMSError:
            return  # the hook was told

    async def _order(self) -> None:
        self._number += 1
        orders, timeout = self._ems.orders, self._timeout
        if self._number % _CANCEL_ALL_EACH == 0:
            await orders.submit(an_order(OTHER_ACCOUNT), timeout=timeout)
            self.cancels_of_all += 1
            await orders.submit_cancel_all(exchange_id=OTHER_ACCOUNT, timeout=timeout)
        elif self._number % _CANCEL_EACH == 0:
            order = an_order(rests=True)
            await orders.submit(order, timeout=timeout)
            self.cancels[order.client_order_id] = self.cancels.get(order.client_order_id, 0) + 1
            await orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id, timeout=timeout)
        else:
            await orders.submit(an_order(), timeout=timeout)
