"""A server in a process of its own that answers every request with one canned execution report."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import cast

ORDER_ID = "6ab36bc1-344d-432e-ac6d-0bf44ee64c2b"

REPORT = (
    b'{"type":"ORDER_EXEC_REPORT_UPDATE","id":"6ab36bc1-344d-432e-ac6d-0bf44ee64c2b",'
    b'"client_order_id_format_exchange":"74733759","exchange_order_id":"OX6EKO-67KDQ-KGNYFI",'
    b'"amount_open":0.045,"amount_filled":0.0,"status":"ROUTED","status_history":'
    b'[["RECEIVED","2026-02-22T23:55:31.5424443Z"],["ROUTING","2026-02-22T23:55:31.5424443Z"],'
    b'["ROUTED","2026-02-22T23:55:31.7424443Z"]],"error_message":null,"fills":[],'
    b'"exchange_id":"KRAKEN/JOHN","client_order_id":"6ab36bc1-344d-432e-ac6d-0bf44ee64c2b",'
    b'"symbol_id_exchange":"XBT/USDT","symbol_id_coinapi":"KRAKEN_SPOT_BTC_USDT","amount_order":0.045,'
    b'"price":10799.2,"avg_px":0.0,"side":"BUY","order_type":"LIMIT","time_in_force":"GOOD_TILL_CANCEL",'
    b'"expire_time":null,"exec_inst":[]}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(REPORT)
) + REPORT


class Canned(asyncio.Protocol):
    """Answers once for every request that has arrived whole."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(ANSWER)


async def _serve(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, _until_closed, pipe)


def _until_closed(pipe: Connection) -> None:
    with suppress(EOFError):
        pipe.recv()


def _run(pipe: Connection) -> None:
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(pipe))
    except ImportError:
        asyncio.run(_serve(pipe))


@contextmanager
def canned_server() -> Iterator[str]:
    """Yield the server's base URL; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.send(None)
        process.join(5)
        process.terminate()
