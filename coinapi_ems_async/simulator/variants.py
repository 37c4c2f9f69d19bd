"""The switches of the simulator: how the wire looks, and how fast an order walks."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """Ways in which sources disagree about the wire; each default is the likeliest truth.

    Every field names its row in the protocol notes, so that a test can say which doubt it covers.
    """

    cancel_all: Literal["message", "message_reject", "empty", "report"] = "message"
    """Body of a successful cancel-all (protocol C-1)."""
    good_till_time: Literal["as_sent", "oms", "oeml"] = "as_sent"
    """Spelling in which a good-till-time order is echoed (protocol C-2)."""
    expire_time: Literal["stamped", "as_sent"] = "stamped"
    """Form in which `expire_time` is echoed in reports: the one the guide says the service produces, with seven
    digits and Z, or that of the request (protocol C-2, EMS guide, time)."""
    exec_inst: Literal["array", "string", "null", "absent"] = "array"
    """Shape of `exec_inst` in reports (protocol C-3)."""
    exchange_order_id: Literal["string", "number", "null"] = "string"
    """JSON type of `exchange_order_id` in reports (protocol C-5)."""
    status_history_depth: Literal[2, 4] = 2
    """Levels of arrays in `status_history` (protocol C-6)."""
    time_order: bool = False
    """Whether the history travels under its old name `time_order` (protocol C-6)."""
    history_arrays: Literal["flat", "nested", "string"] = "flat"
    """Shape of the array fields of the order history (protocol C-7)."""
    pnl: Literal["unrealized_pnl", "unrealised_pnl", "unrealised_pn_l"] = "unrealized_pnl"
    """Spelling of the profit field of a position (protocol C-9)."""
    undeclared: bool = True
    """Whether reports, balances and positions carry the undeclared `type` and `id` (protocol C-10)."""
    nulls: Literal["mixed", "null", "absent"] = "mixed"
    """Empty values: as null, left out, or mixed: null in reports and for an unknown `rate_usd`, left out
    elsewhere (protocol C-11)."""
    sparse: bool = False
    """Whether a report carries only exchange_id, client_order_id and status (protocol C-12)."""
    content_type: Literal["normal", "typo", "problem"] = "normal"
    """Content type of a MessageReject (protocol C-14)."""
    errors: Literal["object", "string", "list", "absent"] = "object"
    """Shape of `errors` in a validation answer (protocol C-15)."""
    status_miss: Literal[404, 400] = 404
    """Status of a status read that finds no order (protocol C-16)."""
    account_validation: Literal[400, 405] = 400
    """Status of an account whose parameters are incomplete (protocol C-18)."""
    numbers: Literal["plain", "string", "exponent"] = "plain"
    """How numbers are written; plain ones always show a fraction, as in `10.0` (protocol C-34)."""
    duplicates: Literal["accept", "reject", "replay"] = "accept"
    """What a second order with a known client_order_id does (protocol U-1)."""
    cancel_miss: Literal[404, 400, 490] = 404
    """Status of a cancel that finds no order (protocol U-6)."""
    unsupported: Literal["accept", "reject"] = "accept"
    """What becomes of a time in force or an execution instruction that the guide's tables say the exchange lacks.
    Accepted by default: the tables are advice and lag behind the exchanges, so that a refusal would claim what
    nobody knows. "reject": the exchange refuses the order, to find out what of a bot relies on it."""
    history_configured: bool = True
    """Whether the order history is set up; if not it answers 400 (EMS REST, Order history)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Delays of an order's walk, in seconds, on top of the delay of the site."""

    reply: float = 0.005
    """From the request to the exchange's first reply: ROUTED or REJECTED."""
    book: float = 0.02
    """From ROUTED to the book: NEW, fills, or CANCELED for orders that never rest."""
    cancel: float = 0.02
    """From PENDING_CANCEL to CANCELED."""
    replenish: float = 1.0
    """From the moment a house quote lost size to the moment it is whole again."""
    timeout: float = 0.05
    """From the request to the 504 that stands for the reply of an exchange that is slow."""

    @classmethod
    def captured(cls) -> "Pace":
        """Return the delays seen in captured answers of the service: 0.16 s to 0.2 s a step.

        No 504 was ever captured; its second is far shorter than the service's patience is likely to be.
        """
        return cls(reply=0.16, book=0.18, cancel=0.2, timeout=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2:
    """How the servers speak HTTP/2.

    Raises ValueError: if a number is none the protocol allows.
    """

    streams: int = 100
    """Streams a client may have open at once."""
    window: int = 65_535
    """Bytes of a request's body a client may send before it is given more credit."""
    credit: bool = True
    """Whether credit is given back as the bytes are read; False: only at `Simulator.release`, so that the
    65,535 bytes of credit that a connection starts with run out."""
    settings_delay: float = 0.0
    """Seconds from a client's first bytes to the server's SETTINGS; nothing is read before."""

    def __post_init__(self) -> None:
        if self.streams < 0 or not 0 <= self.window < 2**31 or self.settings_delay < 0:
            raise ValueError("streams and settings_delay must be 0 or more, window from 0 up to 2**31 - 1")
