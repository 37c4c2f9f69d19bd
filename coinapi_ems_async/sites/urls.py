"""Base URLs of servers: one spelling each, and whither a key may travel."""

import ipaddress
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError

__all__ = ["check_base_url", "ends_in", "is_loopback", "may_name", "normalise"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")

# RFC 1918, RFC 4193 and link-local. `is_private` of the standard library also holds for ranges that are
# merely reserved, such as documentation's, and may be routed.
_AT_HOME: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)


def normalise(url: str) -> str:
    """Return the one spelling of a base URL: lower-case scheme and host, no default port, no trailing slash.

    Raises ConfigurationError: if it is no http or https URL, or carries a user, a query or a fragment.
    """
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise ConfigurationError(f"not a URL: {str(url)[:100]!r}; expected something like https://host.example")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(
            f"not a URL: {_shown(url)}; expected something like https://host.example"
        ) from None
    name = parts.hostname or ""
    if parts.scheme not in _DEFAULT_PORTS or port == 0 or not _HOST.fullmatch(name):
        raise ConfigurationError(f"not a URL: {_shown(url)}; expected something like https://host.example")
    if "@" in parts.netloc or "?" in url or "#" in url or "\\" in url:
        raise ConfigurationError(
            f"{_shown(url)} must be a plain base URL, without user, query or fragment; the key goes into api_key="
        )
    if "[" in parts.netloc and ":" not in name:
        raise ConfigurationError(f"not a URL: {_shown(url)}; expected something like https://host.example")
    host = f"[{name}]" if ":" in name else name
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host.rstrip('.')}{suffix}{parts.path.rstrip('/')}"


def _shown(url: str) -> str:
    """The URL without what could be a secret in it."""
    tail = url.partition("://")[2] or url
    authority = tail.partition("/")[0].rpartition("@")[2]
    scheme = url.partition("://")[0] + "://" if "://" in url else ""
    return repr(scheme[:10] + authority.partition("?")[0][:100])


def _address(url: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return None


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine by name or address."""
    address = _address(url)
    return urlsplit(url).hostname == "localhost" if address is None else address.is_loopback


def check_base_url(url: str, *, allow_plain: bool) -> str:
    """Return the URL normalised.

    Raises ConfigurationError: if it is malformed, or http:// to a host that is neither loopback nor a private
    address without `allow_plain`: a key must not cross the net in clear.
    """
    base = normalise(url)
    if base.startswith("https://") or allow_plain or is_loopback(base):
        return base
    address = _address(base)
    if address is not None and any(address in network for network in _AT_HOME):
        return base
    raise ConfigurationError(
        f"{base} is plain http to a public host; use https, or Settings(allow_plain_http=True) if you must"
    )


def may_name(management_url: str, site_url: str, *, allow_plain: bool) -> bool:
    """Whether discovery at `management_url` may send the key to `site_url`, both normalised.

    Over TLS it may name https hosts. Plain http proves nothing about who answers: on loopback it may name
    loopback hosts only, elsewhere its own host, and others only with `allow_plain`.
    """
    if management_url.startswith("https://"):
        return site_url.startswith("https://") or allow_plain
    if is_loopback(management_url):
        return is_loopback(site_url)
    return allow_plain or urlsplit(management_url).hostname == urlsplit(site_url).hostname


def ends_in(url: str, suffixes: Collection[str]) -> bool:
    """Whether the host of a normalised URL is one of the suffixes or a name below one; True without suffixes."""
    host = urlsplit(url).hostname or ""
    for suffix in suffixes:
        name = suffix.lower().lstrip(".")
        if host == name or (host.endswith(f".{name}") and _address(url) is None):
            return True
    return not suffixes
