"""The exception tree. Whatever this package raises on purpose is one of these.

EMSError
├── InvalidRequest (ValueError)        the arguments are wrong; nothing was sent
├── ConfigurationError (ValueError)    the client is set up wrongly; nothing was sent
├── UsageError (RuntimeError)          closed, not open, or used from another event loop
├── NoSites                            discovery named no server site
├── NotRoutable                        no site serves this exchange account; nothing was sent
├── OrderError                         what `place`, `cancel` and `cancel_all` raise; carries the outcome
│   ├── OrderRejected                  positive evidence that it was refused
│   ├── OrderNotSent                   proof that no byte of it left
│   └── OrderUnknown                   it may or may not have been executed
├── OrdersFailed                       not every order of `place_many` was taken; carries every outcome
├── AnswerError                        a read or a management call was answered, but not with a value
│   ├── ValidationFailed               400, 405, 422: the server refused the input
│   ├── HistoryNotConfigured           400 on order history: the order log is switched off there
│   ├── AuthenticationFailed           401, 403
│   ├── NotFound                       404
│   │   └── OrderNotFound              404 on an order's status; proves nothing
│   ├── RateLimited                    429
│   ├── ExchangeUnreachable            490
│   ├── ServerFailed                   any 5xx
│   └── UnexpectedAnswer               3xx, other statuses, or a body that cannot be read
└── TransportError                     a read or a management call got no complete answer
    ├── ConnectFailed                  no connection: name, route, refusal, TLS
    ├── ConnectionLost                 the connection ended or lied before the answer was complete
    └── DeadlineExceeded               the time given for the call was over (TimeoutError)
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.orders import ExecutionReport
    from .models.rejects import Problem
    from .outcomes import Accepted, AttemptRecord, NotSent, Outcome, Rejected, Unknown

__all__ = [
    "AnswerError",
    "AuthenticationFailed",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "EMSError",
    "ExchangeUnreachable",
    "HistoryNotConfigured",
    "InvalidRequest",
    "NoSites",
    "NotFound",
    "NotRoutable",
    "OrderError",
    "OrderNotFound",
    "OrderNotSent",
    "OrderRejected",
    "OrderUnknown",
    "OrdersFailed",
    "RateLimited",
    "ServerFailed",
    "TransportError",
    "UnexpectedAnswer",
    "UsageError",
    "ValidationFailed",
]


class EMSError(Exception):
    """Root of the tree.

    `client_order_id`, `site` (its id) and `phase` (how far the last attempt came) are None where they do
    not apply; `attempts` lists every try of the call, oldest first.
    """

    def __init__(
        self,
        message: str,
        *,
        client_order_id: str | None = None,
        site: str | None = None,
        phase: str | None = None,
        attempts: "Sequence[AttemptRecord]" = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.client_order_id = client_order_id
        self.site = site
        self.phase = phase
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        marks = (("client_order_id", self.client_order_id), ("site", self.site), ("phase", self.phase))
        where = ", ".join(f"{name} {value}" for name, value in marks if value)
        return f"{self.message} [{where}]" if where else self.message


class InvalidRequest(EMSError, ValueError):
    """The arguments cannot make a request; the message says what was expected. Nothing was sent."""


class ConfigurationError(EMSError, ValueError):
    """The client cannot be set up like this: URL, key, certificate or setting. Nothing was sent."""


class UsageError(EMSError, RuntimeError):
    """The client is closed, not open yet, or belongs to another event loop. Nothing was sent."""


class NoSites(EMSError):
    """There is no table of server sites: the management API gave none and no earlier one is known."""


class NotRoutable(EMSError):
    """No known site serves this exchange account. Nothing was sent."""


class OrderError(EMSError):
    """Base of what order calls raise; `outcome` is what `submit` would have returned."""

    def __init__(self, message: str, *, outcome: "Outcome | None" = None, **context: object) -> None:
        if outcome is not None:
            context.setdefault("client_order_id", outcome.client_order_id)
            context.setdefault("site", outcome.site)
            context.setdefault("attempts", outcome.attempts)
            context.setdefault("phase", outcome.attempts[-1].phase if outcome.attempts else None)
        super().__init__(message, **context)  # type: ignore[arg-type]  # the three names above only
        self._outcome = outcome

    @property
    def outcome(self) -> "Accepted | Rejected | NotSent | Unknown | None":
        """The outcome as a value; None only where `report.raise_for_reject()` raised."""
        return self._outcome


class OrderRejected(OrderError):
    """The server or the exchange refused the order; `report` is the exchange's own report if there is one."""

    def __init__(
        self,
        message: str,
        *,
        outcome: "Rejected | None" = None,
        report: "ExecutionReport | None" = None,
        **context: object,
    ) -> None:
        super().__init__(message, outcome=outcome, **context)
        self.report = report if report is not None or outcome is None else outcome.report


