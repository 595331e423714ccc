"""Rewrite a model of OpenVINO's so that it passes over maps less often; results are equal up to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .library import import_openvino

if TYPE_CHECKING:
    import openvino

# layers that change the order or the shape of a tensor and none of its values
MOVES = ('Reshape', 'Transpose')
# HEADS_FIRST is the order that puts heads before tokens. Up to TOGETHER heads are multiplied in one product: it also
# computes the products of two different heads, which nobody needs, but that costs less than to copy each head
HEADS_FIRST, TOGETHER = (0, 2, 1, 3), 4


def simplify(model: openvino.Model) -> None:
    """Fold norms into linear layers, and move ReLU and products before the division into heads.

    Args:
        model: A model for one set of sizes; it is changed.
    """
    import_openvino()
    # this replaces what depends on constants alone by its value, so that more layers match below; OpenVINO does the
    # same later, when it compiles
    with suppress(ImportError):
        from openvino._offline_transformations import apply_moc_transformations

        apply_moc_transformations(model, True)
    for node in model.get_ordered_ops():
        if node.get_type_name() == 'Add':
            _fold_norm(node)
    while sum(_moved_up(node) for node in model.get_ordered_ops()):
        model.validate_nodes_and_infer_types()
    for node in model.get_ordered_ops():
        if node.get_type_name() == 'MatMul':
            _multiply_together(node)
    model.validate_nodes_and_infer_types()


def _fold_norm(add: openvino.Node) -> None:
    """Fold weight and bias of a LayerNorm into the linear layers after it, if nothing else uses its result.

    OpenVINO has no layer of a norm over the last axis with its weight: that would be a pass of its own.

    Args:
        add: The addition of the bias.
    """
    shift, multiply = _constant(add, 1), _source(add, 0)
    if shift is None or multiply.get_type_name() != 'Multiply' or len(_users(multiply)) > 1:
        return
    scale, norm = _constant(multiply, 1), _source(multiply, 0)
    if scale is None or scale.size != shift.size or norm.get_type_name() != 'MVN' or len(_users(norm)) > 1:
        return
    layers = list(_linear_layers(add, scale.size))
    if None in layers:
        return
    for product, bias in layers:
        weight, before = _constant(product, 1), _constant(bias, 1)
        after = before + (weight @ shift.reshape(-1)).reshape(before.shape)
        _replace_input(bias, 1, after.astype(before.dtype))
        _replace_input(product, 1, (weight * scale.reshape(-1)).astype(weight.dtype))
    add.output(0).replace(norm.output(0))


def _linear_layers(node: openvino.Node, channels: int) -> Iterator[tuple[openvino.Node, openvino.Node] | None]:
    """Product and bias of each linear layer that uses the tokens of a node; None for every other user."""
    for user in _users(node):
        kind, known = user.get_type_name(), None
        if kind in ('Reshape', 'Unsqueeze', 'Squeeze') or (kind == 'Pad' and _repeats(user)):
            if user.get_output_shape(0)[-1] == channels:
                yield from _linear_layers(user, channels)
                continue
        elif kind == 'MatMul' and user.get_attributes() == {'transpose_a': False, 'transpose_b': True}:
            weight, after = _constant(user, 1), _users(user)
            if weight is not None and weight.shape[1:] == (channels,) and len(after) == 1:
                bias = _constant(after[0], 1) if after[0].get_type_name() == 'Add' else None
                known = (user, after[0]) if bias is not None and bias.size == len(weight) else None
        yield known


def _repeats(pad: openvino.Node) -> bool:
    return pad.get_attributes()['pad_mode'] == 'edge'


def _moved_up(node: openvino.Node) -> bool:
    """Move a product or a ReLU before the transpose or reshape of all its inputs; returns whether it was moved.

    It then fuses with the linear layer before it, and one move replaces those of the inputs.
    """
    from openvino import opset13

    kind = node.get_type_name()
    if kind not in ('Relu', 'Multiply'):
        return False
    moves = [_source(node, i) for i in range(node.get_input_size())]
    first = moves[0]
    if first.get_type_name() not in MOVES or any(_move(move) != _move(first) for move in moves):
        return False
    sources = [move.input_value(0) for move in moves]
    # a ReLU of what has other users too would be no part of the layer before it
    if kind == 'Relu' and len(_users(first)) > 1:
        return False
    earlier = opset13.relu(*sources) if kind == 'Relu' else opset13.multiply(*sources)
    if first.get_type_name() == 'Reshape':
        moved = opset13.reshape(earlier, np.array(first.get_output_shape(0), np.int64), False)
    else:
        moved = opset13.transpose(earlier, first.input_value(1))
    node.output(0).replace(moved.output(0))
    return True


def _multiply_together(product: openvino.Node) -> None:
    """Compute ``k^T v`` of all heads in one product, and drop the blocks of two different heads."""
    from openvino import opset13

    heads_first = [_source(product, i) for i in range(2)]
    divided = [_source(node, 0) if _is_heads_first(node) else None for node in heads_first]
    if product.get_attributes() != {'transpose_a': True, 'transpose_b': False} or None in divided:
        return
    tokens = [node.input_value(0) for node in divided]
    (_, heads, rows, columns), ranks = product.get_output_shape(0), [len(x.get_shape()) for x in tokens]
    if not 1 < heads <= TOGETHER or ranks != [3, 3] or [x.get_shape()[2] // heads for x in tokens] != [rows, columns]:
        return
    pairs, parts = opset13.matmul(*tokens, True, False), []
    for i in range(heads):
        start, stop = (np.array([(i + j) * rows, (i + j) * columns]) for j in range(2))
        part = opset13.slice(pairs, start, stop, np.array([1, 1]), np.array([1, 2]))
        parts.append(opset13.unsqueeze(part, np.array([1])))
    product.output(0).replace(opset13.concat(parts, 1).output(0))


def _is_heads_first(node: openvino.Node) -> bool:
    """Whether a node brings heads before tokens, which were divided into them just before."""
    if node.get_type_name() != 'Transpose' or _source(node, 0).get_type_name() != 'Reshape':
        return False
    order = _constant(node, 1)
    return order is not None and tuple(order) == HEADS_FIRST


def _move(node: openvino.Node) -> tuple:
    """The change that a node makes to the sides of a tensor, which is equal for nodes that do the same."""
    if node.get_type_name() not in MOVES:
        return ()
    sides = tuple(node.input_value(0).get_shape()), tuple(node.get_output_shape(0))
    order = _constant(node, 1)
    # how sides are asked for may differ
    return node.get_type_name(), *sides, node.get_type_name() == 'Reshape' or (order is not None and tuple(order))


def _source(node: openvino.Node, i: int) -> openvino.Node:
    return node.input_value(i).get_node()


def _users(node: openvino.Node) -> list[openvino.Node]:
    return [port.get_node() for output in node.outputs() for port in output.get_target_inputs()]


def _constant(node: openvino.Node, i: int) -> Any:
    """An input as an array, where it is a constant."""
    source = _source(node, i)
    return source.data if source.get_type_name() == 'Constant' else None


def _replace_input(node: openvino.Node, i: int, array: np.ndarray) -> None:
    from openvino import opset13

    node.input(i).replace_source_output(opset13.constant(array).output(0))
