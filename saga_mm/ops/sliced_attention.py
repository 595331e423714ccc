"""The two steps of linear attention in slices of few tokens, for inference: their numbers stay in a processor's cache.

Norm, keys, values and gates exist for one slice at a time, and so do queries and answers. To ``torch.compile``
``torch.ops.saga_mm.mix_tokens`` is one node, which a loop would not be.
"""

import torch
import torch.nn.functional as F

from .feature_maps import get_feature_map
from .grid import Grid
from .linear_attention import KVState
from .products import end_in_one, linear, matrix_of, multiply, ones_for, takes_ones, turned
from .slices import slice_length

Layer = tuple[torch.Tensor, torch.Tensor | None]
Gates = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
Norm = tuple[torch.Tensor, torch.Tensor, float]


def write_in_slices(
    x: torch.Tensor,
    norm: Norm,
    key_value: Layer,
    gates: Gates | None,
    heads: int,
    *,
    feature_map: str = 'relu',
    normalizer: str = 'plain',
    values: torch.Tensor | None = None,
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
        values: Where the values are kept, ungated, for :func:`add_read_in_slices`; tokens like ``x``, or None.
    """
    batch, count, channels = x.shape
    head = channels // heads
    length = slice_length(x, 4 * channels)
    halves = zip(*((None, None) if half is None else half.chunk(2) for half in key_value), strict=True)
    key_buffer = x.new_empty(min(length, count), channels)
    ones = ones_for(len(key_buffer), channels, x) if takes_ones(x) else None
    to_keys, to_values = (matrix_of(*half, ones is not None) for half in halves)
    if gates is not None:
        *to_gates, down = gates
        to_gates = matrix_of(*to_gates, ones is not None and down is None)
        down, inner = (None, None) if down is None else (turned(down), x.new_empty(len(key_buffer), len(down)))
    value_buffer = torch.empty_like(key_buffer) if values is None else None
    opened = None if gates is None else x.new_empty(len(key_buffer), 2 * channels)
    kvs, keys = x.new_zeros(batch, heads, head, head), x.new_zeros(batch, heads, head)
    for i, (tokens, kv, key) in enumerate(zip(x, kvs, keys, strict=True)):
        for start, part in zip(range(0, count, length), tokens.split(length)):
            normed = F.layer_norm(part, (channels,), *norm)
            sources = end_in_one(normed, ones)
            kept = values[i, start:] if value_buffer is None else value_buffer
            k, v = linear(sources, *to_keys, key_buffer), linear(sources, *to_values, kept)
            k_heads = k.unflatten(-1, (heads, head))
            _map_in_place(k_heads, feature_map)
            if normalizer != 'gated':
                key += k_heads.sum(0)
            if gates is not None:
                gate_sources = sources if down is None else linear(normed, down, None, inner)
                key_gate, value_gate = linear(gate_sources, *to_gates, opened).sigmoid_().chunk(2, -1)
                k *= key_gate
                # values stay as they are, and the product reads numbers without gaps
                v = torch.mul(v, value_gate, out=normed)
            if normalizer == 'gated':
                key += k_heads.sum(0)
            kv.baddbmm_(k_heads.permute(1, 2, 0), v.unflatten(-1, (heads, head)).transpose(0, 1))
    return KVState(kvs / count, keys / count, count)


def add_read_in_slices(
    x: torch.Tensor,
    norm: Norm,
    state: tuple[torch.Tensor, torch.Tensor],
    query: Layer,
    value: Layer | torch.Tensor | None,
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
        value: The same of the values, or the values of all tokens, ``(B, N, C)``; None where there is no ``local``.
        local: Weight ``(C, 1, k, k)`` and bias of the depthwise convolution of the values, or None.
        proj: As ``query``, of the answers.
        grid: Where the tokens stand.
        keep: Rows to answer; beyond those of ``grid`` the convolution sees zeros.
        feature_map: As for :func:`write_in_slices`.
        eps: Added to the denominator.
        out: Where to write, contiguous tokens at ``keep``, or None. It may be ``x`` where the values are given or not
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
    ones = ones_for(len(queries_buffer), channels, x) if takes_ones(x) else None
    to_queries, (back, bias) = (matrix_of(*layer, ones is not None) for layer in (query, proj))
    for i, (tokens, result, kv, key) in enumerate(zip(x, out, *state, strict=True)):
        # a column for each head: what queries say of the keys of theirs
        keys = torch.block_diag(*key.unsqueeze(-1))
        for start in range(first, first + keep.rows, rows):
            stop = min(start + rows, first + keep.rows)
            top, bottom = max(start - reach, 0), min(stop + reach, grid.rows)
            near, own = slice(top * width, bottom * width), slice(start * width, stop * width)
            inner = slice((start - top) * width, (stop - top) * width)
            before = tokens[own]
            if isinstance(value, torch.Tensor):
                normed, values = F.layer_norm(before, (channels,), *norm), value[i, near]
            else:
                around = F.layer_norm(tokens[near], (channels,), *norm)
                normed, values = around[inner], None if local is None else F.linear(around, *value)
            sources = end_in_one(normed, ones)
            queries = linear(sources, *to_queries, queries_buffer)
            by_heads = queries.unflatten(-1, (heads, -1))
            _map_in_place(by_heads, feature_map)
            products = products_buffer[: len(before)].view(heads, len(before), -1)
            if heads == 1:
                multiply(queries, kv[0], products[0])
            else:
                torch.bmm(by_heads.transpose(0, 1), kv, out=products)
            sums = torch.mm(queries, keys).add_(eps)
            # these still end in one
            sources = queries if ones is None else sources
            answers = sources[:, :channels]
            torch.div(products, sums.t().unsqueeze(-1), out=answers.unflatten(-1, (heads, -1)).transpose(0, 1))
            if local is not None:
                # a stride of the batch that would not be that of a map costs two copies
                plane = values.view(1, -1, width, channels).permute(0, 3, 1, 2)
                summed = F.conv2d(plane, *local, padding=reach, groups=channels)
                answers += summed[0].permute(1, 2, 0).flatten(0, 1)[inner]
            part = result[(start - first) * width : (stop - first) * width]
            if bias is not None:
                torch.add(before, bias, out=part)
            elif out is not x:
                part.copy_(before)
            multiply(sources, back, part, add=True)
    return out


def mix_in_slices(
    x: torch.Tensor,
    norm: Norm,
    key_value: Layer,
    gates: Gates | None,
    query: Layer,
    local: Layer | None,
    proj: Layer,
    heads: int,
    height: int,
    width: int,
    *,
    feature_map: str = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Both steps in a row, written over the tokens of a whole map: :func:`write_in_slices`, :func:`add_read_in_slices`.

    Values are kept between the steps. That takes the memory that a second map would, which is not there for it.

    Args:
        x: Tokens ``(B, height * width, C)``, contiguous.
        norm: This and all others as for the two steps.

    Returns:
        ``x``.
    """
    grid, names = Grid.whole(height, width), {'feature_map': feature_map}
    values = None if local is None else torch.empty_like(x[:1])
    for image in x.split(1):
        state = write_in_slices(image, norm, key_value, gates, heads, **names, normalizer=normalizer, values=values)
        layers = query, values, local, proj
        add_read_in_slices(image, norm, state[:2], *layers, grid, grid, **names, eps=eps, out=image)
    return x


def _map_in_place(x: torch.Tensor, feature_map: str) -> torch.Tensor:
    return x.relu_() if feature_map == 'relu' else x.copy_(get_feature_map(feature_map)(x))


@torch.library.custom_op('saga_mm::mix_tokens', mutates_args=('x',))
def mix_tokens(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    norm_eps: float,
    kv_weight: torch.Tensor,
    kv_bias: torch.Tensor | None,
    gate_weight: torch.Tensor | None,
    gate_bias: torch.Tensor | None,
    gate_down: torch.Tensor | None,
    query_weight: torch.Tensor,
    query_bias: torch.Tensor | None,
    local_weight: torch.Tensor | None,
    local_bias: torch.Tensor | None,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor | None,
    heads: int,
    height: int,
    width: int,
    feature_map: str,
    normalizer: str,
    eps: float,
) -> None:
    gates = None if gate_weight is None else (gate_weight, gate_bias, gate_down)
    local = None if local_weight is None else (local_weight, local_bias)
    pair, query, proj = (kv_weight, kv_bias), (query_weight, query_bias), (proj_weight, proj_bias)
    options = {'feature_map': feature_map, 'normalizer': normalizer, 'eps': eps}
    mix_in_slices(x, (scale, shift, norm_eps), pair, gates, query, local, proj, heads, height, width, **options)


@mix_tokens.register_fake
def _(x, *args):
    pass
