"""Ctrl-C: the first ends a command in order, the next ends the process at once, and none shows a traceback."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from .context import Invocation
from .exits import Exit

__all__ = ["Interrupts", "as_usual", "sentence_of"]

_PATIENCE: Final = 4
"""So often it may be pressed while the last word is being said: whoever reads that may have stopped reading."""

Body = Callable[[], Awaitable[Exit | None]]


def sentence_of(run: Invocation) -> str:
    """Return what is said of a command that was interrupted."""
    return f"interrupted; {run.pending}" if run.pending else "interrupted."


@contextmanager
def as_usual() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt where it is pressed: for a question at the terminal, which blocks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupts:
    """While it is entered Ctrl-C raises nothing: it cancels the body, and when pressed again it ends the process.

    asyncio raises KeyboardInterrupt wherever the loop is when it is pressed twice, so that clients stay half
    closed and tasks are lost with a noise. What the process leaves behind here is what a kill leaves.
    Where Ctrl-C is ignored it stays so. status: how the command ended, once that is known.
    """

    def __init__(self, run: Invocation) -> None:
        self.status: Exit | None = None
        self._run = run
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._before: Any = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *raised: object) -> None:
        # Any other handler is that of our own process, which has nothing to do any more but to end with `status`.
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)

    def run_body(self, body: Body) -> Exit | None:
        """Run it in a loop of its own. Raises KeyboardInterrupt: if it was cancelled by Ctrl-C."""
        try:
            with asyncio.Runner(loop_factory=self._run.loop_factory()) as runner:
                return runner.run(self._watched(body))
        except asyncio.CancelledError:
            if self._count:
                raise KeyboardInterrupt from None
            raise
        finally:
            self._run.is_telling = True

    async def _watched(self, body: Body) -> Exit | None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await body()

    def _pressed(self, *_: object) -> None:
        self._count += 1
        if self.status is not None:
            os._exit(self.status)
        if self._run.is_telling and self._count < _PATIENCE:
            return
        if self._count == 1 and self._task is not None and self._loop is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_soon_threadsafe(lambda: None)  # it may be asleep
            return
        self._leave()

    def _leave(self) -> None:
        run = self._run
        if run.ended is None and not run.is_telling:
            run.out.break_off(sentence_of(run), Exit.INTERRUPTED)
        run.out.restore()
        os._exit(Exit.INTERRUPTED if run.ended is None else run.ended)
