"""Linear attention as a small additive state: write, merge, read. Pure torch, and kernels beside it."""

from .budget import MemoryBudget
from .capture import captures_graph, known_equal
from .engine import TORCH, Engine, engine_of
from .feature_maps import FEATURE_MAPS, FeatureMap, elu_plus_one, focused, get_feature_map
from .fused import fused_kernels, plain_reason
from .grid import (
    Grid,
    ceil_div,
    contiguous_map,
    larger,
    map_to_tokens,
    pad_to_multiple,
    round_up,
    smaller,
    tokens_to_map,
)
from .linear_attention import KVState, linear_attention, merge_states, read_key, read_state, write_mean, write_state
from .places import placed
from .precision import full_precision, number_bytes, wide
from .reference import linear_attention_reference
from .resize import RowPool, resize_rows, resize_table
from .rope import Rotation, check_head_dim, rotation_2d
from .row_progress import watch_rows
from .row_runner import ACCELERATOR_CHUNK_BYTES, CHUNK_BYTES, MemoryTooSmallError, Part, RowRunner, plan_runner
from .rows import LocalStep, RowStep, StepRows, crop_rows, grow_rows
from .scratch import AppliedRows, FileRows, ImageRows, MemoryRows, Rows, Storage

__all__ = [
    'ACCELERATOR_CHUNK_BYTES',
    'CHUNK_BYTES',
    'FEATURE_MAPS',
    'TORCH',
    'AppliedRows',
    'Engine',
    'FeatureMap',
    'FileRows',
    'Grid',
    'ImageRows',
    'KVState',
    'LocalStep',
    'MemoryBudget',
    'MemoryRows',
    'MemoryTooSmallError',
    'Part',
    'Rotation',
    'RowPool',
    'RowRunner',
    'RowStep',
    'Rows',
    'StepRows',
    'Storage',
    'captures_graph',
    'ceil_div',
    'check_head_dim',
    'contiguous_map',
    'crop_rows',
    'elu_plus_one',
    'engine_of',
    'focused',
    'full_precision',
    'fused_kernels',
    'get_feature_map',
    'grow_rows',
    'known_equal',
    'larger',
    'linear_attention',
    'linear_attention_reference',
    'map_to_tokens',
    'merge_states',
    'number_bytes',
    'pad_to_multiple',
    'placed',
    'plain_reason',
    'plan_runner',
    'read_key',
    'read_state',
    'resize_rows',
    'resize_table',
    'rotation_2d',
    'round_up',
    'smaller',
    'tokens_to_map',
    'watch_rows',
    'wide',
    'write_mean',
    'write_state',
]
