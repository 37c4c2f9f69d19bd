"""Certificates for servers and clients, good ones and bad ones, of authorities made for the test run."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

from ...wire import Transport

HERE = "127.0.0.1"
ELSEWHERE = "ems.example"
ALPN: dict[Transport, Sequence[str]] = {"http1": ["http/1.1"], "http2": ["h2"], "aiohttp": ["http/1.1"]}


@cache
def trusted() -> trustme.CA:
    """The authority that clients of these tests trust."""
    return trustme.CA(organization_name="Trusted")


@cache
def unknown() -> trustme.CA:
    """One that nobody has heard of."""
    return trustme.CA(organization_name="Unknown")


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=trusted().cert_pem.bytes().decode())


def server_context(
    transport: Transport,
    *,
    host: str = HERE,
    authority: trustme.CA | None = None,
    expired: bool = False,
    wants_client: bool = False,
    alpn: Sequence[str] | None = None,
) -> ssl.SSLContext:
    """Return the context of a server of the transport's protocol; `alpn` empty offers none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered = ALPN[transport] if alpn is None else alpn
    if offered:
        context.set_alpn_protocols(list(offered))
    now = datetime.now(UTC)
    days = (-20, -10) if expired else (-1, 10)
    first, last = (now + timedelta(days=day) for day in days)
    issued = (authority or trusted()).issue_cert(host, not_before=first, not_after=last)
    issued.configure_cert(context)
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        trusted().configure_trust(context)
    return context


def client_certificate(directory: Path, authority: trustme.CA | None = None) -> Path:
    """Write a client's key and certificate, and return the file."""
    path = directory / "client.pem"
    issued = (authority or trusted()).issue_cert("client@ems.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    path.chmod(0o600)
    return path
