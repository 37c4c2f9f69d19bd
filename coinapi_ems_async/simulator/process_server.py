"""A simulator in a process of its own: the side that runs it, which `processes` starts."""

import asyncio
import inspect
import logging
import os
import pickle
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from .simulator import Simulator

LOGGER: Final = logging.getLogger("coinapi_ems_async.simulator")


@dataclass(frozen=True)
class Task:
    """What the process is to be: the simulator's arguments, its event loop, and the cores it may use."""

    arguments: dict[str, Any]
    loop: str
    cpus: Collection[int] | None


@dataclass(frozen=True)
class Facts:
    """Where the simulator is, told once it runs."""

    api_key: str
    management_url: str
    site_urls: dict[str, str]
    gateway_urls: dict[str, str]
    environment: dict[str, str]
    ca_pem: bytes


@dataclass(frozen=True)
class Question:
    """A call, or the reading of a property, of the simulator or (`wire`) of the proxy before a site."""

    number: int
    name: str
    arguments: tuple[Any, ...]
    wire: str | None


@dataclass(frozen=True)
class Reply:
    """What came of it."""

    number: int
    value: Any = None
    error: Exception | None = None


async def serve(connection: Connection, arguments: dict[str, Any]) -> None:
    """Run a simulator, and answer questions until the other side is gone."""
    try:
        simulator = Simulator(**arguments)
        await simulator.start()
    except Exception as error:
        _send(connection, Reply(0, error=error))
        return
    try:
        _send(connection, Reply(0, _facts(simulator, bool(arguments.get("tls")))))
        while (question := await _next(connection)) is not None:
            _send(connection, await _answer(simulator, question))
    finally:
        await simulator.stop()


async def _next(connection: Connection) -> Question | None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection.fileno())
    try:
        found = connection.recv()
    except (EOFError, OSError):
        return None
    return found if isinstance(found, Question) else None


async def _answer(simulator: Simulator, question: Question) -> Reply:
    try:
        if question.name.startswith("_"):
            raise AttributeError(f"{question.name!r} is not public")
        target = simulator if question.wire is None else simulator.wire(question.wire)
        value = getattr(target, question.name)
        if callable(value):
            value = value(*question.arguments)
        if inspect.isawaitable(value):
            value = await value
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | tuple):
            value = list(value)
        return Reply(question.number, value)
    except Exception as error:
        return Reply(question.number, error=error)


def _send(connection: Connection, reply: Reply) -> None:
    try:
        data = pickle.dumps(reply)
    except Exception as error:
        failure = RuntimeError(f"this cannot be told to another process: {error}")
        data = pickle.dumps(Reply(reply.number, error=failure))
    try:
        connection.send_bytes(data)
    except OSError:
        LOGGER.debug("nobody listens any more")


def _facts(simulator: Simulator, tls: bool) -> Facts:
    return Facts(
        simulator.api_key,
        simulator.management_url,
        simulator.site_urls,
        simulator.gateway_urls,
        simulator.environment(),
        simulator.ca_pem if tls else b"",
    )


def main() -> None:
    """Serve on the descriptor that the command line names."""
    connection = Connection(int(sys.argv[1]))
    task = connection.recv()
    assert isinstance(task, Task)  # noqa: S101 - what `processes` sends first
    if task.cpus is not None and sys.platform == "linux":
        os.sched_setaffinity(0, task.cpus)
    run: Any = asyncio.run
    if task.loop == "uvloop":
        import uvloop

        run = uvloop.run
    run(serve(connection, task.arguments))
