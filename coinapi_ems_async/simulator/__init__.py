"""A faithful simulator of the whole service on this machine, for tests and demonstrations.

`Simulator` starts one management server (Managed Cloud REST API) and one gateway (EMS REST API) per site,
each on a port of its own with a delay of its own; behind them exchanges with order books, balances and
positions on which orders really fill. `SimulatorThread` and `SimulatorProcess` run one beside your own loop; the
first is what the pytest fixture `ems_simulator` gives.
"""

from .book import BookView, Level
from .injections import Injection
from .ledger import Balance, PositionView
from .orders import Fill, Order
from .processes import ProcessEnded, ProcessPerSite, SimulatorProcess
from .proxy import FaultProxy
from .records import OPERATIONS, Record
from .simulator import Simulator
from .site_faults import SiteFault
from .thread import SimulatorThread
from .variants import Http2, Pace, Variants
from .wire_faults import Cut, FaultPlan, WireFault

__all__ = [
    "OPERATIONS",
    "Balance",
    "BookView",
    "Cut",
    "FaultPlan",
    "FaultProxy",
    "Fill",
    "Http2",
    "Injection",
    "Level",
    "Order",
    "Pace",
    "PositionView",
    "ProcessEnded",
    "ProcessPerSite",
    "Record",
    "Simulator",
    "SimulatorProcess",
    "SimulatorThread",
    "SiteFault",
    "Variants",
    "WireFault",
]
