"""The names for use from Python, and what importing them needs."""

import pytest

from saga_mm import apis

LIGHT = """
import sys
import torch

# as on a machine with a GPU, where nothing waits for Triton before a tensor is there
torch.cuda.is_available = lambda: True
import saga_mm.models, saga_mm.ops.fused_operators
print(sorted({'triton', 'torch.utils.flop_counter'} & set(sys.modules)))
before = set(sys.modules)
import saga_mm.tasks
new = {name.split('.')[0] for name in set(sys.modules) - before}
print(sorted(new & {'mmcv', 'mmdet', 'mmseg', 'cv2', 'matplotlib', 'onnx'}))
import saga_mm.apis
heavy = ('mmcv', 'mmdet', 'mmseg', 'cv2', 'matplotlib.pyplot', 'openvino', 'triton')
print([name for name in heavy if name in sys.modules])
torch.cuda.is_available = lambda: False
saga_mm.create_backbone('saga_pvt_v2_b0').eval()(torch.rand(1, 3, 32, 32))
print(sorted({'triton', 'torch.utils.flop_counter'} & set(sys.modules)))
"""


@pytest.mark.parametrize('name', apis.__all__)
def test_every_name_is_there(name):
    assert callable(getattr(apis, name))


def test_what_is_not():
    with pytest.raises(AttributeError, match="has no attribute 'Absent'"):
        apis.Absent  # noqa: B018


def test_importing_is_light(bare_forker):
    assert bare_forker.run_code(LIGHT).written('out') == 4 * '[]\n'
