"""A faithful simulator of the whole service on this machine, for tests and demonstrations.

`Simulator` starts one management server (Managed Cloud REST API) and one gateway (EMS REST API) per site,
each on a port of its own with a delay of its own; behind them exchanges with order books, balances and
positions on which orders really fill.
"""

from .book import BookView, Level
from .ledger import Balance
from .orders import Fill, Order
from .records import OPERATIONS, Injection, Record
from .simulator import Simulator
from .variants import Pace, Variants

__all__ = [
    "OPERATIONS",
    "Balance",
    "BookView",
    "Fill",
    "Injection",
    "Level",
    "Order",
    "Pace",
    "Record",
    "Simulator",
    "Variants",
]
