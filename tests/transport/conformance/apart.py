"""A scripted server in a process of its own: it accepts every order, and counts how often it read each."""

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from ...wire import Reply, Seen, Transport, server_for
from .stage import accepted, order_id


class Apart:
    """The server as seen from here."""

    def __init__(self, url: str, pipe: Connection) -> None:
        self.url = url
        self._pipe = pipe

    def executions(self) -> Counter[str]:
        """How often it read each order, by client_order_id, since it was asked last."""
        self._pipe.send("executions")
        counted: Counter[str] = self._pipe.recv()
        return counted


class _Counting:
    def __init__(self) -> None:
        self.executions: Counter[str] = Counter()
        self.seen: list[Seen] = []

    def __call__(self, seen: Seen) -> Reply:
        if seen.operation == "POST /v1/orders":
            self.executions[order_id(seen)] += 1
        self.seen.clear()  # a hundred thousand of them would hold up the server
        return accepted(seen)


async def _serve(pipe: Connection, transport: Transport, fields: dict[str, Any]) -> None:
    counting = _Counting()
    async with server_for(transport, counting, **fields) as server:
        counting.seen = server.seen
        pipe.send(server.url)
        with suppress(EOFError):
            while await asyncio.to_thread(pipe.recv):
                pipe.send(counting.executions)
                counting.executions = Counter()


def _run(pipe: Connection, transport: Transport, fields: dict[str, Any]) -> None:
    asyncio.run(_serve(pipe, transport, fields))


@contextmanager
def apart(transport: Transport, **fields: Any) -> Iterator[Apart]:
    """Yield a server in a process of its own; `fields` are those of the scripted server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, transport, fields), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Apart(ours.recv(), ours)
    finally:
        ours.close()
        process.join(5)
        process.kill()
