"""Attention (token mixers), one a file. Each runs in every backbone, by name."""

from .cross_window import CrossWindowAttention
from .focused import FocusedLinearAttention
from .linear import LinearAttention
from .magnitude_aware import MagnitudeAwareLinearAttention
from .rank_augmented import RankAugmentedLinearAttention
from .rope_softmax import RopeSoftmaxAttention
from .saga import SAGAAttention
from .softmax import SoftmaxAttention
from .token_mixer import TokenMixer, build_attention, resolve_attention
from .window import WindowAttention

__all__ = [
    'CrossWindowAttention',
    'FocusedLinearAttention',
    'LinearAttention',
    'MagnitudeAwareLinearAttention',
    'RankAugmentedLinearAttention',
    'RopeSoftmaxAttention',
    'SAGAAttention',
    'SoftmaxAttention',
    'TokenMixer',
    'WindowAttention',
    'build_attention',
    'resolve_attention',
]
