"""Compiled backbones and necks: one graph without breaks for images of any size, and the same numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.necks import SAGAPyramid

# PyTorch itself makes graphs of their own for maps of one row or column, or of few pixels
SIZES = [(141, 120), (96, 96), (101, 99), (90, 150), (128, 97), (200, 133)]
NETS = [
    ('PVT', 'saga'),
    ('PVT', 'softmax'),
    ('PVTv2', 'focused'),
    ('PVTv2', 'mala'),
    ('Swin', {'type': 'softmax', 'shift': 2}),
    ('CSwin', 'softmax'),
    ('RAVLT', 'rala'),
    ('RAVLT', 'softmax'),
]


class Levels(nn.Module):
    """Maps of an image at strides 4 and 8, and a neck."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck = neck

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.neck([F.avg_pool2d(image, 4), F.avg_pool2d(image, 8)])


def count_graphs(net: nn.Module) -> int:
    """How many graphs are made of a net for images of all sizes; their answers must be those of the net."""
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    for size in SIZES:
        image = torch.randn(2, 3, *size)
        for side in (2, 3):
            torch._dynamo.mark_dynamic(image, side)
        with torch.no_grad():
            torch.testing.assert_close(compiled(image), net(image), rtol=0, atol=1e-5)
    return len(graphs)


@pytest.mark.parametrize(('host', 'attention'), NETS)
def test_one_graph_of_a_backbone_for_all_sizes(small_backbone, host, attention):
    assert count_graphs(small_backbone(host, [attention])) == 1


def test_one_graph_of_a_neck_for_all_sizes():
    torch.manual_seed(0)
    neck = SAGAPyramid([3, 3], embed_dims=16, num_heads=2, attention={'type': 'saga', 'gate_rank': 2})
    for layer in neck.leave:
        nn.init.normal_(layer.weight)
    assert count_graphs(Levels(neck).eval()) == 1
