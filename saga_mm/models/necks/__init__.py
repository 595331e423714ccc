"""Necks: pyramids whose levels share one state, and a pyramid of one map."""

from .fpn import SAGAFPN
from .pyramid import SAGAPyramid
from .shared_state import SharedState
from .simple_pyramid import SimplePyramid

__all__ = ['SAGAFPN', 'SAGAPyramid', 'SharedState', 'SimplePyramid']
