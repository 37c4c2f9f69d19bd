"""Positions of exchange accounts (EMS REST, Positions)."""

from .. import operations
from ..models.balances import Position
from .base import Group

__all__ = ["Positions"]


class Positions(Group):
    """Reads positions."""

    async def get(self, exchange_id: str | None = None, *, timeout: float | None = None) -> list[Position]:
        """Return the positions of one exchange account or of all (EMS REST, Get positions).

        A missing account, or one whose `data` is None, is not known to be empty: without exchange_id an
        exchange that is down may be missing without a word. timeout: seconds, 10 by default.
        Raises ExchangeUnreachable: on 490. NotRoutable: if no site serves the account. AnswerError,
        TransportError: as the tree in `errors` says.
        """
        rows: list[Position] = await self._read(operations.of_exchange(operations.POSITIONS, exchange_id), timeout)
        return rows
