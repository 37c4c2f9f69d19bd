"""What every group of calls stands on."""

from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InvalidRequest
from ..ledger import OrderLedger
from ..operations import Request
from ..settings import Settings

if TYPE_CHECKING:
    from ..dispatch import Dispatcher
    from ..journal.journal import Journal
    from ..management import Management

__all__ = ["Core", "Group", "seconds"]


class Core(Protocol):
    """What the client lends its groups; all raise UsageError if it is not open, or in another event loop."""

    settings: Settings
    ledger: OrderLedger

    @property
    def dispatcher(self) -> "Dispatcher":
        """Carries calls to sites."""
        ...

    @property
    def management(self) -> "Management":
        """Carries calls to the Managed Cloud API; UsageError if there is none."""
        ...

    @property
    def journal(self) -> "Journal":
        """The journal of orders; UsageError if none is kept."""
        ...

    async def accounts_changed(self) -> None:
        """Take in that the set of exchange accounts has changed."""
        ...


class Group:
    """Base of the groups."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def _read(self, request: Request, timeout: float | None) -> Any:
        dispatcher = self._core.dispatcher
        return await dispatcher.read(request, timeout=seconds(timeout, self._core.settings.read_timeout))

    async def _manage(self, request: Request, timeout: float | None) -> Any:
        management = self._core.management
        limit = seconds(timeout, self._core.settings.management_timeout)
        return await management.call(request, timeout=limit)


def seconds(given: float | None, default: float) -> float:
    """Return a time limit in seconds. Raises InvalidRequest: if it is not a positive number."""
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e9:
        raise InvalidRequest(f"timeout must be a positive number of seconds, got {given!r}")
    return float(given)
