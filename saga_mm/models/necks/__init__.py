"""Necks: pyramids whose levels share one state."""

from .fpn import SAGAFPN
from .pyramid import SAGAPyramid
from .shared_state import SharedState

__all__ = ['SAGAFPN', 'SAGAPyramid', 'SharedState']
