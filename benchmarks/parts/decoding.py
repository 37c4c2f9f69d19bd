"""Decoding: one report, and 1,000 open orders."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import msgspec

from coinapi_ems_async.models.orders import ExecutionReport
from coinapi_ems_async.models.reading import AnswerReader

from ..canned import REPORT, PlainReport, decode
from ..results import Decoding

_MANY: Final = b"[" + b",".join([REPORT] * 1000) + b"]"
_ONE_TURN: Final = 2000
_REPEATS: Final = 3


def measure_decoding(repeats: int) -> Decoding:
    """Return the best of `repeats` for each, ours and a plain decoder in turn."""
    reader = AnswerReader(ExecutionReport)
    decode_many = msgspec.json.Decoder(list[PlainReport]).decode
    turns: tuple[tuple[Callable[[], object], int], ...] = (
        (lambda: reader.one(REPORT), _ONE_TURN),
        (lambda: reader.many(_MANY), _REPEATS),
        (lambda: decode(REPORT), _ONE_TURN),
        (lambda: decode_many(_MANY), _REPEATS),
    )
    rounds = [[_mean(function, count) for function, count in turns] for _ in range(repeats)]
    one, thousand, plain_one, plain_thousand = (min(seconds) for seconds in zip(*rounds, strict=True))
    return Decoding(one * 1e6, thousand * 1e3, plain_one * 1e6, plain_thousand * 1e3)


def _mean(function: Callable[[], object], count: int) -> float:
    started = perf_counter()
    for _ in range(count):
        function()
    return (perf_counter() - started) / count
