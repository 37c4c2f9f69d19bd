"""Every scenario, in the order in which they run."""

from typing import Final

from .base import Scenario, Stage
from .choice import CHOICE
from .estimators import ESTIMATORS
from .lasting import LASTING
from .outages import OUTAGES
from .spoiled import SPOILED
from .statuses import STATUSES
from .wallclock import WALL_CLOCK

__all__ = ["ALL", "Scenario", "Stage"]

ALL: Final = (*CHOICE, *ESTIMATORS, *OUTAGES, *SPOILED, *STATUSES, *LASTING, *WALL_CLOCK)
"""The table of what is measured."""
