"""The TLS client certificate of an account (Managed Cloud REST, certificate)."""

from .. import operations
from .base import Group

__all__ = ["Certificate"]


class Certificate(Group):
    """Reads the client certificate."""

    async def pem(self, *, timeout: float | None = None) -> str:
        """Return public key, private key and certificate as one PEM text, a secret; timeout: seconds of each try.

        Each call may mint a new one: fetch it once and keep it where only you can read it.
        Raises AnswerError, TransportError: as the tree in `errors` says.
        """
        text: str = await self._manage(operations.plain_read(operations.CERTIFICATE), timeout)
        return text
