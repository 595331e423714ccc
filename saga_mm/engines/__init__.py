"""Where models run: as PyTorch modules on any device, or compiled by OpenVINO on a CPU."""

from .choose import ENGINES, PRECISIONS, make_engine, use_engine
from .explain import Explanation, explain

__all__ = ['ENGINES', 'PRECISIONS', 'Explanation', 'explain', 'make_engine', 'use_engine']
