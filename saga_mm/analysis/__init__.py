"""Cost of models by tracing, effective rank of their states, and maps of their gates."""

from .cost import UntraceableError, measure_cost
from .parts import PartCost, PartsCost, measure_parts
from .tracer import Cost, LargestTensor, ModuleCost

__all__ = [
    'Cost',
    'LargestTensor',
    'ModuleCost',
    'PartCost',
    'PartsCost',
    'UntraceableError',
    'measure_cost',
    'measure_parts',
]
