"""From options to an open client."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Final

from ..auth import ApiKeyHeader, ApiKeyQuery, Auth, ClientCertificate, NoAuth, find_api_key
from ..client import EMSClient
from ..settings import MANAGEMENT_URL, Settings
from ..transport.choice import TransportName
from .exits import Exit, Failure
from .output import Output

__all__ = ["AuthWay", "Invocation", "LoopChoice", "NoteHandler", "Options", "TransportChoice", "read_key"]

MANAGEMENT_VARIABLE: Final = "COINAPI_EMS_MANAGEMENT_URL"


class AuthWay(StrEnum):
    """How the caller shows who it is."""

    HEADER = "header"
    QUERY = "query"
    CERTIFICATE = "certificate"


class TransportChoice(StrEnum):
    """What carries requests to the sites."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    AIOHTTP = "aiohttp"


class LoopChoice(StrEnum):
    """Which event loop runs the command."""

    PLAIN = "plain"
    UVLOOP = "uvloop"


@dataclass(kw_only=True)
class Options:
    """The options every command takes; None: not given."""

    management_url: str | None = None
    self_hosted: str | None = None
    api_key_file: Path | None = None
    auth: AuthWay | None = None
    certificate_file: Path | None = None
    timeout: float | None = None
    transport: TransportChoice | None = None
    loop: LoopChoice | None = None
    json: bool | None = None
    debug: bool | None = None

    def over(self, below: "Options") -> "Options":
        """Return these options, and those of `below` where one is not given here."""
        mine = {name: value for name, value in vars(self).items() if value is not None}
        return Options(**(vars(below) | mine))


class Invocation:
    """One run of a command: its options, its output, and the clients it opens.

    pending: what is to be said if the command is interrupted after something may have been sent. ended: the
    exit status of an order whose outcome has been shown; nothing that happens afterwards changes it. is_telling:
    whether the last word is being said, which Ctrl-C does not cut short.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.out = Output(json=bool(options.json))
        self.settings = Settings()
        self.pending: str | None = None
        self.ended: Exit | None = None
        self.is_telling = False

    @property
    def timeout(self) -> float | None:
        """The time limit given, seconds."""
        return self.options.timeout

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have Ctrl-C wait, while it is told what became of orders."""
        self.is_telling = True
        try:
            yield
        finally:
            self.is_telling = False

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Return what makes the event loop; None: asyncio's own.

        Raises Failure: if uvloop is asked for and not installed.
        """
        wanted, there = self.options.loop, find_spec("uvloop") is not None
        if wanted is LoopChoice.PLAIN or (wanted is None and not there):
            return None
        if not there:
            raise Failure('uvloop is not installed; install it with: pip install "coinapi-ems-async[speed]"')
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory

    @property
    def auth(self) -> Auth:
        """The way to authenticate that was asked for."""
        match self.options.auth:
            case AuthWay.QUERY:
                return ApiKeyQuery()
            case AuthWay.CERTIFICATE:
                return ClientCertificate(file=self.options.certificate_file)
            case None if self.options.self_hosted:
                return NoAuth()
            case _:
                return ApiKeyHeader()

    def api_key(self) -> str:
        """Return the key from the file, else from the environment, and keep it out of all output.

        Raises Failure: if there is none.
        """
        key = read_key(self.options.api_key_file) if self.options.api_key_file else None
        if not (key or os.environ.get("COINAPI_API_KEY")):
            raise Failure("no API key: set COINAPI_API_KEY in the environment or give --api-key-file FILE.")
        self.out.hide(key or os.environ["COINAPI_API_KEY"])
        return find_api_key(key)

    def check(self) -> None:
        """Raises Failure: if the options cannot be meant together, or the time limit is none."""
        options = self.options
        if options.timeout is not None and not 0 < options.timeout < inf:
            raise Failure(f"--timeout must be a positive number of seconds, not {options.timeout:g}.")
        if options.certificate_file is not None and options.auth is not AuthWay.CERTIFICATE:
            raise Failure("--certificate-file goes only with --auth certificate.")
        if options.self_hosted and options.management_url:
            raise Failure("give one of --management-url and --self-hosted, not both.")
        if options.self_hosted and options.auth is AuthWay.CERTIFICATE and options.certificate_file is None:
            raise Failure("--auth certificate with --self-hosted needs --certificate-file.")

    @property
    def management_url(self) -> str:
        """The Managed Cloud API: of the option, else of the environment, else production."""
        return self.options.management_url or os.environ.get(MANAGEMENT_VARIABLE) or MANAGEMENT_URL

    @asynccontextmanager
    async def client(self, *, journal: Path | None = None) -> AsyncIterator[EMSClient]:
        """Open a client of the sites; journal: the file in which it records orders."""
        auth, url = self.auth, self.options.self_hosted
        key = None if isinstance(auth, NoAuth) else self.api_key()
        transport: TransportName = (self.options.transport or TransportChoice.HTTP1).value
        if url:
            client = EMSClient.self_hosted(
                url, auth=auth, api_key=key, settings=self.settings, transport=transport, journal=journal
            )
        else:
            client = EMSClient(
                key,
                management_url=self.management_url,
                auth=auth,
                settings=self.settings,
                transport=transport,
                journal=journal,
            )
        async with client as ems:
            yield ems

    @asynccontextmanager
    async def cloud(self) -> AsyncIterator[EMSClient]:
        """Open a client of the Managed Cloud API alone.

        Raises Failure: if a self-hosted server was asked for, which has none.
        """
        if self.options.self_hosted:
            raise Failure("a self-hosted server has no Managed Cloud API; leave out --self-hosted.")
        client = EMSClient.cloud_only(
            self.api_key(), management_url=self.management_url, auth=self.auth, settings=self.settings
        )
        async with client as ems:
            yield ems


def read_key(file: Path, *, what: str = "API key") -> str:
    """Return the key, or whatever else of one line (`what`), that a file holds.

    Raises Failure: if it cannot be read, or holds anything else.
    """
    try:
        lines = file.expanduser().read_text().strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Failure(f"the {what.split()[-1]} file {file} cannot be read: {why}.") from None
    if len(lines) != 1 or not lines[0].strip():
        raise Failure(f"the {what.split()[-1]} file {file} must hold the {what} on one line and nothing else.")
    return lines[0].strip()


class NoteHandler(logging.Handler):
    """Turns log records of the client into notes on stderr."""

    def __init__(self, out: Output) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a line."""
        self._out.note(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}")
