"""Who takes part: the floor, our client over each transport, and every peer."""

from typing import Final

from . import clients, floor, h2, ours
from .base import Entrant, Target

__all__ = ["ENTRANTS", "Entrant", "Target"]

ENTRANTS: Final = (*floor.ENTRANTS, *ours.ENTRANTS, *h2.ENTRANTS, *clients.ENTRANTS)
