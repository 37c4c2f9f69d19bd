"""The enumerations of the wire. All are open: a text the service adds later stays a readable value."""

from enum import StrEnum
from typing import Self


class OpenEnum(StrEnum):
    """A text enumeration that keeps texts it does not know.

    `Side("SHORT")` is a value that equals `"SHORT"`, writes itself as `"SHORT"` and answers False to
    `is_known`; it is not added to the members, so that a server cannot make the class grow.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        stranger = str.__new__(cls, value)
        stranger._name_ = value
        stranger._value_ = value
        return stranger

    @property
    def is_known(self) -> bool:
        """Whether this text was part of the protocol when this release was made."""
        return self._name_ in type(self).__members__


class Side(OpenEnum):
    """Side of an order or a position (EMS REST, OrderNewSingleRequest)."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(OpenEnum):
    """Order type; LIMIT is the only one the service offers (EMS REST, OrderNewSingleRequest)."""

    LIMIT = "LIMIT"


class TimeInForce(OpenEnum):
    """How long an order stays in force (EMS guide, time in force).

    The value that the service's own clock expires is spelt two ways by its documentation,
    `GOOD_TILL_TIME_OMS` and `GOOD_TILL_TIME_OEML`; both read as `GOOD_TILL_TIME_OMS` (protocol C-2).
    """

    GOOD_TILL_CANCEL = "GOOD_TILL_CANCEL"
    GOOD_TILL_TIME_EXCHANGE = "GOOD_TILL_TIME_EXCHANGE"
    GOOD_TILL_TIME_OMS = "GOOD_TILL_TIME_OMS"
    FILL_OR_KILL = "FILL_OR_KILL"
    IMMEDIATE_OR_CANCEL = "IMMEDIATE_OR_CANCEL"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if value == "GOOD_TILL_TIME_OEML":
            return cls("GOOD_TILL_TIME_OMS")
        return super()._missing_(value)

    @property
    def needs_expire_time(self) -> bool:
        """Whether an order with this time in force must carry `expire_time`, and only then may."""
        return self in ("GOOD_TILL_TIME_EXCHANGE", "GOOD_TILL_TIME_OMS")


class ExecInst(OpenEnum):
    """Execution instruction of an order (EMS guide, execution instructions).

    The machine-readable specification knows the first three, the guide all six (protocol C-4).
    """

    MAKER_OR_CANCEL = "MAKER_OR_CANCEL"
    AUCTION_ONLY = "AUCTION_ONLY"
    INDICATION_OF_INTEREST = "INDICATION_OF_INTEREST"
    CANCEL_ON_DISCONNECT = "CANCEL_ON_DISCONNECT"
    DO_NOT_CANCEL_ON_DISCONNECT = "DO_NOT_CANCEL_ON_DISCONNECT"
    DO_NOT_INCREASE = "DO_NOT_INCREASE"

    @property
    def is_declared(self) -> bool:
        """Whether the service's specification declares it; the guide's other three are accepted too."""
        return self in ("MAKER_OR_CANCEL", "AUCTION_ONLY", "INDICATION_OF_INTEREST")


class RejectReason(OpenEnum):
    """Machine-readable reason inside a MessageReject body (EMS REST, MessageReject)."""

    OTHER = "OTHER"
    EXCHANGE_UNREACHABLE = "EXCHANGE_UNREACHABLE"
    EXCHANGE_RESPONSE_TIMEOUT = "EXCHANGE_RESPONSE_TIMEOUT"
    ORDER_ID_NOT_FOUND = "ORDER_ID_NOT_FOUND"
    INVALID_TYPE = "INVALID_TYPE"
    METHOD_NOT_SUPPORTED = "METHOD_NOT_SUPPORTED"
    JSON_ERROR = "JSON_ERROR"


class BalanceSource(OpenEnum):
    """Who updated a balance last (EMS REST, Balance.last_updated_by)."""

    INITIALIZATION = "INITIALIZATION"
    BALANCE_MANAGER = "BALANCE_MANAGER"
    EXCHANGE = "EXCHANGE"
