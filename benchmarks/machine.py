"""Where a run takes place."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from .peers import versions
from .results import Machine


def this_machine(server: str) -> Machine:
    """Return what this machine is; `server` is the name of the one that answers."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=versions(),
        server=server,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
