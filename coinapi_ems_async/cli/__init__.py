"""The `coinapi-ems` command. Needs the extra `cli`; nothing else in the package imports it."""

import atexit
import os
import signal
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
    _open_standard_files()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
        # Python gives the system's own handling back at its very end, which would end us by the signal.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(
            'coinapi-ems needs typer and rich; install them with: pip install "coinapi-ems-async[cli]"\n'
        )
        raise SystemExit(2)
    from .app import run

    raise SystemExit(run(arguments))


def _leave(*_: object) -> None:
    """Ctrl-C while modules are imported: nothing is sent before a command runs, which has a way of its own."""
    number, said = 2, "error: interrupted."
    if "--json" in sys.argv:
        number, said = 1, '{"error": {"type": "Failure", "message": "interrupted.", "exit_code": 130}}'
    try:
        os.write(number, f"{said}\n".encode())
    finally:
        os._exit(130)


def _open_standard_files() -> None:
    """Give a process that was started with closed standard files others: sockets would take their numbers.

    Standard output gets one that cannot be written either, so that a command whose answer is lost says so.
    """
    files = ((0, "stdin", "r", os.O_RDONLY), (1, "stdout", "w", os.O_RDONLY), (2, "stderr", "w", os.O_WRONLY))
    for number, name, mode, way in files:
        try:
            os.fstat(number)
        except OSError:
            void = os.open(os.devnull, way)
            if void != number:
                os.dup2(void, number)
                os.close(void)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
