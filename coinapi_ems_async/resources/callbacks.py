"""Functions of the caller's that are told of progress."""

import inspect
import logging
from collections.abc import Callable
from typing import Any, Final

from ..errors import InvalidRequest

__all__ = ["check_callback", "tell"]

log: Final = logging.getLogger("coinapi_ems_async.orders")


def check_callback(name: str, given: object) -> None:
    """Raise InvalidRequest: if it is neither None nor a plain function, since nobody would await another."""
    if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise InvalidRequest(f"{name} must be a plain function, called and not awaited; got {given!r:.80}")


def tell(name: str, function: Callable[..., Any] | None, *news: object) -> None:
    """Call a function of the caller's; what it raises is logged and harms nothing."""
    if function is None:
        return
    try:
        function(*news)
    except Exception:
        log.exception("%s raised", name)
