"""Files of orders: one JSON object a line, or CSV with a header. Every error names its line."""

import csv
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import InvalidRequest
from ..models.orders import NewOrder
from ..resources.expiry import check_expiry
from . import parsing
from .exits import Failure, sentence

__all__ = ["OrderLine", "read_orders", "read_text"]

_FIELDS: Final = tuple(NewOrder.__struct_fields__)
_NEEDED: Final = ("exchange_id", "amount_order", "price", "side")
_MOST_TOLD: Final = 5


class OrderLine(NamedTuple):
    """An order and the line it begins on; `notes` are the warnings it gave."""

    line: int
    order: NewOrder
    notes: tuple[str, ...] = ()


class _Wrong(Exception):
    """Something is wrong with a line."""

    def __init__(self, line: int, said: str) -> None:
        super().__init__(f"line {line}: {said}")


def read_text(file: str) -> str:
    """Return what a file holds, standard input for `-`. Raises Failure: if it cannot be read."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(f"the orders cannot be read from {file}: {why}.") from None


def read_orders(text: str, file: str) -> list[OrderLine]:
    """Return the orders in a text; what begins as JSON, or with a line of it, is JSON lines, anything else CSV.

    Raises Failure: if anything is wrong with any line; it tells the first few.
    """
    rows = _json_rows(text) if _is_json(text.lstrip()) else _csv_rows(text)
    found: list[OrderLine] = []
    wrong: list[str] = []
    lines: dict[str, int] = {}
    try:
        for line, make in rows:
            try:
                found.append(one := _order(line, make))
                first = lines.setdefault(one.order.client_order_id, line)
                if first != line:
                    raise _Wrong(line, f"the client_order_id of line {first} again")
            except _Wrong as error:
                wrong.append(str(error))
    except _Wrong as error:
        wrong.append(str(error))
    if wrong:
        raise Failure(f"{file}: {_told(wrong)}.")
    if not found:
        raise Failure(f"{file} holds no orders.")
    return found


def _is_json(text: str) -> bool:
    if text.startswith(("{", "[")):
        return True
    try:
        json.loads(text.partition("\n")[0])
    except ValueError:
        return False
    return True


def _told(wrong: list[str]) -> str:
    shown = "; ".join(one.rstrip(".") for one in wrong[:_MOST_TOLD])
    more = len(wrong) - _MOST_TOLD
    return f"{shown}; and {more} more" if more > 0 else shown


_Row = tuple[int, Callable[[], Mapping[str, Any]]]


def _json_rows(text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, lambda line=line: _json_row(line)  # type: ignore[misc]  # a lambda with a default is beyond inference


def _json_row(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_fields_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("no JSON that could be an order") from None
    if not isinstance(found, dict):
        raise ValueError('expected one JSON object a line, such as {"exchange_id": "KRAKEN/JOHN", ...}')
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands there twice")
    return found


def _csv_rows(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _Wrong(line, f"no CSV: {error}") from None
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if header is None:
            header = _header(line, cells)
        else:
            yield line, lambda cells=cells, header=header: _csv_row(header, cells)  # type: ignore[misc]  # as above


def _header(line: int, names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in _FIELDS]
    if unknown:
        raise _Wrong(line, f"unknown columns {', '.join(map(repr, unknown))}; there are {', '.join(_FIELDS)}")
    if len(set(names)) != len(names):
        raise _Wrong(line, "a column stands there twice")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise _Wrong(line, f"no column {', '.join(missing)}")
    return names


def _csv_row(header: list[str], cells: list[str]) -> Mapping[str, Any]:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells under {len(header)} columns")
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def _order(line: int, make: Callable[[], Mapping[str, Any]]) -> OrderLine:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            order = NewOrder(**_fields(make()))
            check_expiry(order)
    except InvalidRequest as error:
        raise _Wrong(line, sentence(error)) from None
    except (ValueError, Failure) as error:
        raise _Wrong(line, str(error)) from None
    return OrderLine(line, order, tuple(str(one.message) for one in caught))


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an order: short names in full, null as not given."""
    fields = {name: value for name, value in row.items() if value is not None}
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown:
        raise ValueError(f"unknown fields {', '.join(map(repr, unknown))}; there are {', '.join(_FIELDS)}")
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    for name, read in _READERS.items():
        if isinstance(fields.get(name), str):
            fields[name] = read(fields[name])
    listed = fields.get("exec_inst")
    if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
        fields["exec_inst"] = parsing.instructions(",".join(listed))
    return fields


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "side": str.upper,
    "time_in_force": parsing.time_in_force,
    "exec_inst": parsing.instructions,
    "expire_time": lambda text: parsing.moment("expire_time", text),
}
