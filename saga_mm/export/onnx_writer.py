"""Export a PyTorch module as ONNX with dynamic height and width, for a chosen opset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from saga_mm.engines.library import silence
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.onnx.file import IMAGE

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# the lowest opset that PyTorch's exporter writes
NATIVE = 18
LOWER = 17


def to_onnx(
    module: nn.Module,
    examples: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    opset: int,
    sides: Mapping[str, Mapping[int, Any]] | None = None,
) -> ModelProto:
    """Export a module for images of any height and width.

    Args:
        module: The module, in evaluation mode; its positional arguments are ``examples``.
        examples: A value for each input by name.
        outputs: Names of the outputs.
        opset: The version of ONNX's operators. The model is of the lowest IR version that belongs to it.
        sides: Of inputs by name, the axes that are dynamic and the dimensions of ``torch.export`` that they are; None
            for height and width of ``image``, ``(1, 3, H, W)``. With them, the module's ``forward`` takes ``*inputs``.

    Raises:
        SagaError: A part of the module has no form in ONNX, or none in this opset.
    """
    import onnx

    known = {IMAGE: {2: 'height', 3: 'width'}} if sides is None else sides
    shapes = tuple(known.get(name, {}) for name in examples)
    try:
        with torch.no_grad(), silence():
            program = torch.onnx.export(
                module,
                tuple(examples.values()),
                input_names=list(examples),
                output_names=list(outputs),
                dynamic_shapes=shapes if sides is None else (shapes,),
                # a lower one is made of it by lower_opset, which says why
                opset_version=max(opset, NATIVE),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise SagaError(f'a part of this model cannot be expressed in ONNX ({reason})') from error
    proto = program.model_proto
    _remove_notes(proto)
    if opset < NATIVE:
        lower_opset(proto)
    written = {entry.domain: entry.version for entry in proto.opset_import}
    if written != {'': opset}:
        raise ArgumentError(
            'opset', opset, f'PyTorch {torch.__version__} wrote another one ({written}); choose another'
        )
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def lower_opset(proto: ModelProto) -> None:
    """Rewrite a model of opset 18 in opset 17, exactly.

    Of the converters that exist, onnx's has no rule for ``Pad`` and onnxscript's converts upwards alone. Few operators
    changed between the two versions, most of them by options that exports do not use.

    Raises:
        SagaError: The model has an operator that opset 17 does not have.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        newest = onnx.defs.get_schema(node.op_type, NATIVE, '').since_version
        rule = _lower_reduction if node.op_type.startswith('Reduce') else RULES.get(node.op_type, _reject)
        if newest == NATIVE and not rule(node, constants):
            raise ArgumentError(
                'opset', LOWER, f'has no {node.op_type} of the kind that this model uses; choose 18 or more'
            )
    used = {name for node in proto.graph.node for name in node.input}
    # axes that became attributes
    unused = [tensor for tensor in proto.graph.initializer if tensor.name not in used]
    for tensor in unused:
        proto.graph.initializer.remove(tensor)
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid('', LOWER))


Rule = Callable[['NodeProto', Mapping], bool]


def _lower_reduction(node: NodeProto, constants: Mapping) -> bool:
    """Axes as an attribute instead of an input."""
    import onnx

    options = {each.name: each.i for each in node.attribute}
    if len(node.input) < 2 or not node.input[1]:
        # without axes, 18 may be told to reduce nothing
        if options.get('noop_with_empty_axes'):
            return False
    elif node.input[1] in constants:
        axes = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        node.attribute.append(onnx.helper.make_attribute('axes', axes))
    else:
        return False
    del node.input[1:]
    return _without(node, noop_with_empty_axes=None)


def _lower_pad(node: NodeProto, constants: Mapping) -> bool:
    # 18 takes the axes as a fourth input
    return len(node.input) < 4 or not node.input[3]


def _lower_resize(node: NodeProto, constants: Mapping) -> bool:
    # 18 has axes, antialiasing and a policy for the ratio of the sides
    has_axes = any(attribute.name == 'axes' for attribute in node.attribute)
    return not has_axes and _without(node, antialias=0, keep_aspect_ratio_policy=b'stretch')


def _lower_split(node: NodeProto, constants: Mapping) -> bool:
    # without sizes, 17 cuts into as many equal parts as there are outputs; ONNX Runtime checks that they are
    return _without(node, num_outputs=len(node.output))


def _lower_scatter(node: NodeProto, constants: Mapping) -> bool:
    # 18 has the largest and the smallest as well
    return all(each.s in (b'none', b'add', b'mul') for each in node.attribute if each.name == 'reduction')


def _reject(node: NodeProto, constants: Mapping) -> bool:
    return False


RULES: dict[str, Rule] = {
    'Pad': _lower_pad,
    'Resize': _lower_resize,
    'Split': _lower_split,
    'ScatterElements': _lower_scatter,
    'ScatterND': _lower_scatter,
}


def _without(node: NodeProto, **usual: object) -> bool:
    """Remove attributes that have a given value (None: any); returns False where one has another."""
    import onnx

    kept = []
    for attribute in node.attribute:
        if attribute.name in usual:
            value = onnx.helper.get_attribute_value(attribute)
            if usual[attribute.name] not in (None, value):
                return False
        else:
            kept.append(attribute)
    del node.attribute[:]
    node.attribute.extend(kept)
    return True


def _remove_notes(proto: ModelProto) -> None:
    """Remove the exporter's notes, which hold paths of the code that it has read."""
    del proto.metadata_props[:]
    proto.producer_version = torch.__version__.partition('+')[0]
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.doc_string = ''
        del part.metadata_props[:]
    for tensor in proto.graph.initializer:
        tensor.doc_string = ''
        del tensor.metadata_props[:]
