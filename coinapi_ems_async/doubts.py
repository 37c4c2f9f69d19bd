"""An order of unknown outcome, and whether a report can be about it."""

import msgspec

from .models.ids import base_exchange
from .models.orders import ExecutionReport
from .outcomes import Evidence, Outcome

__all__ = ["Doubt", "UnresolvedOrder", "is_of_another", "maybe_another"]


class UnresolvedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that may or may not have been executed; `since` is on the monotonic clock, seconds."""

    client_order_id: str
    exchange_id: str | None
    site: str | None
    since: float
    evidence: tuple[Evidence, ...] = ()


class Doubt:
    """One order of unknown outcome: of several under one id each has its own.

    number: of its entry in the journal, None without one. is_over: settled or forgotten. outcome: what became of
    it, None until that is known.
    """

    __slots__ = ("exchange_id", "is_over", "name", "number", "outcome", "site")

    def __init__(self, name: str, exchange_id: str | None, site: str | None, number: int | None) -> None:
        self.name = name
        self.exchange_id = exchange_id
        self.site = site
        self.number = number
        self.is_over = False
        self.outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"<Doubt of order {self.name} at site {self.site}: {self.outcome}>"


def is_of_another(report: ExecutionReport, exchange_id: str | None) -> bool:
    """Whether a report names another account; one without account tag stands for any of its exchange."""
    told = report.exchange_id
    if exchange_id is None or told == exchange_id:
        return False
    base, told_base = base_exchange(exchange_id), base_exchange(told)
    return base != told_base or (exchange_id != base and told != told_base)


def maybe_another(report: ExecutionReport) -> str:
    """Return what an ambiguous report is evidence of."""
    return f"its status is {report.status}, which may be about another order with its id, at {report.exchange_id}"
