"""Balances of exchange accounts (EMS REST, Balances)."""

from .. import operations
from ..models.balances import Balance
from .base import Group

__all__ = ["Balances"]


class Balances(Group):
    """Reads balances."""

    async def get(self, exchange_id: str | None = None, *, timeout: float | None = None) -> list[Balance]:
        """Return the balances of one exchange account or of all (EMS REST, Get balances).

        A missing account, or one whose `data` is None, is not known to be empty: without exchange_id an
        exchange that is down may be missing without a word. timeout: seconds, 10 by default.
        Raises ExchangeUnreachable: on 490. NotRoutable: if no site serves the account. AnswerError,
        TransportError: as the tree in `errors` says.
        """
        rows: list[Balance] = await self._read(operations.of_exchange(operations.BALANCES, exchange_id), timeout)
        return rows
