"""Our own canned server, run as `python -m benchmarks.servers.own`; on uvloop where that is installed.

It says on standard output where it listens, one line of JSON, and ends when its standard input does.
"""

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import cast

import msgspec

from ..peers import Skipped, load
from .base import SITES, Certificates, Server
from .http1 import Http1
from .http2 import PREFACE, Http2
from .management import LAST_ORDER, answers

Routes = Mapping[bytes, Callable[[], bytes]]


class Canned(asyncio.Protocol):
    """One connection, of the HTTP version that its first bytes speak."""

    last_order: "tuple[float, int] | None" = None
    """When the connection that brought the last order was accepted (`time.monotonic`), and its orders so far."""

    def __init__(self, routes: Routes, idle: float | None) -> None:
        self._routes = routes
        self._idle = idle
        self._speaker: Http1 | Http2 | None = None
        self._first = b""
        self._orders = 0
        self._closing: asyncio.TimerHandle | None = None
        self._accepted = monotonic()  # of TLS too: protocols are made before the handshake begins

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()

    def data_received(self, data: bytes) -> None:
        if self._speaker is None:
            data, self._first = self._first + data, b""
            if PREFACE.startswith(data) and len(data) < len(PREFACE):
                self._first = data
                return
            write = self._transport.write
            self._speaker = Http2(write) if data.startswith(PREFACE) else Http1(write, self._routes)
        if self._speaker.feed(data):
            self._orders += 1
            Canned.last_order = self._accepted, self._orders
        self._rest()

    def _rest(self) -> None:
        if self._idle is None:
            return
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(self._idle, self._transport.close)


async def _serve(chain: Path | None, idle: float | None) -> None:
    loop = asyncio.get_running_loop()
    routes: dict[bytes, Callable[[], bytes]] = {}

    async def listen(tls: ssl.SSLContext | None = None) -> str:
        server = await loop.create_server(lambda: Canned(routes, idle), "127.0.0.1", 0, ssl=tls, backlog=4096)
        servers.append(server)
        return f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    servers: list[asyncio.Server] = []
    clear = await listen()
    tls = await listen(_context(chain)) if chain is not None else None
    sites = [await listen() for _ in range(SITES)]
    for path, body in answers(sites).items():
        routes[path.encode()] = lambda body=body: body.encode()  # type: ignore[misc]  # cannot infer the default
    routes[LAST_ORDER.encode()] = lambda: json.dumps(Canned.last_order).encode()
    name = f"own server on {type(loop).__module__.partition('.')[0]}"
    told = Server(name=name, clear=clear, h2=clear, management=clear, tls=tls)
    print(msgspec.json.encode(told).decode(), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def _context(chain: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@contextlib.contextmanager
def running(certificates: Certificates | None, *, idle: float | None = None) -> Iterator[Server]:
    """Yield the server, in a process of its own."""
    command = [sys.executable, "-m", __name__]
    if certificates is not None:
        command += ["--chain", str(certificates.chain)]
    if idle is not None:
        command += ["--idle", str(idle)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield msgspec.json.decode(process.stdout.readline(), type=Server)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        return cast(Callable[[], asyncio.AbstractEventLoop], load("uvloop").new_event_loop)
    except Skipped:
        return asyncio.new_event_loop


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chain", type=Path)
    parser.add_argument("--idle", type=float)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(arguments.chain, arguments.idle))


if __name__ == "__main__":
    main()
