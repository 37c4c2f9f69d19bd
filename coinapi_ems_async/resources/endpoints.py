"""Where the exchange accounts are served (Managed Cloud REST, endpoints)."""

import builtins

from .. import operations
from ..models.cloud import Endpoint
from .base import Group

__all__ = ["Endpoints"]


class Endpoints(Group):
    """Reads endpoints."""

    async def list(self, *exchange_ids: str, timeout: float | None = None) -> builtins.list[Endpoint]:
        """Return the endpoints of every exchange account, or of the named ones; none means no accounts.

        timeout: seconds of each try.
        Raises AnswerError, TransportError: as the tree in `errors` says.
        """
        rows: builtins.list[Endpoint] = await self._manage(
            operations.filtered(operations.ENDPOINTS, exchange_ids), timeout
        )
        return rows
