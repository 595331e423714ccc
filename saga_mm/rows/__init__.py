"""Exact strips: row steps, their runner, the plan and the memory budget."""

from .budget import MemoryBudget
from .chunk_size import bytes_of_chunks, limit_chunks
from .engine import TORCH, Engine, Strip, engine_of
from .passes import Part
from .plan import MemoryTooSmallError, plan_runner
from .row_progress import watch_rows
from .runner import RowRunner
from .steps import LocalStep, RowStep, StepRows, crop_rows, grow_rows
from .storage import AppliedRows, FileRows, ImageRows, MemoryRows, Rows, Span, Storage

__all__ = [
    'TORCH',
    'AppliedRows',
    'Engine',
    'FileRows',
    'ImageRows',
    'LocalStep',
    'MemoryBudget',
    'MemoryRows',
    'MemoryTooSmallError',
    'Part',
    'RowRunner',
    'RowStep',
    'Rows',
    'Span',
    'StepRows',
    'Storage',
    'Strip',
    'bytes_of_chunks',
    'crop_rows',
    'engine_of',
    'grow_rows',
    'limit_chunks',
    'plan_runner',
    'watch_rows',
]
