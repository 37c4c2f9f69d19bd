"""What the tests of the journal share."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from coinapi_ems_async import EMSClient, Settings
from coinapi_ems_async.simulator import Simulator


def client(sim: Simulator, journal: Path, **settings: Any) -> EMSClient:
    quick = {"late_answer": 0.2, "close_wait": 1.0} | settings
    return EMSClient(sim.api_key, management_url=sim.management_url, journal=journal, settings=Settings(**quick))


def rows(path: Path, columns: str = "client_order_id, outcome") -> list[tuple[Any, ...]]:
    """What stands in the file, in order of writing."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM orders ORDER BY number").fetchall()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def seen(sim: Simulator) -> list[str | None]:
    """Return the ids of the new orders that were asked for."""
    return [record.client_order_id for record in sim.requests if record.operation == "order_new"]


def contents(folder: Path) -> list[bytes]:
    return [one.read_bytes() for one in folder.iterdir()]


@contextmanager
def stalled(path: Path) -> Iterator[Callable[[], None]]:
    """While it lasts, or until what is yielded is called, nothing can be written to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")

        def release() -> None:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

        try:
            yield release
        finally:
            release()


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about within 10 s") from None
