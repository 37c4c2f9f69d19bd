"""Starting one: nginx where it is installed, else our own."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ..cores import Cores
from ..peers import Skipped

__all__ = ["SITES", "Certificates", "Server", "made_certificates", "running_server"]

SITES: Final = 8
"""Sites that the management API of a server names."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running server is reached: base URLs.

    clear: HTTP/1.1. h2: HTTP/2 in cleartext, with prior knowledge. tls: both, by ALPN; None without certificates.
    management: names eight sites, each of which answers orders.
    """

    name: str
    clear: str
    h2: str
    management: str
    tls: str | None = None


class Certificates(msgspec.Struct, frozen=True):
    """A server's certificate with its key, as a file, and the authority's certificate that clients trust."""

    chain: Path
    authority: bytes


def made_certificates(folder: Path) -> Certificates | None:
    """Make a certificate for 127.0.0.1 in `folder`; None if trustme is not installed."""
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA(organization_name="Benchmark")
    chain = folder / "server.pem"
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(chain)
    return Certificates(chain, authority.cert_pem.bytes())


@contextlib.contextmanager
def running_server(
    cores: Cores, certificates: Certificates | None, *, kind: str | None = None, idle: float | None = None
) -> Iterator[Server]:
    """Yield a server; it ends with the block.

    kind: "nginx" or "own"; nginx by default, and our own where that is not installed or does not start.
    idle: our own closes connections unused for so many seconds.
    Raises Skipped: if the kind that was asked for cannot be had.
    """
    from . import nginx, own

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        if kind != "own" and idle is None:
            try:
                with cores.for_server():
                    server = stack.enter_context(nginx.running(folder, certificates))
            except Skipped as reason:
                if kind == "nginx":
                    raise
                print(f"nginx: {reason}; our own server takes its place")
            else:
                yield server
                return
        with cores.for_server():
            server = stack.enter_context(own.running(certificates, idle=idle))
        yield server
