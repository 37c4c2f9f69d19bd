"""Functions of the caller's that are told of progress."""

import logging
from collections.abc import Callable
from typing import Any, Final

from ..errors import InvalidRequest
from ..observer import is_plain, never_awaited

__all__ = ["checked_callback", "tell"]

log: Final = logging.getLogger("coinapi_ems_async.orders")


def checked_callback(name: str, given: Callable[..., object] | None) -> Callable[..., Any] | None:
    """Return what is to be called. Raises InvalidRequest: unless it is None or a plain function."""
    if given is None:
        return None
    if not is_plain(given):
        raise InvalidRequest(f"{name} must be a plain function, called and not awaited; got {given!r:.80}")
    return never_awaited(name, given, log)


def tell(name: str, function: Callable[..., Any] | None, *news: object) -> None:
    """Call a function of the caller's; what it raises is logged and harms nothing."""
    if function is None:
        return
    try:
        function(*news)
    except Exception:
        log.exception("%s raised", name)
