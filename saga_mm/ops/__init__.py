"""Linear attention as a small additive state: write, merge, read. Pure torch."""

from .feature_maps import FEATURE_MAPS, FeatureMap, elu_plus_one, focused, get_feature_map
from .grid import Grid, map_to_tokens, pad_to_multiple, resize_table, tokens_to_map
from .linear_attention import KVState, linear_attention, merge_states, read_key, read_state, write_mean, write_state
from .precision import full_precision, wide
from .reference import linear_attention_reference
from .rope import Rotation, check_head_dim, rotation_2d

__all__ = [
    'FEATURE_MAPS',
    'FeatureMap',
    'Grid',
    'KVState',
    'Rotation',
    'check_head_dim',
    'elu_plus_one',
    'focused',
    'full_precision',
    'get_feature_map',
    'linear_attention',
    'linear_attention_reference',
    'map_to_tokens',
    'merge_states',
    'pad_to_multiple',
    'read_key',
    'read_state',
    'resize_table',
    'rotation_2d',
    'tokens_to_map',
    'wide',
    'write_mean',
    'write_state',
]
