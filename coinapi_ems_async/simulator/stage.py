"""What is started and stopped, by `with` or, without holding up the loop, by `async with`."""

from abc import ABC, abstractmethod
from asyncio import to_thread
from typing import Self


class Stage(ABC):
    """Base of what runs in processes of its own."""

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until it serves."""

    @abstractmethod
    def stop(self) -> None:
        """End it; does nothing if it does not run."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await to_thread(self.stop)
