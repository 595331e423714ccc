"""What a process of several holds of an image, by counting: nothing is computed."""

import torch

from benchmarks.bands import Inference
from saga_mm.analysis import measure_cost
from saga_mm.models.backbones import create_backbone


def test_four_bands_take_less_than_a_third_of_the_activations():
    net, seed, side = create_backbone('saga_pvt_tiny'), torch.empty(1, device='meta'), 1024
    one, band = (measure_cost(Inference(net, side, index, bands), seed).peak_bytes for index, bands in ((0, 1), (1, 4)))
    maps = sum(4 * channels * (side // stride) ** 2 for channels, stride in zip(net.embed_dims, (4, 8, 16, 32)))
    assert maps < one < 2 * maps
    assert maps / 4 < band < 0.3 * one
