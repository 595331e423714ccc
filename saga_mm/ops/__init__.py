"""The additive state of linear attention: write, merge, read. Plain PyTorch, with Triton kernels beside it."""

from .capture import captures_graph, known_equal
from .feature_maps import FEATURE_MAPS, FeatureMap, elu_plus_one, focused, get_feature_map
from .fused import fused_kernels, plain_reason
from .grid import (
    Grid,
    ceil_div,
    contiguous_map,
    larger,
    map_to_tokens,
    pad_to_multiple,
    repeat_edges,
    round_up,
    smaller,
    tokens_to_map,
)
from .linear_attention import (
    Gates,
    KVState,
    linear_attention,
    merge_states,
    read_key,
    read_state,
    write_mean,
    write_state,
)
from .positions import position_dependent
from .precision import full_precision, number_bytes, wide
from .reference import linear_attention_reference
from .resize import RowPool, resize_rows, resize_span, resize_table
from .rope import Rotation, check_head_dim, rotation_2d

__all__ = [
    'FEATURE_MAPS',
    'FeatureMap',
    'Gates',
    'Grid',
    'KVState',
    'Rotation',
    'RowPool',
    'captures_graph',
    'ceil_div',
    'check_head_dim',
    'contiguous_map',
    'elu_plus_one',
    'focused',
    'full_precision',
    'fused_kernels',
    'get_feature_map',
    'known_equal',
    'larger',
    'linear_attention',
    'linear_attention_reference',
    'map_to_tokens',
    'merge_states',
    'number_bytes',
    'pad_to_multiple',
    'plain_reason',
    'position_dependent',
    'read_key',
    'read_state',
    'repeat_edges',
    'resize_rows',
    'resize_span',
    'resize_table',
    'rotation_2d',
    'round_up',
    'smaller',
    'tokens_to_map',
    'wide',
    'write_mean',
    'write_state',
]
