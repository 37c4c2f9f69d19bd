"""Faults as one writes them on a command line."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_args

from coinapi_ems_async.models.enums import RejectReason

from .injections import Injection
from .messages import End, GoAway
from .records import OPERATIONS
from .site_faults import CERTIFICATES, REFUSALS, SiteFault
from .wire_faults import ACTIONS, DIRECTIONS, FaultPlan, WireFault

FORMS: Final = (
    "ACTION:DIRECTION@BYTES, such as reset:response@120",
    "refuse:connect or blackhole:connect, and (with TLS) expired, wrong_host or untrusted:certificate",
    "STATUS:OPERATION, such as 503:order_new (or reset, hang, refuse_stream, real in place of the status)",
    "seed=NUMBER,rate=SHARE, such as seed=7,rate=0.02",
)
"""What `read_fault` reads; to each may be added `,name=value`."""

_ACTIONS_OF: Final = {"request": ACTIONS, "response": ACTIONS, "connect": (*REFUSALS, *ACTIONS)}
_WORDS: Final = ("reset", "hang", "refuse_stream", "real")


class Spec(NamedTuple):
    """A fault, and the site it is for (None: all)."""

    fault: WireFault | Injection | FaultPlan | SiteFault
    site: str | None = None


def read_fault(text: str) -> Spec:
    """Return the fault that a text of one of these forms asks for.

    `ACTION:DIRECTION@BYTES` is a fault on the wire, with the names of `WireFault`; `refuse:connect` and the like
    a `SiteFault`; `STATUS:OPERATION` an injection, with the names of `Injection`, and `retry_after`;
    `seed=...,rate=...` a `FaultPlan`. Values have no commas; several actions or directions of a plan are joined by
    `+`, and `times=forever` is without end.

    Raises ValueError: if it has no such form, or asks for what there is not.
    """
    head, *rest = (part.strip() for part in text.split(","))
    what, colon, where = head.partition(":")
    if not colon:
        return Spec(FaultPlan(**_values(_PLAN, [head, *rest], needed=("seed", "rate"))))
    place, _, size = where.partition("@")
    if what in ACTIONS and place in DIRECTIONS:
        given = _values(_WIRE, [*([f"after={size}"] if size else []), *rest])
        site = given.pop("site", None)
        return Spec(WireFault(action=what, direction=place, **given), site)
    if (what in REFUSALS and where == "connect") or (what in CERTIFICATES and where == "certificate"):
        return Spec(SiteFault(what), _values({"site": str}, rest).get("site"))
    if (what in _WORDS or what.isdecimal()) and (place == "any" or place in OPERATIONS) and not size:
        given = _values(_INJECTION, rest) | _force(what) | ({} if place == "any" else {"operation": place})
        if (pause := given.pop("retry_after", None)) is not None:
            given["headers"] = {"Retry-After": str(pause)}
        return Spec(Injection(**given))
    raise ValueError(_why(what, place))


def _why(what: str, place: str) -> str:
    if place == "certificate":
        return f"{what!r} is no kind of certificate; there are {', '.join(CERTIFICATES)}"
    if place in DIRECTIONS:
        return f"{what!r} is nothing that happens to a {place}; there are {', '.join(_ACTIONS_OF[place])}"
    if what in _WORDS or what.isdecimal():
        known = ", ".join(("any", *OPERATIONS))
        return f"{place!r} is neither a direction ({', '.join(DIRECTIONS)}) nor an operation ({known})"
    return f"it has none of the forms {'; '.join(FORMS)}"


def _force(what: str) -> dict[str, Any]:
    if not what.isdecimal():
        return {} if what == "real" else {what: True}
    status = int(what)
    if not 200 <= status <= 599:
        raise ValueError(f"{what} is no status of an answer, from 200 to 599")
    return {"status": status}


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a number from 0 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e6:
        raise ValueError("a number from 0 up")
    return found


def _times(text: str) -> int | None:
    return None if text == "forever" else _number(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        """Read one of `names`."""
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return read


def _some_of(*names: str) -> Callable[[str], tuple[str, ...]]:
    one = _one_of(*names)
    return lambda text: tuple(one(part) for part in text.split("+"))


_Readers = Mapping[str, Callable[[str], Any]]

_PLAN: Final[_Readers] = {
    "seed": _number,
    "rate": _seconds,
    "actions": _some_of(*ACTIONS),
    "directions": _some_of(*DIRECTIONS),
    "within": _number,
    "seconds": _seconds,
    "match": str.encode,
}
_WIRE: Final[_Readers] = {
    "after": _number,
    "turn": _number,
    "match": str.encode,
    "connection": _number,
    "times": _times,
    "seconds": _seconds,
    "size": _number,
    "site": str,
}
_INJECTION: Final[_Readers] = {
    "site": str,
    "client_order_id": str,
    "body": str,
    "reject": lambda text: RejectReason(_one_of(*(reason.value for reason in RejectReason))(text)),
    "content_type": str,
    "execute": _one_of("never", "before", "after"),
    "lag": _seconds,
    "about": str,
    "raw": lambda text: text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1"),
    "retry_after": _number,
    "times": _times,
    "delay": _seconds,
    "truncate": _number,
    "copies": _number,
    "pad": _number,
    "end": _one_of(*get_args(End)),
    "hide": _seconds,
    "stream_error": _number,
    "goaway": _one_of(*get_args(GoAway)),
    "goaway_notice": _flag,
    "goaway_cut": _flag,
}


def _values(readers: _Readers, parts: list[str], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals and not found and needed:
            raise ValueError(f"it has none of the forms {'; '.join(FORMS)}")
        if name not in readers or not equals:
            raise ValueError(f"{part!r} is no name=value of it; there are {', '.join(readers)}")
        try:
            found[name] = readers[name](value)
        except ValueError as error:
            raise ValueError(f"{name} is {error}, not {value!r}") from None
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given too")
    return found
