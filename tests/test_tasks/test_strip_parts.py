"""Parts of a model that runs in strips, and one that does not."""

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.enhancer_rows import enhancer_parts
from saga_mm.tasks.strip_parts import parts_in_strips

ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 1}
TRUNK = {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}


def test_parts_are_those_of_one_image_of_that_size():
    parts = parts_in_strips(enhancer_parts, LowLightEnhancer(TRUNK).eval(), 61, 43)
    assert all(part.steps for part in parts)
    # padded to what the model needs
    assert {(part.height, part.width) for part in parts} >= {(64, 48)}


def test_a_model_that_does_not_run_so_is_refused_in_one_line():
    model = LowLightEnhancer(TRUNK)
    with pytest.raises(SagaError, match=r'model does not run in strips: .* call eval\(\) first'):
        parts_in_strips(enhancer_parts, model.train(), 32, 32)
    model.backbone = torch.nn.Conv2d(3, 8, 3, padding=1)
    with pytest.raises(SagaError, match='model does not run in strips: the backbone Conv2d does not run in strips'):
        parts_in_strips(enhancer_parts, model.eval(), 32, 32)
