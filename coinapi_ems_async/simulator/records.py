"""What the servers read, and the answers that tests force on them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from .messages import JSON, Answer, Request
from .numbers import write_json

MANAGEMENT: Final = "management"
"""Name of the Managed Cloud API's server among the sites."""
LOGGER: Final = logging.getLogger("coinapi_ems_async.simulator")

OperationName = Literal[
    "order_new",
    "order_status",
    "order_cancel",
    "order_cancel_all",
    "orders_open",
    "orders_history",
    "balances",
    "positions",
    "accounts_get",
    "account_save",
    "account_delete",
    "accounts_delete_all",
    "endpoints",
    "exchanges",
    "locations",
    "certificate",
    "probe",
    "health",
    "unknown",
]
OPERATIONS: Final[tuple[str, ...]] = get_args(OperationName)
"""Names of operations, as records and injections use them."""


@dataclass(slots=True)
class Record:
    """One request that a server has read completely.

    `time` is `time.monotonic()` at that moment; `site` is "management" or the id of the location;
    `connection` numbers the TCP connection, over all servers; `path` is raw, with the value of `apikey`
    hidden; `status` is None until an answer is handed to the socket, and stays so if none is.
    """

    time: float
    site: str
    operation: str
    client_order_id: str | None
    connection: int
    method: str
    path: str
    status: int | None = None

    def answered(self, status: int) -> None:
        """Note the answer, and log it."""
        self.status = status
        # Probes come many times a second, and their usual answer, 404, looks like a fault to who reads the log.
        level = logging.DEBUG if self.operation == "probe" else logging.INFO
        LOGGER.log(level, "%s %s %s %d", self.site, self.operation, self.client_order_id or "-", status)


class Records(list[Record]):
    """Records in the order they were read, the newest `limit` or a few more."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def note(self, record: Record) -> Record:
        """Append `record`, and drop the oldest now and then."""
        self.append(record)
        if len(self) > self._limit + max(16, self._limit // 10):
            del self[: len(self) - self._limit]
        return record


@dataclass(kw_only=True)
class Injection:
    """An answer forced on requests that match `operation`, `site` and `client_order_id` (None: any).

    `body` may be bytes, text, or a value that becomes JSON; None with status 200 means the real answer,
    to which `headers` are added.
    `execute="before"` runs the real operation first and throws its answer away; the real answer of a
    None body is always executed. `delay` (seconds) comes on top of the site's. `reset` cuts the
    connection instead of answering, `hang` keeps silent until the simulator releases the request; with
    these two `execute` alone decides whether the operation runs, and a released request that has neither
    run nor got a forced answer is cut. `times` is how many requests it takes, None for ever; it counts
    down. A forced answer asks for no key.

    Raises ValueError: if `operation` is not one of `OPERATIONS`.
    """

    operation: OperationName | None = None
    site: str | None = None
    client_order_id: str | None = None
    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    execute: Literal["never", "before"] = "never"
    times: int | None = 1
    delay: float = 0.0
    reset: bool = False
    hang: bool = False

    def __post_init__(self) -> None:
        if self.operation is not None and self.operation not in OPERATIONS:
            raise ValueError(f"{self.operation!r} is not the name of an operation")

    @property
    def forces(self) -> bool:
        """Whether it brings an answer of its own."""
        return self.body is not None or self.status != 200

    @property
    def executes(self) -> bool:
        """Whether the real operation runs."""
        return self.execute == "before" or not (self.forces or self.reset or self.hang)

    def matches(self, record: Record) -> bool:
        """Whether it applies to this request and is not used up."""
        return (
            self.times != 0
            and self.operation in (None, record.operation)
            and self.site in (None, record.site)
            and self.client_order_id in (None, record.client_order_id)
        )

    def answer(self) -> Answer:
        """Return the forced answer, without its delay."""
        body = self.body
        if isinstance(body, str):
            content = body.encode()
        elif body is None:
            content = b""
        else:
            content = body if isinstance(body, bytes) else write_json(body)
        headers = {"Content-Type": self.content_type} if content else {}
        return Answer(self.status, headers | dict(self.headers), content)


def client_order_id_of(request: Request, operation: str, parameters: tuple[str, ...]) -> str | None:
    """Return the client order id a request names, wherever it stands; None if there is none."""
    if operation == "order_status":
        return parameters[0]
    if operation not in ("order_new", "order_cancel"):
        return None
    try:
        body = request.json
    except ValueError:
        return None
    found = body.get("client_order_id") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None
