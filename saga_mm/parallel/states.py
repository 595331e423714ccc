"""Merge the states that bands have written of a map."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from saga_mm.ops import KVState
from saga_mm.rows import RowStep

from .mesh import Mesh

WHAT = 'state'


def merge_bands(step: RowStep, state: Any, mesh: Mesh) -> Any:
    """The state of the whole map, from that of each band: gradients reach the tokens of all of them.

    States of linear attention are summed, at twice their bytes on each process whatever the number of processes. What
    grows with the map (keys and values), and what is small, is gathered and merged as a step merges strips.
    """
    if mesh.bands == 1 or state is None:
        return state
    if isinstance(state, KVState):
        return _sum_state(state, mesh)
    if isinstance(state, tuple) and all(isinstance(part, KVState) for part in state):
        return type(state)(*(_sum_state(part, mesh) for part in state))
    leaves, spec = pytree.tree_flatten(state)
    leaves = [leaf if isinstance(leaf, torch.Tensor) else float(leaf) for leaf in leaves]
    gathered = _gather_alike(leaves, mesh) if not step.state_floats_per_token else _gather_growing(leaves, mesh)
    return step.merge([pytree.tree_unflatten(parts, spec) for parts in gathered])


def _sum_state(state: KVState, mesh: Mesh) -> KVState:
    """As ``merge_states`` of those of all bands."""
    if state.log_weight is None:
        shares, total = state.kv.new_full((1, 1), float(state.count)), None
    else:
        logs = torch.stack(mesh.gather(state.log_weight[None], WHAT)).squeeze(1)
        total = logs.logsumexp(dim=0)
        # relative to the total, which keeps exponentials of scores from overflowing
        shares = (state.log_weight - total).exp()
    count = state.kv.new_full((1,), float(state.count))
    parts = [state.kv * shares[..., None, None], state.key * shares[..., None], count]
    sums = mesh.total(torch.cat([part.flatten() for part in parts]), WHAT).split([part.numel() for part in parts])
    kv, key = (summed.view_as(part) for summed, part in zip(sums, parts[:2]))
    if total is None:
        kv, key = kv / sums[2], key / sums[2]
    return KVState(kv, key, sums[2].detach(), total)


def _gather_alike(leaves: list[Any], mesh: Mesh) -> list[list[Any]]:
    """The leaves of every band, which have the same shapes everywhere."""
    like = next(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
    # counts of tokens are exact in float64
    wide = [leaf.double().flatten() if isinstance(leaf, torch.Tensor) else _number(leaf, like) for leaf in leaves]
    sizes = [part.numel() for part in wide]
    bands = []
    for flat in mesh.gather(torch.cat(wide), WHAT):
        parts = zip(flat.split(sizes), leaves)
        bands.append(
            [part.view_as(leaf).to(leaf.dtype) if isinstance(leaf, torch.Tensor) else part for part, leaf in parts]
        )
    return bands


def _gather_growing(leaves: list[torch.Tensor], mesh: Mesh) -> list[list[torch.Tensor]]:
    """The leaves of every band, whose shapes differ with its rows."""
    # a model without memory has shapes all the same
    device = 'cpu' if leaves[0].is_meta else leaves[0].device
    shape = torch.tensor([side for leaf in leaves for side in leaf.shape], device=device)
    shapes = []
    for sides in mesh.gather(shape, WHAT):
        left = iter(sides.tolist())
        shapes.append([[next(left) for _ in leaf.shape] for leaf in leaves])
    flat = torch.cat([leaf.flatten() for leaf in leaves])
    sizes = [[int(torch.Size(shape).numel()) for shape in band] for band in shapes]
    gathered = mesh.gather(flat, WHAT, [sum(band) for band in sizes])
    return [
        [part.view(shape) for part, shape in zip(flat.split(band), forms)]
        for flat, band, forms in zip(gathered, sizes, shapes)
    ]


def _number(value: float, like: torch.Tensor) -> torch.Tensor:
    return torch.full((1,), value, dtype=torch.float64, device=like.device)
