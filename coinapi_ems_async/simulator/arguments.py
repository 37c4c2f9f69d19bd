"""What `Simulator` is given, checked and made plain."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from .certificates import MissingExtra
from .records import MANAGEMENT
from .variants import Http2


def speech_of(http2: Http2 | bool | None) -> Http2 | None:
    """Return how HTTP/2 is to be spoken, None: not at all.

    Raises MissingExtra: if it is asked for and `h2` is not installed.
    """
    if http2 is False or (http2 is None and not _has_h2()):
        return None
    if not _has_h2():
        raise MissingExtra("speaks HTTP/2 with h2")
    return http2 if isinstance(http2, Http2) else Http2()


def _has_h2() -> bool:
    try:
        return find_spec("h2") is not None
    except ImportError:
        return False


def accounts_of(
    delays: Mapping[str, float], exchanges: Sequence[str] | Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the accounts each site serves.

    Raises ValueError: if there is no site, or one that is not known.
    """
    if not delays or MANAGEMENT in delays:
        raise ValueError(f"at least one site is needed, and none may be called {MANAGEMENT!r}")
    if not isinstance(exchanges, Mapping):
        return {site: tuple(exchanges) for site in delays}
    strangers = set(exchanges) - set(delays)
    if strangers:
        raise ValueError(f"exchanges are given for unknown sites: {', '.join(sorted(strangers))}")
    return {site: tuple(exchanges.get(site, ())) for site in delays}


def ports_of(sites: Mapping[str, float], ports: Mapping[str, int] | Sequence[int] | None) -> dict[str, int]:
    """Return the ports of the sites that have a fixed one."""
    if ports is None:
        return {}
    if isinstance(ports, Mapping):
        return dict(ports)
    return dict(zip(sites, ports, strict=False))


def delay_of(seconds: float) -> float:
    """Return a delay in seconds.

    Raises ValueError: if it is not a number from 0 up.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        raise ValueError(f"a delay must be a number of seconds from 0 up, got {seconds!r}")
    return float(seconds)


def elsewhere_of(sites: Mapping[str, float], elsewhere: Mapping[str, str] | None) -> dict[str, str]:
    """Return the URLs of the gateways that run elsewhere.

    Raises ValueError: if one is given for a site that is not known.
    """
    strangers = set(elsewhere or ()) - set(sites)
    if strangers:
        raise ValueError(f"URLs are given for unknown sites: {', '.join(sorted(strangers))}")
    return {site: url.rstrip("/") for site, url in (elsewhere or {}).items()}
