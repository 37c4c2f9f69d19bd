"""A storm: calls, and what befalls each, drawn from a seed before anything happens.

A schedule is data: the same seed gives the same calls, with the same deadlines and cancellations, and the same
faults on the wires and at the servers. What a run makes of it still depends on who was first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from coinapi_ems_async import RejectReason
from coinapi_ems_async.simulator import FaultPlan, Injection

__all__ = ["ACCOUNTS", "SERVED", "SITES", "Outage", "Schedule", "Step", "schedule"]

SITES: Final = ("aws-eu-west-1-prd", "aws-us-east-1-prd", "aws-us-west-2-prd", "aws-ap-northeast-1-prd")
ACCOUNTS: Final = ("KRAKEN/JOHN", "BITMEX/JOHN", "DERIBIT")
SERVED: Final = {site: ACCOUNTS if place % 2 else ACCOUNTS[:2] for place, site in enumerate(SITES)}
"""The last account is served at every other site only."""
CallName = Literal["order_new", "order_cancel", "order_cancel_all", "order_status", "orders_open"]

_WIRE_RATE: Final = 0.6
_SERVER_RATE: Final = 0.6
_PLENTY: Final = 1.5


@dataclass(frozen=True)
class Step:
    """One call. cancel_after: the caller is cancelled then. not_after: seconds from its start, perhaps past.

    fault: arguments of an `Injection` for its id. Calls other than orders name the order of the step `about`.
    """

    number: int
    call: CallName
    account: str
    about: int
    timeout: float
    cancel_after: float | None = None
    not_after: float | None = None
    fault: tuple[tuple[str, Any], ...] = ()

    @property
    def client_order_id(self) -> str:
        """The id its order has, or would have."""
        return order_id(self.number)

    @property
    def about_id(self) -> str:
        """The id of the order it names."""
        return order_id(self.about)

    def injection(self, elsewhere: str) -> Injection | None:
        """The fault at the servers, if there is one; redirects point elsewhere."""
        if not self.fault:
            return None
        fields: dict[str, Any] = dict(self.fault)
        if fields.get("status") in (302, 307):
            fields["headers"] = {"Location": elsewhere}
        operation: Any = "order_new" if self.call == "order_new" else "order_cancel"
        name = self.client_order_id if self.call == "order_new" else self.about_id
        return Injection(operation=operation, client_order_id=name, **fields)


@dataclass(frozen=True)
class Outage:
    """A site is closed when the call of this number begins, and opened so many seconds later."""

    number: int
    site: str
    seconds: float


@dataclass(frozen=True)
class Schedule:
    """All that is to happen."""

    seed: int
    steps: Sequence[Step]
    outages: Sequence[Outage]
    plan: FaultPlan
    delays: Sequence[float] = field(default=())
    """Of the sites, seconds."""


def order_id(number: int) -> str:
    """Return the id of the order of a step."""
    return f"STORM-{number:06}-{number * 7919 % 1_000_003:07}"


# Each is something that servers do to one request; those that need HTTP/2 pass over HTTP/1.1.
_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"status": 500},
    {"status": 500, "execute": "before"},
    {"status": 502},
    {"status": 503, "execute": "before"},
    {"status": 504, "execute": "before"},
    {"status": 504, "execute": "before", "reject": RejectReason.EXCHANGE_RESPONSE_TIMEOUT},
    {"status": 400, "body": b'{"title":"One or more validation errors occurred.","status":400}'},
    {"status": 429},
    {"status": 490, "reject": RejectReason.EXCHANGE_UNREACHABLE},
    {"status": 302},
    {"status": 307},
    {"status": 202, "execute": "before"},
    {"body": b"{", "execute": "before"},
    {"body": b"[]", "execute": "before"},
    {"body": b"\xff\xfe", "execute": "before"},
    {"reset": True},
    {"reset": True, "execute": "before"},
    {"raw": b"HTTP/1.1 200 OK\r\nContent-Le", "end": "fin", "execute": "before"},
    {"raw": b"garbage\r\n\r\n", "execute": "before"},
    {"raw": b"", "end": "fin"},
    {"truncate": 100},
    {"truncate": 100, "end": "reset"},
    {"copies": 2},
    {"end": "fin"},
    {"end": "reset"},
    {"delay": 0.05},
    {"delay": 0.4},
    {"hang": True, "execute": "before"},
    {"hang": True},
    {"refuse_stream": True},
    {"refuse_stream": True, "times": 2},
    {"stream_error": 2, "execute": "before"},
    {"stream_error": 8},
    {"goaway": "zero"},
    {"goaway": "below"},
    {"goaway": "equal"},
    {"goaway": "above"},
    {"goaway": "equal", "goaway_cut": True, "execute": "before"},
)


def schedule(seed: int, calls: int) -> Schedule:
    """Return a storm of so many calls: a pure function of the two."""
    random = Random(seed)
    steps: list[Step] = []
    orders: list[int] = []
    for number in range(calls):
        steps.append(_step(random, number, orders))
        if steps[-1].call == "order_new":
            orders.append(number)
    outages = [Outage(number, random.choice(SITES), random.uniform(0.02, 0.3)) for number in range(40, calls, 90)]
    plan = FaultPlan(
        seed=random.getrandbits(32),
        rate=_WIRE_RATE,
        actions=("reset", "fin", "freeze", "drip", "delay"),
        within=1_200,
        seconds=0.2,
    )
    return Schedule(seed, tuple(steps), tuple(outages), plan, tuple(random.uniform(0, 0.004) for _ in SITES))


def _step(random: Random, number: int, orders: Sequence[int]) -> Step:
    call: CallName = "order_new"
    if orders and random.random() < 0.3:
        call = random.choices(
            ("order_cancel", "order_cancel_all", "order_status", "orders_open"), (55, 5, 25, 15)
        )[0]
    changes = call in ("order_new", "order_cancel")
    fault = random.choice(_FAULTS) if changes and random.random() < _SERVER_RATE else {}
    about = random.choice(orders[-200:]) if orders else 0
    account = ACCOUNTS[about % len(ACCOUNTS)]
    return Step(
        number=number,
        call=call,
        account=ACCOUNTS[number % len(ACCOUNTS)] if call == "order_new" else account,
        about=about,
        timeout=random.choice((0.05, 0.1, 0.2, 0.3, 0.3, _PLENTY)),
        cancel_after=random.uniform(0.0, 0.08) if random.random() < 0.1 else None,
        not_after=random.uniform(-0.01, 0.1) if call == "order_new" and random.random() < 0.1 else None,
        fault=tuple(sorted(fault.items())),
    )
