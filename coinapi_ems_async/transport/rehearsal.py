"""Going through an answer once more while the next one is on its way.

Whoever waits for a server sleeps, and the processor forgets what comes next: the code, which way it turned, the
tables of the decoder. From the first byte of an answer until its caller goes on takes 12 us if something like it
was read a moment ago, and 20 if not. Nothing else is to be done in that wait, so the last answer is read again.
Nothing comes of it, and nobody is told.
"""

from math import inf
from typing import Final

from ..operations import Request
from ..settings import Settings
from .base import Attempt, Connection
from .http1 import Http1Connection, RequestHeads

__all__ = ["Rehearsal"]


class Rehearsal:
    """Reads answers that have been read already, on a connection that leads nowhere."""

    def __init__(self, heads: RequestHeads, settings: Settings) -> None:
        self._heads = heads
        self._settings = settings
        self._stage: Http1Connection | None = None

    def read(self, request: Request, data: bytes) -> None:
        """Go through a whole answer to a request, from its first byte to its value."""
        stage = self._stage
        if stage is None or not stage.room:  # an answer after which its connection had to end
            stage = self._stage = Http1Connection(_NOBODY, 0, self._heads, self._settings)
        stage.replay(Attempt(request, "", inf), data)


class _Nobody:
    """Owns a connection that leads nowhere."""

    def finished(self, connection: Connection, attempt: Attempt) -> None:
        """Take no notice."""

    def roomier(self, connection: Connection) -> None:
        """Take no notice."""

    def ended(self, connection: Connection, *, by_peer: bool) -> None:
        """Take no notice."""


_NOBODY: Final = _Nobody()
