"""The way into `coinapi-ems`, outside the package: importing that takes a while, and Ctrl-C does not wait."""

import atexit
import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit status.

    Raises SystemExit: always.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
        # Python gives the system's own handling back at its very end, which would end us by the signal.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    from coinapi_ems_async.cli import main as run

    run()


def _leave(*_: object) -> None:
    """Nothing is sent before a command runs, and that has a handler of its own."""
    error = {"type": "Failure", "message": "interrupted.", "exit_code": 130}
    number, said = (1, json.dumps({"error": error})) if "--json" in sys.argv else (2, "error: interrupted.")
    try:
        os.write(number, f"{said}\n".encode())
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
