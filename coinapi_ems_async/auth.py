"""The ways to show who is calling (EMS guide, authentication).

| way | Managed Cloud API | EMS sites |
|---|---|---|
| `ApiKeyHeader` (default) | key in `X-CoinAPI-Key` | the same |
| `ApiKeyQuery` | key as `apikey` in the query | the same |
| `ClientCertificate` | key in `X-CoinAPI-Key` | TLS client certificate, no key |
| `NoAuth` | - | nothing: self-hosted |

Each takes `bearer`, a supplier of a token that then travels beside it as `Authorization: Bearer`.
"""

import asyncio
import inspect
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from .errors import ConfigurationError

__all__ = [
    "ApiKeyHeader",
    "ApiKeyQuery",
    "Auth",
    "BearerSupplier",
    "ClientCertificate",
    "Credentials",
    "NoAuth",
    "find_api_key",
]

BearerSupplier = Callable[[], str | Awaitable[str]]
"""Called before each request; returns the token, fresh enough for one request."""

API_KEY_VARIABLE: Final = "COINAPI_API_KEY"
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class Credentials(msgspec.Struct, frozen=True):
    """What a request carries: headers, and a query parameter without its `?` or `&`."""

    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""

    def __repr__(self) -> str:
        return "Credentials(<hidden>)"

    def __rich_repr__(self) -> Iterator[str]:  # type: ignore[override]  # msgspec types it narrower
        yield "<hidden>"

    def target(self, target: str) -> str:
        """Return path and query with the query parameter added."""
        return f"{target}{'&' if '?' in target else '?'}{self.query}" if self.query else target


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the ways to authenticate."""

    bearer: BearerSupplier | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __rich_repr__(self) -> Iterator[str]:  # type: ignore[override]  # a supplier may hold its secret
        yield from ()

    def management(self, key: str) -> Credentials:
        """Return what calls of the Managed Cloud API carry."""
        return Credentials((("X-CoinAPI-Key", key),))

    def site(self, key: str) -> Credentials:
        """Return what calls of EMS sites carry."""
        return self.management(key)

    async def token(self, within: float) -> str | None:
        """Return the bearer token, None without supplier; waits so many seconds for an awaitable one.

        Raises ConfigurationError: if the supplier fails, takes longer, or returns something a header cannot
        carry.
        """
        if self.bearer is None:
            return None
        try:
            given = self.bearer()
            if inspect.isawaitable(given):
                async with asyncio.timeout(within):
                    token = await given
            else:
                token = given
        except Exception as error:
            raise ConfigurationError(f"the bearer supplier failed: {type(error).__name__}") from error
        if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
            raise ConfigurationError("the bearer supplier must return a token of visible ASCII characters")
        return token


class ApiKeyHeader(Auth, frozen=True):
    """The API key in the `X-CoinAPI-Key` header of both APIs; the service's recommendation."""


class ApiKeyQuery(Auth, frozen=True):
    """The API key in the query of both APIs; meant for development, since it ends up in servers' logs."""

    def management(self, key: str) -> Credentials:
        """Return what calls of the Managed Cloud API carry."""
        return Credentials(query=f"apikey={quote(key, safe='')}")


class ClientCertificate(Auth, frozen=True, kw_only=True):
    """A TLS client certificate on EMS sites; the Managed Cloud API still takes the key (protocol C-25).

    file: PEM with private key and certificate. If it does not exist, or is None, the certificate is fetched
    from `/v1/certificate/pem` when the client opens, once, since each fetch may mint a new one; with a file
    it is kept there, readable by its owner only.
    """

    file: str | os.PathLike[str] | None = None

    def site(self, key: str) -> Credentials:
        """Return nothing: the certificate speaks."""
        return Credentials()

    @property
    def path(self) -> Path | None:
        """The file as a path, `~` resolved."""
        return None if self.file is None else Path(self.file).expanduser()


class NoAuth(Auth, frozen=True):
    """Nothing at all: a self-hosted service behind its owner's own walls."""

    def management(self, key: str) -> Credentials:
        """Return nothing."""
        return Credentials()


def find_api_key(given: str | None) -> str:
    """Return the key given, else that of $COINAPI_API_KEY.

    Raises ConfigurationError: if there is none, or it holds blanks, line ends or other than visible ASCII.
    """
    if given is not None and not isinstance(given, str):
        raise ConfigurationError(f"the API key must be text, got {type(given).__name__}")
    key = given if given is not None else os.environ.get(API_KEY_VARIABLE, "")
    if not key:
        raise ConfigurationError(
            f'no API key: pass EMSClient(api_key="...") or set the environment variable {API_KEY_VARIABLE}'
        )
    if not _VISIBLE.fullmatch(key):
        raise ConfigurationError(
            "the API key holds a blank, a line end or a character outside ASCII; was it copied whole?"
        )
    return key
