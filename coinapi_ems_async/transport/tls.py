"""TLS settings: verification always on, TLS 1.2 and up, built once and off the event loop."""

import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

__all__ = ["client_context", "for_http2", "write_private"]


def client_context(certificate: str | None = None, *, base: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """Return a context that verifies servers; blocking, so call it in a thread.

    certificate: PEM text with a private key and its certificate, to show to servers.
    base: the user's own context, used as it is unless a certificate is added to it.
    Raises ConfigurationError: if the context does not verify, or the certificate cannot be loaded.
    """
    context = base if base is not None else ssl.create_default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigurationError("the SSL context must verify certificates and host names")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: str) -> None:
    """Through a file that only its owner can read and that is gone at once: ssl loads from files only."""
    handle, name = tempfile.mkstemp(prefix="coinapi-ems-", suffix=".pem")  # created with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(certificate)
        context.load_cert_chain(name)
    except (ssl.SSLError, OSError, ValueError):
        # `from None`: the text of the error could quote the file.
        raise ConfigurationError(
            "the client certificate cannot be loaded: expected PEM text with a private key and its certificate"
        ) from None
    finally:
        Path(name).unlink(missing_ok=True)


class _OffersHttp2(ssl.SSLContext):
    """A context that offers HTTP/2 and is otherwise the one it stands for.

    That one also serves the management API over aiohttp, which would not understand a server that agrees to
    HTTP/2; a context cannot be copied, and what it offers is read when a connection begins.
    """

    base: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection of the other context."""
        self.base.set_alpn_protocols(["h2", "http/1.1"])
        try:
            return self.base.wrap_bio(*args, **kwargs)
        finally:
            self.base.set_alpn_protocols(["http/1.1"])


def for_http2(base: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context that offers HTTP/2 before HTTP/1.1 (RFC 9113, 3.2), and else does as `base`."""
    context = _OffersHttp2(ssl.PROTOCOL_TLS_CLIENT)
    context.base = base
    return context


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing. Blocking, so call it in a thread.

    Raises OSError: if the directory cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
