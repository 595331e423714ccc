"""A module in float64 whose token mixers follow their equations: what a gate holds the fast one against."""

from __future__ import annotations

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.attention import (
    FocusedLinearAttention,
    LinearAttention,
    RankAugmentedLinearAttention,
    SAGAAttention,
    SoftmaxAttention,
    TokenMixer,
)
from saga_mm.models.attention.rotary import RotaryMixer
from saga_mm.models.backbones.stage import Stage
from saga_mm.ops import (
    Gates,
    Grid,
    linear_attention_reference,
    map_to_tokens,
    pad_to_multiple,
    resize_table,
    tokens_to_map,
)

from .cores import Core, rala_reference, softmax_reference


def as_reference(module: nn.Module) -> nn.Module:
    """A copy in float64, in whole maps, with every mixer that has an equation here computed by it."""
    module = copy.deepcopy(module).double()
    keep_whole(module)
    for child in module.modules():
        if isinstance(child, Core):
            child.function = child.kind.reference
        elif isinstance(child, TokenMixer) and (mix := _equation(child)) is not None:
            child.forward = partial(mix, child)
    return module


def keep_whole(module: nn.Module) -> bool:
    """Let all stages and blocks run whole maps, instead of chunks of rows in inference; whether there are any stages.

    They do if a module inside has a hook; these do nothing.
    """
    stages = [child for child in module.modules() if isinstance(child, Stage)]
    for stage in stages:
        for child in (stage.embed, *(next(block.children()) for block in stage.blocks)):
            child.register_forward_pre_hook(_nothing)
    return bool(stages)


def _nothing(*_: object) -> None:
    """A hook must be a function."""


def _equation(mixer: TokenMixer):
    if isinstance(mixer, SoftmaxAttention):
        return _softmax
    if isinstance(mixer, RankAugmentedLinearAttention):
        return _rala
    # gates whose terms share their denominator add; shortened keys are no one's default
    if isinstance(mixer, LinearAttention) and mixer.sr_ratio == 1 and mixer.normalizer == 'plain':
        return _linear
    return None


def _softmax(mixer: SoftmaxAttention, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    source = x
    if mixer.sr_ratio > 1:
        source = mixer.norm(map_to_tokens(mixer.sr(pad_to_multiple(tokens_to_map(x, grid), mixer.sr_ratio))))
    q, k, v = _heads(mixer, mixer.q(x), *mixer.kv(source).chunk(2, dim=-1))
    return mixer.proj(softmax_reference(grid, q, k, v).flatten(2))


def _rala(mixer: RotaryMixer, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    q, k, v = _heads(mixer, mixer.q(x), *mixer.kv(x).chunk(2, dim=-1))
    return mixer.finish(x, rala_reference(grid, q, k, v), v, grid)


def _linear(mixer: LinearAttention, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    keys, values = mixer.kv(x).chunk(2, dim=-1)
    if mixer.table_size:
        keys = keys + resize_table(mixer.key_table, mixer.table_size, grid)
    q, k, v = _heads(mixer, mixer.q(x), keys, values)
    phi = partial(_focus, mixer) if isinstance(mixer, FocusedLinearAttention) else mixer.phi
    terms = mixer.gates(x, keys, values) if isinstance(mixer, SAGAAttention) else [(None, None)]
    mixed = [linear_attention_reference(q, k, v, Gates(*gates), feature_map=phi, eps=mixer.eps) for gates in terms]
    out = (sum(mixed) / len(mixed)).flatten(2)
    plane = tokens_to_map(values, grid)
    for conv in mixer.branches:
        repeats = plane.shape[1] // conv.out_channels
        weight, bias = conv.weight.repeat(repeats, 1, 1, 1), conv.bias.repeat(repeats)
        out = out + map_to_tokens(F.conv2d(plane, weight, bias, padding=conv.padding, groups=plane.shape[1]))
    return mixer.proj(out)


def _focus(mixer: FocusedLinearAttention, x: torch.Tensor) -> torch.Tensor:
    """``|y| y^p / |y^p|`` of ``y = (relu(x) + 1e-6) / softplus(scale)``, norms over the channels of all heads."""
    y = (x.relu() + 1e-6) / F.softplus(mixer.heads(mixer.scale))
    sharp = y**mixer.focusing_factor
    return sharp * (y.flatten(2).norm(dim=-1) / sharp.flatten(2).norm(dim=-1))[..., None, None]


def _heads(mixer: TokenMixer, *tensors: torch.Tensor) -> list[torch.Tensor]:
    return [t.unflatten(-1, (mixer.num_heads, mixer.head_dim)) for t in tensors]
