"""What the servers read and did, line by line in a file: it is still there when their process was killed."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from .records import Record

_FIELDS = ("time", "site", "operation", "client_order_id", "connection", "method", "path", "version")


class Journal:
    """Writes one line of JSON for each request as it is read, and for each order as an exchange gets it.

    Lines are with the operating system when the request goes on: the end of the process loses none.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def read(self, record: Record) -> None:
        """Note a request."""
        self._write({name: getattr(record, name) for name in _FIELDS})

    def executed(self, client_order_id: str) -> None:
        """Note an order that an exchange has got."""
        self._write({"executed": client_order_id})

    def close(self) -> None:
        """Write no more."""
        os.close(self._file)

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Story(NamedTuple):
    """What a journal tells; the records have no status."""

    requests: list[Record]
    executions: Counter[str]


def read_journal(path: Path) -> Story:
    """Return what a journal tells."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    requests = [Record(**line) for line in lines if "executed" not in line]
    return Story(requests, Counter(line["executed"] for line in lines if "executed" in line))
