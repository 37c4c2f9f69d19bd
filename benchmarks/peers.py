"""Other people's libraries, loaded by name: whichever is missing is skipped, not needed."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Final

PACKAGES: Final = (
    *("aiohttp", "anyio", "ccxt", "coinapi-ems-async", "h2", "httptools", "httpx", "msgspec", "niquests"),
    *("pyreqwest", "uvloop"),
)


class Skipped(Exception):
    """An entrant or a part cannot take part here; the text says why."""


def load(name: str) -> Any:
    """Return the module. Raises Skipped: if it is not installed, or does not import."""
    try:
        return import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        raise Skipped(f"{error.name} is not installed" if missing else f"cannot import {name}: {error}") from None


def is_installed(name: str) -> bool:
    """Whether there is such a top-level module; it is not imported."""
    return find_spec(name) is not None


def versions() -> dict[str, str]:
    """Return package -> version of everything measured that is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
