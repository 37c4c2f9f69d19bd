"""Answers in the shape in which the service was seen to send them: key order, nulls, digits."""

from pathlib import Path

_HERE = Path(__file__).parent


def captured(name: str) -> bytes:
    return (_HERE / f"{name}.json").read_bytes()
