"""How long a connection may stay unused: less than the server lets it. Pure; times are monotonic seconds."""

from typing import Final

__all__ = ["IdleLimit"]

_SHARE: Final = 0.75
"""Of what the server allows: it may close while our request is on its way."""
_LEAST: Final = 0.05
_AGREES_WITHIN: Final = 0.25
_RELAX_AFTER: Final = 60.0
_APART: Final = 0.05


class IdleLimit:
    """The least of the setting, what the server says (Keep-Alive: timeout), and what it was seen to do.

    One connection that the server ended proves nothing: it may have been restarted. Two that ended at about the
    same age, not at the same moment, show its limit. A limit that was only seen grows again, doubling every minute
    in which nothing confirms it.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._told = most
        self._seen: float | None = None
        self._seen_at = 0.0
        self._last: tuple[float, float] | None = None
        self.limit = most
        """Seconds after which an idle connection is not used any more."""

    def told_by_peer(self, timeout: float) -> None:
        """Take in the server's own word, seconds."""
        self._told = max(_LEAST, _SHARE * timeout)
        self._update()

    def closed_by_peer(self, age: float, now: float) -> None:
        """Take in that the server ended a connection that had been idle for `age` seconds."""
        last, self._last = self._last, (age, now)
        if last is None or now - last[1] < _APART:
            return
        longer, shorter = max(age, last[0]), min(age, last[0])
        if longer - shorter <= _AGREES_WITHIN * longer:
            self._seen = max(_LEAST, min(_SHARE * shorter, self._seen or self._most))
            self._seen_at = now
            self._update()

    def relax(self, now: float) -> None:
        """Trust what was seen a little less as time goes by."""
        if self._seen is not None and now - self._seen_at >= _RELAX_AFTER:
            self._seen = None if 2 * self._seen >= self._most else 2 * self._seen
            self._seen_at = now
            self._update()

    def _update(self) -> None:
        self.limit = min(self._most, self._told, self._most if self._seen is None else self._seen)
