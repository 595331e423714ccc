"""The effective rank of attention: of the KV state and of the output, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from saga_mm.display.progress import progress_bar
from saga_mm.models.attention import TokenMixer
from saga_mm.ops import Grid, KVState

from .subjects import mixers_of

SHARE = 0.9


@dataclass(frozen=True)
class LayerRank:
    """Ranks of one layer, means over images (and heads).

    Attributes:
        layer: ``'3.2'`` is the second block of stage 3.
        mixer: The class of its attention.
        state_effective: Effective rank of a head's KV state, or None for attention without one.
        state_energy: Singular values of a head's KV state that hold the share of its energy, or None.
        state_size: The state's largest possible rank, or None.
        output_effective: Effective rank of the output of attention, tokens x channels.
        output_energy: Its singular values that hold the share of its energy.
        output_size: Its largest possible rank.
    """

    layer: str
    mixer: str
    state_effective: float | None
    state_energy: float | None
    state_size: int | None
    output_effective: float
    output_energy: float
    output_size: int


def effective_rank(matrix: torch.Tensor) -> torch.Tensor:
    """Exponential of the entropy of the singular values, normalised to the sum 1 (Roy and Vetterli, 2007).

    Args:
        matrix: ``(..., m, n)``; computed in float64.

    Returns:
        Between 1 and ``min(m, n)``, for each of the leading indices; 0 for a matrix of zeros.
    """
    values = torch.linalg.svdvals(matrix.double())
    total = values.sum(-1, keepdim=True)
    shares = values / total.clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(total.squeeze(-1) > 0, torch.special.entr(shares).sum(-1).exp(), 0.0)


def energy_rank(matrix: torch.Tensor, share: float = SHARE) -> torch.Tensor:
    """How many of the largest singular values hold a share of the energy, the sum of their squares.

    Args:
        matrix: ``(..., m, n)``; computed in float64.
        share: In (0, 1].

    Returns:
        Whole numbers between 1 and ``min(m, n)``, for each of the leading indices; 0 for a matrix of zeros.
    """
    if not 0 < share <= 1:
        raise ValueError(f'share={share} must be above 0 and at most 1')
    energy = torch.linalg.svdvals(matrix.double()).square().cumsum(-1)
    total = energy[..., -1:]
    needed = (energy < share * total).sum(-1) + 1
    return torch.where(total.squeeze(-1) > 0, needed, 0)


def kv_map(state: Any) -> torch.Tensor | None:
    """The map from keys to values in a state, ``(B, heads, d_k, d_v)``; None where the state has none.

    Softmax attention keeps keys and values apart; their product plays no part in it, so it has no KV map.
    """
    if isinstance(state, KVState):
        return state.kv
    parts = state if isinstance(state, tuple) else ()
    return next((part.kv for part in parts if isinstance(part, KVState)), None)


def write_whole(mixer: TokenMixer, x: torch.Tensor, grid: Grid) -> Any:
    """The state that all tokens of a map write, after as many sweeps as the attention needs."""
    state = None
    for _ in range(mixer.sweeps):
        state = mixer.write(x, grid, state)
    return state


def collect_ranks(
    net: nn.Module, images: torch.Tensor, share: float = SHARE, progress: str | None = None
) -> list[LayerRank]:
    """Ranks of each layer of a backbone on some images.

    Args:
        net: A backbone with attention of this package, in evaluation mode.
        images: ``(B, 3, H, W)``; they are run one by one.
        share: Of the energy, for :func:`energy_rank`.
        progress: Text before a progress bar, which appears after a few seconds; None for no bar.
    """
    mixers = mixers_of(net)
    seen: dict[str, list[list[float]]] = {layer: [] for layer in mixers}
    sizes: dict[str, tuple[int | None, int]] = {}

    def watch(layer: str) -> Any:
        def hook(mixer: TokenMixer, args: tuple[torch.Tensor, Grid], out: torch.Tensor) -> None:
            kv = kv_map(write_whole(mixer, *args))
            row = [] if kv is None else [effective_rank(kv).mean(), energy_rank(kv, share).double().mean()]
            row += [effective_rank(out).mean(), energy_rank(out, share).double().mean()]
            seen[layer].append([float(value) for value in row])
            sizes[layer] = (None if kv is None else min(kv.shape[-2:]), min(out.shape[-2:]))

        return hook

    handles = [mixer.register_forward_hook(watch(layer)) for layer, mixer in mixers.items()]
    try:
        with torch.no_grad():
            for image in progress_bar(images, len(images), progress or '', enabled=progress is not None, delay=2.0):
                net(image[None])
    finally:
        for handle in handles:
            handle.remove()
    ranks = []
    for layer, rows in seen.items():
        if rows:
            means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            state, output = ([None, None], means) if len(means) == 2 else (means[:2], means[2:])
            kind = type(mixers[layer]).__name__
            ranks.append(LayerRank(layer, kind, *state, sizes[layer][0], *output, sizes[layer][1]))
    return ranks
