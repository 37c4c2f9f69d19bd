"""A bound on repeated reads: when everything fails, retries must not become the load that keeps it failing."""

from typing import Final

__all__ = ["RetryBudget"]

# Finagle's retry budget allows 20 % and a floor of 10 per second; gRPC's throttling stops at half a bucket of 10.
_SHARE: Final = 0.1
_BURST: Final = 10.0


class RetryBudget:
    """Each first request earns a tenth of a repetition; at most 10 are saved up."""

    def __init__(self) -> None:
        self._tokens = _BURST

    def earn(self) -> None:
        """Note a first request."""
        self._tokens = min(_BURST, self._tokens + _SHARE)

    def spend(self) -> bool:
        """Take one repetition; returns whether there was one left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
