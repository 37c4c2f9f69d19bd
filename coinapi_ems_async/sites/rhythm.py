"""How often a site is probed and how long a probe may take. Pure."""

from typing import Final

from ..settings import Settings

__all__ = ["interval", "timeout"]

_SLOW_TIMES: Final = 2.0
_SLOW_BY: Final = 0.020
_TRIPS: Final = 4
"""Of a probe that finds its connection gone: TCP, two of TLS 1.2, the request."""


def timeout(estimate: float | None, settings: Settings) -> float:
    """Return how long a probe may take, seconds; `estimate` None before the first sample."""
    if estimate is None:
        return settings.probe_timeout
    return min(max(_TRIPS * estimate + 0.05, settings.probe_timeout_least), settings.probe_timeout)


def interval(mine: float | None, best: float | None, *, is_best: bool, settings: Settings) -> float:
    """Return the seconds from one probe to the next; is_best: it is one of an exchange's two best sites."""
    if is_best:
        return settings.probe_interval
    is_slow = mine is not None and best is not None and mine > _SLOW_TIMES * best and mine > best + _SLOW_BY
    return settings.probe_interval_slow if is_slow else settings.probe_interval_others
