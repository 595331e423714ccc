"""Engines for inference: PyTorch modules on any device, or OpenVINO on a CPU."""

from .choose import ENGINES, PRECISIONS, make_engine, use_engine
from .explain import Explanation, explain

__all__ = ['ENGINES', 'PRECISIONS', 'Explanation', 'explain', 'make_engine', 'use_engine']
