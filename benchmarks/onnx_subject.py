"""A backbone as an exported file, under ONNX Runtime."""

from __future__ import annotations

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.export.graphs import BackboneGraph
from saga_mm.export.onnx_writer import to_onnx
from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone
from saga_mm.onnx.file import IMAGE
from saga_mm.onnx.session import open_session, run_session

OPSET = 20
# of the image that it is exported with, as ``saga-mm export`` has it
EXAMPLE = (63, 64)


class OnnxBackbone:
    """The forward of a backbone under ONNX Runtime; it is exported when it is first called.

    Args:
        net: The backbone.

    Raises:
        SagaError: It is something else.
    """

    def __init__(self, net: nn.Module) -> None:
        if not isinstance(net, PyramidBackbone):
            raise SagaError(f'@onnxruntime: {type(net).__name__} is no backbone; leave it out')
        self.net, self.graph, self.session = net, BackboneGraph(net), None

    def __call__(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The maps of an image batch; nothing is computed of one on the meta device, which is traced."""
        if image.device.type == 'meta':
            return type(self.net).forward(self.net, image)
        if self.session is None:
            example = {IMAGE: torch.rand(1, image.shape[1], *EXAMPLE)}
            content = to_onnx(self.graph, example, self.graph.outputs(), OPSET).SerializeToString()
            self.session = open_session(content, 'cpu')
        maps = run_session(self.session, {IMAGE: image.numpy()}, 'an image')
        return tuple(map(torch.from_numpy, maps))
