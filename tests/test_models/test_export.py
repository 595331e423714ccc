"""Exported backbones: a graph of one image is right for images of other sizes."""

import pytest
import torch
from torch.export import Dim

SIZES = [(96, 96), (141, 120), (101, 99), (40, 152), (333, 200)]
NETS = [
    ('PVT', ('saga', 'softmax')),
    ('Swin', ({'type': 'softmax', 'shift': 2},)),
]


@pytest.mark.parametrize(('host', 'attention'), NETS)
def test_takes_images_of_other_sizes(small_backbone, host, attention):
    net = small_backbone(host, attention)
    sides = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(net, (torch.randn(2, 3, 70, 46),), dynamic_shapes=(sides,), strict=False)
        exported = program.module()
        for size in SIZES:
            image = torch.randn(2, 3, *size)
            torch.testing.assert_close(exported(image), net(image), rtol=0, atol=1e-5)
