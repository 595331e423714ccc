"""Token mixers, one a file. Any of them runs in any host, by name."""

from .base import TokenMixer, build_attention, resolve_attention
from .saga import SAGAAttention
from .softmax import SoftmaxAttention

__all__ = ['SAGAAttention', 'SoftmaxAttention', 'TokenMixer', 'build_attention', 'resolve_attention']