class OrderNotSent(OrderError):
    """No byte of the order left this process; trying again is safe."""


class OrderUnknown(OrderError):
    """The order may have been executed. Do not send it again: see `ems.orders.unresolved` and `status`."""


class OrdersFailed(EMSError):
    """Not every order of a batch was taken. Those that were stand: nothing is taken back.

    outcomes: how each order ended, in the order given. errors: by place in the batch, what `place` would have
    raised; the places that are missing were taken.
    """

    def __init__(
        self,
        message: str,
        *,
        outcomes: "Sequence[Outcome]" = (),
        errors: "Mapping[int, OrderError] | None" = None,
        **context: object,
    ) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # EMSError's own keywords
        self.outcomes = tuple(outcomes)
        self.errors = dict(errors or {})


class AnswerError(EMSError):
    """A complete answer that is not a value; `status` is its HTTP code, `raw` its body (never in repr).

    shown: the body without our secrets, which a server may repeat; None if it holds none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        raw: bytes = b"",
        shown: bytes | None = None,
        **context: object,
    ) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # EMSError's own keywords
        self.status = status
        self.raw = raw
        self._shown = raw if shown is None else shown


class ValidationFailed(AnswerError):
    """The server refused the input (400; management API also 405 and 422)."""

    @property
    def problem(self) -> "Problem | None":
        """What the server's framework found wrong, by field in `errors`; None if the body says nothing of it."""
        from .models.rejects import read_problem

        return read_problem(self._shown)


class HistoryNotConfigured(AnswerError):
    """The order log is not set up there (400 on order history); treat history as unavailable."""


class AuthenticationFailed(AnswerError):
    """The server refused the credentials (401) or the account's plan or quota (403)."""


class NotFound(AnswerError):
    """The thing asked for is not there (404)."""


class OrderNotFound(NotFound):
    """None of the sites asked knows the order (404).

    That proves nothing: the order may still be on its way, or be known to another site; `attempts` lists
    the sites that were asked.
    """


class RateLimited(AnswerError):
    """Too many requests (429); `retry_after` is what the server asked for, seconds, or None."""

    def __init__(self, message: str, *, retry_after: float | None = None, **context: object) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # AnswerError's own keywords
        self.retry_after = retry_after


class ExchangeUnreachable(AnswerError):
    """The exchange is not reachable or no such account is configured (490)."""


class ServerFailed(AnswerError):
    """The server failed (any 5xx)."""


class UnexpectedAnswer(AnswerError):
    """A redirect (never followed), a status nobody documents, or a body that cannot be read."""


class TransportError(EMSError):
    """A read or a management call got no complete answer."""


class ConnectFailed(TransportError):
    """No connection came about: name lookup, route, refusal, time-out or TLS. Nothing was sent."""


class ConnectionLost(TransportError):
    """The connection ended, or broke the protocol, before the answer was complete."""


class DeadlineExceeded(TransportError, TimeoutError):
    """The time given for the call was over; `report` is the last one `wait_final` read, None elsewhere."""

    def __init__(self, message: str, *, report: "ExecutionReport | None" = None, **context: object) -> None:
        super().__init__(message, **context)  # type: ignore[arg-type]  # EMSError's own keywords
        self.report = report
