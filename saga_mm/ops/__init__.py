"""Linear attention as a small additive state: write, merge, read. Pure torch."""

from .feature_maps import FEATURE_MAPS, FeatureMap, elu_plus_one, focused, get_feature_map
from .grid import Grid, map_to_tokens, pad_to_multiple, resize_table, tokens_to_map
from .linear_attention import KVState, linear_attention, merge_states, read_state, write_state
from .reference import linear_attention_reference

__all__ = [
    'FEATURE_MAPS',
    'FeatureMap',
    'Grid',
    'KVState',
    'elu_plus_one',
    'focused',
    'get_feature_map',
    'linear_attention',
    'linear_attention_reference',
    'map_to_tokens',
    'merge_states',
    'pad_to_multiple',
    'read_state',
    'resize_table',
    'tokens_to_map',
    'write_state',
]
