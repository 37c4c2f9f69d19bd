"""What `import coinapi_ems_async` costs at the start of a process."""

import os
import subprocess
import sys
from time import perf_counter
from typing import Final

from ..results import Importing

_IMPORT: Final = "import coinapi_ems_async"


def measure_importing(repeats: int) -> Importing:
    """Return the best of `repeats` starts with the import less the best without, in turn."""
    times = [(_start(_IMPORT), _start("pass")) for _ in range(repeats)]
    with_it, without = (min(seconds) for seconds in zip(*times, strict=True))
    check = subprocess.run(
        [sys.executable, "-c", f"{_IMPORT}, sys; print('aiohttp' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return Importing((with_it - without) * 1e3, check.stdout.strip() == "True")


def _start(code: str) -> float:
    started = perf_counter()
    # As users have it: compiled once, not at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return perf_counter() - started
