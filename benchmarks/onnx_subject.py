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
        self.net, self.session = net, None

    def __call__(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The maps of an image batch; in PyTorch where it is traced, or computed in float64 to be compared with."""
        if type(image) is not torch.Tensor or image.device.type == 'meta' or image.dtype != torch.float32:
            return type(self.net).forward(self.net, image)
        if self.session is None:
            self.session = open_session(self._export(), 'cpu')
        # the file takes one image at a time
        levels = zip(*(run_session(self.session, {IMAGE: one.numpy()}, 'an image') for one in image.split(1)))
        return tuple(torch.cat([torch.from_numpy(part) for part in level]) for level in levels)

    def _export(self) -> bytes:
        # the copy that is exported runs in PyTorch
        del self.net.forward
        # weights of inference mode cannot be copied
        with torch.inference_mode(False):
            try:
                graph = BackboneGraph(self.net)
            finally:
                self.net.forward = self
            example = {IMAGE: torch.rand(1, 3, *EXAMPLE)}
            return to_onnx(graph, example, graph.outputs(), OPSET).SerializeToString()
