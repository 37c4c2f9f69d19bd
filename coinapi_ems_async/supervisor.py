"""Background loops of the client: restarted when they crash, stopped when it closes.

Plain asyncio tasks on purpose: a task group entered in `__aenter__` breaks async fixtures, and would cancel
the user's bot for a bug in a probe.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Supervisor"]

log: Final = logging.getLogger("coinapi_ems_async.client")

_FIRST_BACKOFF: Final = 1.0
_MOST_BACKOFF: Final = 30.0


class Supervisor:
    """Runs named loops; a crash is logged, counted in `crashes` and followed by a restart after 1 to 30 s."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.crashes: dict[str, int] = {}

    @property
    def running(self) -> list[str]:
        """Names of the loops that run."""
        return [name for name, task in self._tasks.items() if not task.done()]

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Begin the loop that `loop()` makes."""
        task = asyncio.get_running_loop().create_task(self._run(name, loop), name=f"coinapi-ems: {name}")
        self._tasks[name] = task

    async def _run(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await loop()
            except Exception:
                self.crashes[name] = self.crashes.get(name, 0) + 1
                log.exception("%s crashed; it starts again in %.0f s", name, backoff)
            else:
                return
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _MOST_BACKOFF)

    async def stop(self, *names: str) -> None:
        """Stop the named loops, all without names, and wait until they are gone."""
        tasks = [self._tasks.pop(name) for name in names or tuple(self._tasks) if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
