"""Exchanges and the login parameters they want (Managed Cloud REST, exchanges)."""

import builtins

from .. import operations
from ..models.cloud import ExchangeLogin
from .base import Group

__all__ = ["Exchanges"]


class Exchanges(Group):
    """Reads exchanges."""

    async def list(self, *, timeout: float | None = None) -> builtins.list[ExchangeLogin]:
        """Return every exchange with its home location and login parameters; timeout: seconds of each try.

        Raises AnswerError, TransportError: as the tree in `errors` says.
        """
        rows: builtins.list[ExchangeLogin] = await self._manage(
            operations.plain_read(operations.EXCHANGES), timeout
        )
        return rows
