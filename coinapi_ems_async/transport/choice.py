"""Which transport carries requests to a site: the one asked for, except that behind a proxy only aiohttp can."""

import logging
from importlib.util import find_spec
from typing import Final, Literal
from urllib.parse import urlsplit

from ..errors import ConfigurationError

__all__ = ["TRANSPORTS", "TransportName", "check_proxy", "check_transport", "site_transport"]

log: Final = logging.getLogger("coinapi_ems_async.transport")

TransportName = Literal["http1", "http2", "aiohttp"]
TRANSPORTS: Final[tuple[TransportName, ...]] = ("http1", "http2", "aiohttp")


def check_transport(name: TransportName) -> TransportName:
    """Return the name. Raises ConfigurationError: if there is no such transport, or its package is missing."""
    if name not in TRANSPORTS:
        raise ConfigurationError(f"transport must be one of {', '.join(map(repr, TRANSPORTS))}, got {name!r}")
    if name == "http2" and find_spec("h2") is None:
        raise ConfigurationError("transport='http2' needs the extra http2: pip install 'coinapi-ems-async[http2]'")
    return name


def check_proxy(proxy: str | None) -> str | None:
    """Return the URL of a proxy as it was given. Raises ConfigurationError: if it is no http or https URL."""
    if proxy is None:
        return None
    parts = urlsplit(proxy) if isinstance(proxy, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        # The text may hold a password: it is not shown.
        raise ConfigurationError("proxy must be a URL such as http://proxy.example:3128")
    return proxy


def site_transport(wanted: TransportName, url: str, proxy: str | None, *, trust_env: bool) -> TransportName:
    """Return the transport for a site; anything but the wanted one is told in the log."""
    if wanted != "aiohttp" and (proxy is not None or (trust_env and _proxy_of_environment(url))):
        log.warning("%s is reached through a proxy: over aiohttp, not over %s", url, wanted)
        return "aiohttp"
    return wanted


def _proxy_of_environment(url: str) -> bool:
    from urllib.request import getproxies, proxy_bypass  # 10 ms that hardly anybody needs

    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.netloc)
