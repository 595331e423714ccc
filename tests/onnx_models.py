"""ONNX models of a few operators, as exports write them: for tests that read and run files without an export."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from saga_mm.onnx.facts import Facts

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
CLASSES = ('ground', 'light')
PALETTE = ((1, 2, 3), (200, 100, 0))


def build(kind: str, nodes: list, outputs: dict[str, tuple], inputs: tuple[str, ...] = (), **facts: Any):
    """A model whose metadata says these facts."""
    given = [helper.make_tensor_value_info('image', FLOAT, [1, 3, 'height', 'width'])]
    given += [helper.make_tensor_value_info(name, FLOAT, []) for name in inputs]
    answers = [helper.make_tensor_value_info(name, *kind_and_shape) for name, kind_and_shape in outputs.items()]
    graph = helper.make_graph(nodes, 'graph', given, answers, CONSTANTS)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=9)
    helper.set_model_props(proto, Facts(**{'kind': kind, 'version': '0.1.0', **facts}).to_metadata())
    return proto


def enhancer(strength: float | None = None, **facts: Any):
    """Adds a quarter of the strength to each value."""
    added = helper.make_node('Mul', ['quarter', 'strength' if strength is None else 'one'], ['added'])
    nodes = [
        added,
        helper.make_node('Add', ['image', 'added'], ['brighter']),
        helper.make_node('Clip', ['brighter', 'zero', 'one'], ['enhanced']),
    ]
    facts.setdefault('bytes_per_pixel', 100)
    outputs = {'enhanced': (FLOAT, [1, 3, 'height', 'width'])}
    return build('enhancer', nodes, outputs, ('strength',) if strength is None else (), strength=strength, **facts)


def segmentor(output: str = 'labels', **facts: Any):
    """Finds where red is above 127: labels, or scores at a quarter of the resolution."""
    facts = {'classes': CLASSES, 'palette': PALETTE, **facts}
    nodes = [helper.make_node('Slice', ['image', 'first', 'second', 'axis'], ['red'])]
    if output == 'labels':
        nodes += [
            helper.make_node('Greater', ['red', 'half'], ['bright']),
            helper.make_node('Squeeze', ['bright', 'axis'], ['plane']),
            helper.make_node('Cast', ['plane'], ['labels'], to=UINT8),
        ]
        return build('segmentor', nodes, {'labels': (UINT8, [1, 'height', 'width'])}, **facts)
    nodes += [
        helper.make_node('AveragePool', ['red'], ['small'], kernel_shape=[4, 4], strides=[4, 4], ceil_mode=1),
        helper.make_node('Sub', ['half', 'small'], ['dark']),
        helper.make_node('Sub', ['small', 'half'], ['light']),
        helper.make_node('Concat', ['dark', 'light'], ['scores'], axis=1),
    ]
    return build('segmentor', nodes, {'scores': (FLOAT, [1, 2, 'rows', 'columns'])}, **facts)


def classifier(**facts: Any):
    """Finds how bright red is: the probabilities of two classes."""
    facts = {'classes': CLASSES, 'palette': PALETTE, **facts}
    nodes = [
        helper.make_node('GlobalAveragePool', ['image'], ['means']),
        helper.make_node('Slice', ['means', 'first', 'second', 'axis'], ['red']),
        helper.make_node('Flatten', ['red'], ['light']),
        helper.make_node('Sub', ['half', 'light'], ['dark']),
        helper.make_node('Concat', ['dark', 'light'], ['scores'], axis=1),
        helper.make_node('Softmax', ['scores'], ['probabilities'], axis=1),
    ]
    return build('classifier', nodes, {'probabilities': (FLOAT, [1, 2])}, **facts)


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


CONSTANTS = [
    helper.make_tensor('quarter', FLOAT, [], [0.25]),
    helper.make_tensor('zero', FLOAT, [], [0.0]),
    helper.make_tensor('one', FLOAT, [], [1.0]),
    helper.make_tensor('half', FLOAT, [], [127.5]),
    helper.make_tensor('first', TensorProto.INT64, [1], [0]),
    helper.make_tensor('second', TensorProto.INT64, [1], [1]),
    helper.make_tensor('axis', TensorProto.INT64, [1], [1]),
]
