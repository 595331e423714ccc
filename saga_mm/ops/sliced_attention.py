"""The two steps of linear attention in slices of few tokens, for inference: their numbers stay in a processor's cache.

Norm, keys, values and gates exist for one slice at a time, and so do queries and answers.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .feature_maps import get_feature_map
from .grid import Grid
from .linear_attention import KVState
from .products import (
    Layer,
    Norm,
    add_outer,
    behind_norm,
    fold_norm,
    linear,
    multiply,
    ones_for,
    summed_parts,
    takes_ones,
    turned,
)
from .slices import slice_length

Gates = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


class Kept(NamedTuple):
    """What the first step keeps of tokens ``(B, N, C)`` for the second.

    Attributes:
        values: ``(B, N, C)``, ungated; None where nobody needs them.
        mean: ``(B, N, 1)``.
        scale: One over the deviation, as LayerNorm takes it, ``(B, N, 1)``.
    """

    values: torch.Tensor | None
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def empty(cls, x: torch.Tensor, values: bool = True) -> 'Kept':
        """For tokens like ``x``, which are not kept yet."""
        return cls(torch.empty_like(x) if values else None, *x.new_empty(2, *x.shape[:2], 1))


def write_in_slices(
    x: torch.Tensor,
    norm: Norm,
    key_value: Layer,
    gates: Gates | None,
    heads: int,
    *,
    feature_map: str = 'relu',
    normalizer: str = 'plain',
    kept: Kept | None = None,
) -> KVState:
    """As :func:`saga_mm.ops.write_state` of what layers make of tokens, without gradients.

    Args:
        x: Tokens ``(B, N, C)``.
        norm: Scale, shift and eps of the LayerNorm before the layers.
        key_value: Weight ``(2C, C)`` and bias of keys and values.
        gates: Weight ``(2C, C)`` and bias of the logits of key gates and value gates, and None; or, for gates of low
            rank R, weight ``(2C, R)``, bias, and the weight ``(R, C)`` before them; or None.
        heads: Heads; must divide C.
        feature_map: A name of :data:`FEATURE_MAPS`.
        normalizer: ``'plain'`` or ``'gated'``.
        kept: Where to write what :func:`add_read_in_slices` would have to compute again, or None.
    """
    batch, count, channels = x.shape
    head = channels // heads
    length = slice_length(x, 4 * channels)
    longest = min(length, count)
    layers, down = _halves(*key_value), None
    if gates is not None:
        *both, down = gates
        layers += _halves(*both) if down is None else [(down, None)]
        gate_buffer = x.new_empty(longest, channels)
    norm, (to_keys, to_values, *to_gates) = behind_norm(norm, *layers)
    if down is not None:
        (to_inner,), inner = to_gates, x.new_empty(longest, len(down))
        to_gates = [(turned(weight), bias) for weight, bias in _halves(*both)]
    key_buffer = x.new_empty(longest, channels)
    value_buffer = torch.empty_like(key_buffer) if kept is None or kept.values is None else None
    kvs = x.new_zeros(batch, heads, summed_parts(heads, longest, x), head, head)
    # keys are summed as a product with a column of ones
    column, keys = x.new_ones(longest, 1), x.new_zeros(batch, 1, summed_parts(1, longest, x), 1, channels)
    for i, (tokens, kv, key) in enumerate(zip(x, kvs, keys, strict=True)):
        for start, part in zip(range(0, count, length), tokens.split(length)):
            normed, mean, scale = torch.native_layer_norm(part, (channels,), *norm)
            if kept is not None:
                here = slice(start, start + len(part))
                kept.mean[i, here], kept.scale[i, here] = mean, scale
            k = linear(normed, *to_keys, key_buffer)
            v = linear(normed, *to_values, kept.values[i, start:] if value_buffer is None else value_buffer)
            _map_in_place(k.unflatten(-1, (heads, head)), feature_map)
            if normalizer != 'gated':
                add_outer(key, column[: len(k)], k)
            if gates is not None:
                gate_sources = normed if down is None else linear(normed, *to_inner, inner)
                k *= linear(gate_sources, *to_gates[0], gate_buffer).sigmoid_()
                # values stay as they are
                v = linear(gate_sources, *to_gates[1], gate_buffer).sigmoid_().mul_(v)
            if normalizer == 'gated':
                add_outer(key, column[: len(k)], k)
            add_outer(kv, k, v)
    return KVState(kvs.sum(2) / count, keys.sum(2).view(batch, heads, head) / count, count)


def add_read_in_slices(
    x: torch.Tensor,
    norm: Norm,
    state: tuple[torch.Tensor, torch.Tensor],
    query: Layer,
    value: Layer | Kept | None,
    local: Layer | None,
    proj: Layer,
    grid: Grid,
    keep: Grid,
    *,
    feature_map: str = 'relu',
    eps: float = 1e-6,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x + proj(read(norm(x)) + local(value(norm(x))))``, without gradients.

    Args:
        x: Tokens ``(B, N, C)`` that stand at ``grid``.
        norm: As for :func:`write_in_slices`.
        state: Its ``kv`` and ``key``.
        query: Weight ``(C, C)`` and bias of the queries.
        value: The same of the values, or what :func:`write_in_slices` kept; None where there is no ``local``.
        local: Weight ``(C, 1, k, k)`` and bias of the depthwise convolution of the values, or None.
        proj: As ``query``, of the answers.
        grid: Where the tokens stand.
        keep: Rows to answer; beyond those of ``grid`` the convolution sees zeros.
        feature_map: As for :func:`write_in_slices`.
        eps: Added to the denominator.
        out: Where to write, contiguous tokens at ``keep``, or None. It may be ``x`` where values are kept or not
            needed: no slice looks at other tokens than its own then.

    Returns:
        Tokens at ``keep``.
    """
    channels, heads, width = x.shape[-1], state[0].shape[1], grid.width
    reach = 0 if local is None else local[0].shape[-1] // 2
    rows = max(slice_length(x, 4 * channels) // width, 1)
    first = keep.start - grid.start
    if out is None:
        out = x.new_empty(len(x), keep.rows * width, channels)
    queries_buffer, products_buffer = x.new_empty(2, min(rows, keep.rows) * width, channels)
    kept = value if isinstance(value, Kept) else None
    if kept is None:
        norm, (to_queries, *to_values) = behind_norm(norm, query, *([] if local is None else [value]))
    else:
        to_queries = fold_norm(norm, *query)
        # tokens plus one
        mean = kept.mean if to_queries[1] is not None else kept.mean - kept.scale.reciprocal()
    # answers end in one where their bias is a row of the matrix
    ones = ones_for(len(queries_buffer), channels, x) if takes_ones(x) else None
    back, bias = turned(proj[0]), proj[1]
    if ones is not None:
        back = torch.cat([back, back.new_zeros(1, channels) if bias is None else bias.unsqueeze(0)])
    for i, (tokens, result, kv, key) in enumerate(zip(x, out, *state, strict=True)):
        # a row for each head: what queries say of the keys of theirs
        keys = torch.block_diag(*key.unsqueeze(1))
        for start in range(first, first + keep.rows, rows):
            stop = min(start + rows, first + keep.rows)
            top, bottom = max(start - reach, 0), min(stop + reach, grid.rows)
            near, own = slice(top * width, bottom * width), slice(start * width, stop * width)
            inner = slice((start - top) * width, (stop - top) * width)
            before = tokens[own]
            if kept is None:
                around = F.layer_norm(tokens[near], (channels,), *norm)
                normed = around[inner]
                values = None if local is None else linear(around, *to_values[0], torch.empty_like(around))
            else:
                normed = torch.sub(before, mean[i, own], out=products_buffer[: len(before)]).mul_(kept.scale[i, own])
                values = None if local is None else kept.values[i, near]
            queries = linear(normed, *to_queries, queries_buffer)
            by_heads = queries.unflatten(-1, (heads, -1))
            _map_in_place(by_heads, feature_map)
            products = products_buffer[: len(before)].view(heads, len(before), -1)
            if heads == 1:
                multiply(queries, kv[0], products[0])
            else:
                torch.bmm(by_heads.transpose(0, 1), kv, out=products)
            # faster than queries @ keys
            sums = torch.mm(keys, queries.t()).add_(eps).unsqueeze(-1)
            answered = queries if ones is None else ones[: len(before)]
            answers = answered[:, :channels].unflatten(-1, (heads, -1)).transpose(0, 1)
            if local is None:
                torch.div(products, sums, out=answers)
            else:
                # a stride of the batch that would not be that of a map costs two copies
                plane = values.view(1, -1, width, channels).permute(0, 3, 1, 2)
                summed = F.conv2d(plane, *local, padding=reach, groups=channels)[0].permute(1, 2, 0).flatten(0, 1)
                neighbours = summed[inner].unflatten(-1, (heads, -1)).transpose(0, 1)
                torch.addcdiv(neighbours, products, sums, out=answers)
            part = result[(start - first) * width : (stop - first) * width]
            if bias is not None and ones is None:
                torch.add(before, bias, out=part)
            elif out is not x:
                part.copy_(before)
            multiply(answered, back, part, add=True)
    return out


def _halves(weight: torch.Tensor, bias: torch.Tensor | None) -> list[Layer]:
    return list(zip(weight.chunk(2), (None, None) if bias is None else bias.chunk(2), strict=True))


def _map_in_place(x: torch.Tensor, feature_map: str) -> torch.Tensor:
    return x.relu_() if feature_map == 'relu' else x.copy_(get_feature_map(feature_map)(x))
