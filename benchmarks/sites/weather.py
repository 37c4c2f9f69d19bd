"""What befalls the requests of a site: a delay drawn for each, and whatever is to be done to its answer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from coinapi_ems_async.simulator import Injection, Record

from .jitter import Jitter

__all__ = ["Spoil", "Weather"]

_CALM: Final = Injection(times=None)
_CHANGES: Final = frozenset({"order_new", "order_cancel", "order_cancel_all"})


class Spoil:
    """Which requests get a spoiled answer: `share` of those of `kinds`, `times` at most, each one of `answers`.

    answers: name -> arguments of an Injection, where `raw` is Latin-1 text. kinds: "orders" (new ones), "calls"
    (everything but probes) or "all".
    """

    def __init__(
        self,
        answers: Mapping[str, Mapping[str, Any]],
        *,
        share: float = 1.0,
        times: int | None = None,
        kinds: str = "calls",
        seed: int = 1,
    ) -> None:
        self._answers = {name: _injection(fields) for name, fields in answers.items()}
        self._share, self._left, self._kinds = share, times, kinds
        self._random = Random(seed)

    def next(self, record: Record) -> tuple[str, Injection] | None:
        """Return what is to befall this request, by name; None if nothing is."""
        if self._left == 0 or not self._concerns(record.operation) or self._random.random() >= self._share:
            return None
        if self._left is not None:
            self._left -= 1
        return self._random.choice(list(self._answers.items()))

    def _concerns(self, operation: str) -> bool:
        if self._kinds == "orders":
            return operation == "order_new"
        return self._kinds == "all" or operation != "probe"


def _injection(fields: Mapping[str, Any]) -> Injection:
    raw = fields.get("raw")
    return Injection(times=None, **{**fields, **({} if raw is None else {"raw": raw.encode("latin-1")})})


class Weather(Injection):
    """An injection that matches every request, and is another one each time.

    base, jitter: seconds before each answer. slow_share of the reads take `slow` seconds longer. spoil: what is
    to befall answers; every time it does, a line goes to the file `log`.
    """

    def __init__(self, jitter: Jitter, log: Path, seed: int) -> None:
        super().__init__(times=None)
        self.base = 0.0
        self.jitter = jitter
        self.slow_share = self.slow = 0.0
        self.spoil: Spoil | None = None
        self._random = Random(seed)
        self._added = 0.0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def matches(self, record: Record) -> bool:
        """Become what this request gets."""
        self._added = self.base + self.jitter.draw()
        is_read = record.operation not in _CHANGES and record.operation != "probe"
        if is_read and self.slow_share and self._random.random() < self.slow_share:
            self._added += self.slow
        fate = self.spoil.next(record) if self.spoil is not None else None
        if fate is not None:
            self.note(
                spoiled=fate[0],
                time=record.time,
                site=record.site,
                operation=record.operation,
                client_order_id=record.client_order_id,
            )
        vars(self).update(vars(_CALM if fate is None else fate[1]))
        return True

    def damage(self, answer: Any, client_order_id: str | None) -> None:
        """Delay the answer too."""
        super().damage(answer, client_order_id)
        answer.delay += self._added

    def note(self, **line: object) -> None:
        """Write down what was done to a client."""
        os.write(self._log, json.dumps(line).encode() + b"\n")
