"""Asyncio-first client for the CoinAPI EMS: orders are never sent twice, their outcome is never guessed.

from coinapi_ems_async import EMSClient, NewOrder, Side

async with EMSClient() as ems:
    report = await ems.orders.place(NewOrder(...))
"""

from ._version import __version__
from .auth import ApiKeyHeader, ApiKeyQuery, ClientCertificate, NoAuth
from .client import ClientHealth, EMSClient
from .doubts import UnresolvedOrder
from .errors import (
    AnswerError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    EMSError,
    ExchangeUnreachable,
    HistoryNotConfigured,
    InvalidRequest,
    NoSites,
    NotFound,
    NotRoutable,
    OrderError,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrdersFailed,
    OrderUnknown,
    RateLimited,
    ServerFailed,
    TransportError,
    UnexpectedAnswer,
    UsageError,
    ValidationFailed,
)
from .journal.entries import JournalHealth, RecoveredOrder
from .models.balances import Balance, BalanceData, Position, PositionData
from .models.cloud import Account, Endpoint, ExchangeLogin, Location, Parameter
from .models.enums import BalanceSource, ExecInst, OrderType, RejectReason, Side, TimeInForce
from .models.history import OrderHistory
from .models.ids import UnusualClientOrderId
from .models.lifecycle import ORDER_TRANSITIONS, OrderStatus
from .models.orders import CancelAll, CancelOrder, ExecutionReport, Fill, NewOrder
from .observer import CallRecord
from .outcomes import (
    Accepted,
    AttemptRecord,
    Evidence,
    NotSent,
    NotSentReason,
    Outcome,
    Phase,
    Rejected,
    RejectedReason,
    Timing,
    Unknown,
)
from .settings import Settings
from .sites.flags import Flag
from .sites.health import Health
from .sites.selector import Candidate, hop_cost
from .sites.view import SiteView

__all__ = [
    "ORDER_TRANSITIONS",
    "Accepted",
    "Account",
    "AnswerError",
    "ApiKeyHeader",
    "ApiKeyQuery",
    "AttemptRecord",
    "AuthenticationFailed",
    "Balance",
    "BalanceData",
    "BalanceSource",
    "CallRecord",
    "CancelAll",
    "CancelOrder",
    "Candidate",
    "ClientCertificate",
    "ClientHealth",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "EMSClient",
    "EMSError",
    "Endpoint",
    "Evidence",
    "ExchangeLogin",
    "ExchangeUnreachable",
    "ExecInst",
    "ExecutionReport",
    "Fill",
    "Flag",
    "Health",
    "HistoryNotConfigured",
    "InvalidRequest",
    "JournalHealth",
    "Location",
    "NewOrder",
    "NoAuth",
    "NoSites",
    "NotFound",
    "NotRoutable",
    "NotSent",
    "NotSentReason",
    "OrderError",
    "OrderHistory",
    "OrderNotFound",
    "OrderNotSent",
    "OrderRejected",
    "OrderStatus",
    "OrderType",
    "OrderUnknown",
    "OrdersFailed",
    "Outcome",
    "Parameter",
    "Phase",
    "Position",
    "PositionData",
    "RateLimited",
    "RecoveredOrder",
    "RejectReason",
    "Rejected",
    "RejectedReason",
    "ServerFailed",
    "Settings",
    "Side",
    "SiteView",
    "TimeInForce",
    "Timing",
    "TransportError",
    "UnexpectedAnswer",
    "Unknown",
    "UnresolvedOrder",
    "UnusualClientOrderId",
    "UsageError",
    "ValidationFailed",
    "__version__",
    "hop_cost",
]
