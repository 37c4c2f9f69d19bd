"""Places where the service runs (Managed Cloud REST, locations)."""

import builtins

from .. import operations
from ..models.cloud import Location
from .base import Group

__all__ = ["Locations"]


class Locations(Group):
    """Reads locations."""

    async def list(self, *, timeout: float | None = None) -> builtins.list[Location]:
        """Return every location; timeout: seconds of each try.

        Raises AnswerError, TransportError: as the tree in `errors` says.
        """
        rows: builtins.list[Location] = await self._manage(operations.plain_read(operations.LOCATIONS), timeout)
        return rows
