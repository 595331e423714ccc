"""Linear attention as a small additive state: write, merge, read. Pure torch, and kernels beside it."""

from .budget import MemoryBudget
from .capture import captures_graph, compiles, known_equal
from .feature_maps import FEATURE_MAPS, FeatureMap, elu_plus_one, focused, get_feature_map
from .feed_forward import add_feed_forward
from .fused import fused_kernels, fuses
from .grid import Grid, contiguous_map, map_to_tokens, pad_to_multiple, round_up, tokens_to_map
from .linear_attention import KVState, linear_attention, merge_states, read_key, read_state, write_mean, write_state
from .mix_tokens import mix_in_slices
from .precision import full_precision, number_bytes, wide
from .reference import linear_attention_reference
from .resize import RowPool, add_table, resize_rows, resize_table
from .rope import Rotation, check_head_dim, rotation_2d
from .row_progress import watch_rows
from .row_runner import ACCELERATOR_CHUNK_BYTES, CHUNK_BYTES, MemoryTooSmallError, Part, RowRunner, plan_runner
from .rows import LocalStep, RowStep, StepRows, crop_rows, grow_rows
from .scratch import AppliedRows, FileRows, ImageRows, MemoryRows, Rows, Storage
from .sliced_attention import Kept, add_read_in_slices, write_in_slices
from .slices import norm_in_place

__all__ = [
    'ACCELERATOR_CHUNK_BYTES',
    'CHUNK_BYTES',
    'FEATURE_MAPS',
    'AppliedRows',
    'FeatureMap',
    'FileRows',
    'Grid',
    'ImageRows',
    'KVState',
    'Kept',
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
    'add_feed_forward',
    'add_read_in_slices',
    'add_table',
    'captures_graph',
    'check_head_dim',
    'compiles',
    'contiguous_map',
    'crop_rows',
    'elu_plus_one',
    'focused',
    'full_precision',
    'fused_kernels',
    'fuses',
    'get_feature_map',
    'grow_rows',
    'known_equal',
    'linear_attention',
    'linear_attention_reference',
    'map_to_tokens',
    'merge_states',
    'mix_in_slices',
    'norm_in_place',
    'number_bytes',
    'pad_to_multiple',
    'plan_runner',
    'read_key',
    'read_state',
    'resize_rows',
    'resize_table',
    'rotation_2d',
    'round_up',
    'tokens_to_map',
    'watch_rows',
    'wide',
    'write_in_slices',
    'write_mean',
    'write_state',
]
