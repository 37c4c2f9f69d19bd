"""What the servers read."""

import logging
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .messages import Request

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
    hidden; `status` is None until an answer is handed to the socket, and stays so if none is, or not whole;
    `version` is that of HTTP: "1.0", "1.1" or "2".
    """

    time: float
    site: str
    operation: str
    client_order_id: str | None
    connection: int
    method: str
    path: str
    status: int | None = None
    version: str = "1.1"

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
