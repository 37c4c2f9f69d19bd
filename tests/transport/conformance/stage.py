"""A scripted server and a client before it: three kinds of call, and in one word what each came to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import pytest

from coinapi_ems_async import Accepted, EMSClient, EMSError, NewOrder, NotSent, Rejected, Unknown

from ...conftest import ACCOUNT, an_order
from ...wire import Reply, ScriptedServer, Seen, Transport, answer, client_of, report, server_for

TRANSPORTS: Final[tuple[Transport, ...]] = ("http1", "http2", "aiohttp")
EVERY_TRANSPORT: Final = pytest.mark.parametrize("transport", TRANSPORTS)
OURS: Final = pytest.mark.parametrize("transport", ["http1", "http2"])

Replies = Callable[[Seen], Reply]


class Stage:
    """`script` may be changed from call to call."""

    def __init__(self, server: ScriptedServer, ems: EMSClient) -> None:
        self.server = server
        self.ems = ems

    def says(self, script: Replies) -> "Stage":
        self.server.script = script
        return self

    async def order(self, order: NewOrder | None = None, **options: Any) -> str:
        return await told(self.ems.orders.submit(order or an_order(), **options))

    async def cancel_all(self, **options: Any) -> str:
        return await told(self.ems.orders.submit_cancel_all(exchange_id=ACCOUNT, **options))

    async def read(self, **options: Any) -> str:
        return await told(self.ems.balances.get(**options))

    async def all_three(self) -> tuple[str, str, str]:
        return await self.order(), await self.cancel_all(), await self.read(timeout=0.7)

    def executions(self, order: NewOrder) -> int:
        """How often the server read the order."""
        return sum(order_id(seen) == order.client_order_id for seen in self.server.operations("POST /v1/orders"))


async def told(call: Awaitable[Any]) -> str:
    """Return what the call came to: the outcome with its reason, "value", or the name of what it raised."""
    try:
        outcome = await call
    except EMSError as error:
        return type(error).__name__
    match outcome:
        case Accepted():
            return "accepted"
        case Rejected():
            return f"rejected: {outcome.reason}"
        case NotSent():
            return f"not sent: {outcome.reason}"
        case Unknown():
            return "unknown"
    return "value"


@asynccontextmanager
async def stage(
    transport: Transport,
    script: Replies | None = None,
    *,
    server: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """`server` holds fields of the server's, `options` those of the client and numbers of its settings."""
    brief = {"late_answer": 0.05, "close_wait": 0.05, "reconcile": False}
    async with server_for(transport, script or accepted, **(server or {})) as one:
        async with client_of(one.url, transport, **(brief | options)) as ems:
            yield Stage(one, ems)


def order_id(seen: Seen) -> str:
    return seen.body.split(b'"client_order_id":"')[1].split(b'"')[0].decode()


def success(seen: Seen) -> bytes:
    """The least body with which the service says yes."""
    if seen.operation in ("POST /v1/orders", "POST /v1/orders/cancel"):
        return report(seen)
    return b'{"message":"Ok"}' if seen.method == "POST" else b"[]"


def accepted(seen: Seen) -> Reply:
    return answer(success(seen))


def endpoints(*urls: str) -> bytes:
    """The site table of a management API: every URL serves the tests' account."""
    rows = [{"exchange_id": ACCOUNT, "location_id": "L", "endpoint_url": url} for url in urls]
    return msgspec.json.encode(rows)
