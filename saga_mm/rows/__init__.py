"""Exact strips: row steps, their runner, the plan and the memory budget."""

from .budget import MemoryBudget
from .engine import TORCH, Engine, engine_of
from .row_progress import watch_rows
from .runner import ACCELERATOR_CHUNK_BYTES, CHUNK_BYTES, MemoryTooSmallError, Part, RowRunner, plan_runner
from .steps import LocalStep, RowStep, StepRows, crop_rows, grow_rows
from .storage import AppliedRows, FileRows, ImageRows, MemoryRows, Rows, Span, Storage

__all__ = [
    'ACCELERATOR_CHUNK_BYTES',
    'CHUNK_BYTES',
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
    'crop_rows',
    'engine_of',
    'grow_rows',
    'plan_runner',
    'watch_rows',
]
