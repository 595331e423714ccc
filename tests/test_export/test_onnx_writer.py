"""ONNX models of each opset, from a module of the operators that differ between them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.export.onnx_writer import lower_opset, to_onnx
from saga_mm.onnx.file import OPSETS

onnx = pytest.importorskip('onnx')
helper = pytest.importorskip('onnx.helper')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
pytestmark = pytest.mark.usefixtures('quick_exports')

IR = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


class Mixed(nn.Module):
    """Padding, splitting, resizing, and reductions of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.conv = nn.Conv2d(3, 6, 3, 2)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(F.pad(image, (1, 2, 1, 2), mode='replicate'))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        first, second = x.chunk(2, 1)
        x = first * second.mean((2, 3), keepdim=True) + second.amax(1, keepdim=True)
        large = F.interpolate(F.gelu(x), image.shape[2:], mode='bilinear')
        return large, F.normalize(F.pad(x, (0, 1)), dim=1).sum(1)


@pytest.fixture(scope='module')
def module() -> Mixed:
    torch.manual_seed(0)
    return Mixed().eval()


# 18, 20 and 23 are those of test_runs/test_export.py
@pytest.mark.parametrize('opset', [17, 21])
def test_each_opset(module, opset):
    proto = to_onnx(module, {'image': torch.zeros(1, 3, 31, 47)}, ['large', 'flat'], opset)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [('', opset)]
    assert proto.ir_version == IR[opset] == helper.find_min_ir_version_for(proto.opset_import)
    content = proto.SerializeToString()
    assert b'test_conversion' not in content and b'site-packages' not in content
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    for size in ((31, 47), (40, 22), (7, 9)):
        image = torch.rand(1, 3, *size)
        with torch.no_grad():
            for answer, wanted in zip(session.run(None, {'image': image.numpy()}), module(image)):
                assert answer.shape == wanted.shape and np.abs(answer - wanted.numpy()).max() < 1e-5


def test_the_lowest_ir_version_of_each_opset():
    assert {opset: helper.find_min_ir_version_for([helper.make_opsetid('', opset)]) for opset in OPSETS} == IR


def model(*nodes, opset=18):
    inputs = [helper.make_tensor_value_info(name, 1, None) for name in ('x', 'y')]
    axes = helper.make_tensor('axes', onnx.TensorProto.INT64, [1], [1])
    answers = [helper.make_tensor_value_info('z', 1, None)]
    graph = helper.make_graph(list(nodes), 'graph', inputs, answers, [axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)


@pytest.mark.parametrize(
    'node',
    [
        helper.make_node('ReduceMean', ['x', 'axes'], ['z'], keepdims=0),
        helper.make_node('ReduceMax', ['x'], ['z']),
        helper.make_node('ReduceL2', ['x', 'axes'], ['z'], noop_with_empty_axes=0),
        helper.make_node('Resize', ['x', '', 'y'], ['z'], antialias=0, mode='linear'),
        helper.make_node('Split', ['x'], ['z', 'w'], axis=1, num_outputs=2),
        helper.make_node('ScatterElements', ['x', 'y', 'x'], ['z'], reduction='add'),
        helper.make_node('ReduceSum', ['x', 'axes'], ['z']),
    ],
)
def test_operators_that_17_has_in_another_form(node):
    proto = model(node)
    lower_opset(proto)
    onnx.defs.get_schema(node.op_type, 17, '')
    allowed = set(onnx.defs.get_schema(node.op_type, 17, '').attributes)
    assert {attribute.name for attribute in proto.graph.node[0].attribute} <= allowed
    assert proto.opset_import[0].version == 17
    # axes that became an attribute are no longer a constant that nobody uses
    assert len(proto.graph.initializer) == ('axes' in proto.graph.node[0].input)


@pytest.mark.parametrize(
    'node',
    [
        helper.make_node('ReduceMean', ['x', 'y'], ['z']),
        helper.make_node('ReduceMean', ['x'], ['z'], noop_with_empty_axes=1),
        helper.make_node('Resize', ['x', '', 'y'], ['z'], antialias=1),
        helper.make_node('Resize', ['x', '', 'y'], ['z'], axes=[2, 3]),
        helper.make_node('Pad', ['x', 'y', '', 'axes'], ['z']),
        helper.make_node('ScatterND', ['x', 'y', 'x'], ['z'], reduction='max'),
        helper.make_node('BitwiseAnd', ['x', 'y'], ['z']),
        helper.make_node('Mish', ['x'], ['z']),
    ],
)
def test_operators_that_17_does_not_have(node):
    with pytest.raises(SagaError, match=rf'opset=17: has no {node.op_type} of the kind .*; choose 18 or more$'):
        lower_opset(model(node))


def test_a_part_that_cannot_be_expressed():
    class Asks(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image * (2 if image.max() > 0.5 else 1)

    with pytest.raises(SagaError, match=r'^a part of this model cannot be expressed in ONNX \(.+\)$'):
        to_onnx(Asks(), {'image': torch.zeros(1, 3, 31, 47)}, ['answer'], 20)
