"""The `coinapi-ems` command. Needs the extra `cli`; nothing else in the package imports it."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

__all__ = ["main"]

_NEEDED: Final = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status; arguments: those of the process by default.

    Raises SystemExit: always.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(
            'coinapi-ems needs typer and rich; install them with: pip install "coinapi-ems-async[cli]"\n'
        )
        raise SystemExit(2)
    from .app import run

    raise SystemExit(run(arguments))
