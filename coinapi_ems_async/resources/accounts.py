"""Exchange accounts and their login parameters (Managed Cloud REST, accounts)."""

import builtins

from .. import operations
from ..errors import NotFound
from ..models.cloud import Account
from ..operations import Request
from .base import Group

__all__ = ["Accounts"]


class Accounts(Group):
    """Reads and changes exchange accounts. timeout: seconds of each try, 2 by default.

    Every call raises AnswerError or TransportError as the tree in `errors` says; a change is sent once, and the
    site table is read again soon after it: `await ems.refresh()` waits for that.
    """

    async def list(self, *exchange_ids: str, timeout: float | None = None) -> "builtins.list[Account]":
        """Return the accounts, all or the named ones; secrets are in clear, though never in a repr."""
        accounts: builtins.list[Account] = await self._manage(
            operations.filtered(operations.ACCOUNTS_GET, exchange_ids), timeout
        )
        return accounts

    async def save(self, account: Account, *, timeout: float | None = None) -> None:
        """Add or update an account, with its full set of login parameters (`ems.exchanges` lists their names).

        Raises ValidationFailed: if the service refuses it. InvalidRequest: if it is incomplete.
        """
        await self._change(operations.account_save(account), timeout)

    async def delete(self, exchange_id: str, *, missing_ok: bool = False, timeout: float | None = None) -> None:
        """Delete an account. Its open orders stay on the exchange, unmanaged: cancel them first.

        Raises NotFound: if there is none, unless `missing_ok`.
        """
        try:
            await self._change(operations.account_delete(exchange_id), timeout)
        except NotFound:
            if not missing_ok:
                raise

    async def delete_all(self, *, timeout: float | None = None) -> None:
        """Delete every account."""
        await self._change(operations.plain_read(operations.ACCOUNTS_DELETE_ALL), timeout)

    async def _change(self, request: Request, timeout: float | None) -> None:
        try:
            await self._manage(request, timeout)
        finally:  # whoever got no answer may have changed something all the same
            await self._core.accounts_changed()
