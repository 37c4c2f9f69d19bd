"""A disk that fills up while orders are sent, for real: nothing is sent unrecorded, and all goes on afterwards."""

import json
import subprocess
import sys
from pathlib import Path

from .helpers import rows


def test_a_full_disk_stops_orders_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "orders.journal"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.journal.full_disk", str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["refused but seen"] == []
    assert told["seen"] == told["told"]["Accepted"] > 10
    assert told["told"]["NotSent"] == 5
    assert set(told["told"]) == {"Accepted", "NotSent"}
    assert told["failures"] >= 5
    assert "full" in told["error"] or "I/O" in told["error"]
    assert told["again"] == "Accepted"
    held = rows(path)
    assert sum(outcome in ("accepted", None) for _, outcome in held) == told["seen"] + 1
