"""How a site fares, from its probes and from the calls it carried. Pure."""

from enum import StrEnum
from typing import Final

from ..matrix import Row

__all__ = ["CONNECT_FAILURES", "RANK", "Health", "HealthRecord"]


class Health(StrEnum):
    """Whether a site is worth asking."""

    NEW = "new"
    HEALTHY = "healthy"
    PROBATION = "probation"
    SUSPECT = "suspect"
    EJECTED = "ejected"


RANK: Final = {Health.HEALTHY: 0, Health.NEW: 1, Health.PROBATION: 2, Health.SUSPECT: 3, Health.EJECTED: 4}
"""Lower is better; an ejected site is still tried when nothing else is left: a failed connect costs nothing."""

CONNECT_FAILURES: Final = frozenset(
    {Row.NAME_LOOKUP, Row.REFUSED, Row.CONNECT_TIMEOUT, Row.TLS_VERIFICATION, Row.TLS_HANDSHAKE}
)

_EJECT_AFTER: Final = 2


class HealthRecord:
    """Health of one site: a failure makes it suspect, the second in a row ejects it, a success clears both."""

    def __init__(self) -> None:
        self.state = Health.NEW
        self.failures = 0
        self.last_error: str | None = None

    def good(self) -> bool:
        """Take in a success; returns whether the state changed."""
        self.failures = 0
        return self._move(Health.HEALTHY)

    def bad(self, reason: str) -> bool:
        """Take in a failure; returns whether the state changed."""
        self.failures += 1
        self.last_error = reason
        return self._move(Health.EJECTED if self.failures >= _EJECT_AFTER else Health.SUSPECT)

    def _move(self, state: Health) -> bool:
        changed, self.state = state is not self.state, state
        return changed
