"""A real HTTP/2 server, hypercorn: TLS with ALPN, plain with prior knowledge, and one that knows HTTP/1.1 only."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from hypercorn.typing import Framework

from coinapi_ems_async import Accepted, EMSClient

from ...conftest import ACCOUNT, an_order
from ...wire import Seen, Transport, client_of
from . import authority
from .stage import success, told

pytestmark = pytest.mark.every_loop

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class App:
    """An ASGI application that answers every call with the least success."""

    versions: Counter[str] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)
    size: int = 0
    """Of the blanks after each body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        status, said = 404, b""
        if scope["path"] != "/":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            seen = Seen(scope["method"], scope["path"], headers, body, 0, 0)
            self.seen.append(seen)
            self.versions[scope["http_version"]] += 1
            status, said = 200, success(seen) + b" " * self.size
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": said})


@dataclass
class _Ready(Config):
    """Takes sockets that listen already, so that nobody need wait for them."""

    sockets: Sockets | None = None

    def create_sockets(self) -> Sockets:
        assert self.sockets is not None
        return self.sockets


@asynccontextmanager
async def hypercorn(app: App, directory: Path | None, *, alpn: list[str] | None = None) -> AsyncIterator[str]:
    """Run it on a free port, over TLS if there is a directory for its certificate; yield its URL."""
    listener = socket.create_server((authority.HERE, 0))
    listener.setblocking(False)
    config = _Ready()
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.01
    config.alpn_protocols = alpn or ["h2", "http/1.1"]
    if directory is not None:
        issued = authority.trusted().issue_cert(authority.HERE)
        config.certfile, config.keyfile = str(directory / "cert.pem"), str(directory / "key.pem")
        issued.private_key_pem.write_to_path(config.keyfile)
        issued.cert_chain_pems[0].write_to_path(config.certfile)
    secure = directory is not None
    config.sockets = Sockets([listener] if secure else [], [] if secure else [listener], [])
    over = asyncio.Event()
    running = asyncio.create_task(serve(cast(Framework, app), config, shutdown_trigger=over.wait))
    try:
        yield f"http{'s' if secure else ''}://{authority.HERE}:{listener.getsockname()[1]}"
    finally:
        over.set()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        listener.close()


@asynccontextmanager
async def trading(
    transport: Transport, app: App, directory: Path | None, *, alpn: list[str] | None = None
) -> AsyncIterator[EMSClient]:
    async with hypercorn(app, directory, alpn=alpn) as url:
        context: ssl.SSLContext | None = authority.client_context() if directory is not None else None
        async with client_of(url, transport, ssl_context=context) as ems:
            yield ems


async def every_call(ems: EMSClient) -> list[str]:
    order = an_order()
    calls = (
        ems.orders.submit(order),
        ems.orders.submit_cancel(exchange_id=ACCOUNT, client_order_id=order.client_order_id),
        ems.orders.submit_cancel_all(exchange_id=ACCOUNT),
        ems.orders.open(),
        ems.balances.get(),
        ems.positions.get(exchange_id=ACCOUNT),
    )
    return [await told(call) for call in calls]


YES = ["accepted", "accepted", "accepted", "value", "value", "value"]


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize("transport", ["http1", "http2", "aiohttp"])
async def test_every_call_over_every_transport(transport: Transport, secure: bool, tmp_path: Path) -> None:
    app = App()
    async with trading(transport, app, tmp_path if secure else None) as ems:
        assert await every_call(ems) == YES
    assert app.versions == {"2" if transport == "http2" else "1.1": len(YES)}


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
async def test_many_streams_side_by_side(secure: bool, tmp_path: Path) -> None:
    app = App()
    async with trading("http2", app, tmp_path if secure else None) as ems:
        ended = await asyncio.gather(*(told(ems.orders.submit(an_order())) for _ in range(200)))
        assert Counter(ended) == {"accepted": 200}
        assert len({seen.body for seen in app.seen}) == 200


async def test_an_answer_larger_than_every_window(tmp_path: Path) -> None:
    app = App(size=3_000_000)
    async with trading("http2", app, tmp_path) as ems:
        ended = await asyncio.gather(*(told(ems.balances.get()) for _ in range(4)))
        assert ended == ["value"] * 4


async def test_a_server_without_http2_is_spoken_to_in_http1(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coinapi_ems_async")
    app = App()
    async with trading("http2", app, tmp_path, alpn=["http/1.1"]) as ems:
        assert await every_call(ems) == YES
        ended = await asyncio.gather(*(ems.orders.submit(an_order()) for _ in range(20)))
        assert all(isinstance(outcome, Accepted) for outcome in ended)
    assert set(app.versions) == {"1.1"}
    assert len(app.seen) == len(YES) + 20
    said = [record.getMessage() for record in caplog.records if "HTTP/1.1" in record.getMessage()]
    assert len(said) == 1
