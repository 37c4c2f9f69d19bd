"""A simulator in a process of its own: the side that runs it, which `processes` starts."""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from .remote import Question, facts_of
from .simulator import Simulator

LOGGER: Final = logging.getLogger("coinapi_ems_async.simulator")


@dataclass(frozen=True)
class Task:
    """What the process is to be: the simulator's arguments, its event loop, and the cores it may use."""

    arguments: dict[str, Any]
    loop: str
    cpus: Collection[int] | None


@dataclass(frozen=True)
class Letter:
    """A question and its number."""

    number: int
    question: Question


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
        _send(connection, Reply(0, facts_of(simulator, bool(arguments.get("tls")))))
        while (letter := await _next(connection)) is not None:
            _send(connection, await _answer(simulator, letter))
    finally:
        await simulator.stop()


async def _next(connection: Connection) -> Letter | None:
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
    return found if isinstance(found, Letter) else None


async def _answer(simulator: Simulator, letter: Letter) -> Reply:
    try:
        return Reply(letter.number, await letter.question.ask(simulator))
    except Exception as error:
        return Reply(letter.number, error=error)


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
