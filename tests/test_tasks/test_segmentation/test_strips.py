import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from saga_mm.errors import SagaError
from saga_mm.rows import MemoryBudget
from saga_mm.tasks.segmentation.strips import segment_strips

CONFIG = 'configs/saga_upernet.py'


@pytest.fixture(scope='module')
def model():
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.arch = dict(
        embed_dims=(8, 16, 24, 32),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 2),
        mlp_ratios=(4, 2, 2, 2),
        sr_ratios=(8, 4, 2, 1),
    )
    cfg.neck = None
    cfg.decode_head.update(in_channels=[8, 16, 24, 32], channels=32)
    with DefaultScope.overwrite_default_scope('mmseg'):
        built = MODELS.build(cfg).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def picture(height=75, width=118):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_labels_are_those_of_the_model_itself(model):
    image = picture()
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
    whole = model.test_step({'inputs': [bgr], 'data_samples': None})[0].pred_sem_seg.data[0].numpy()
    found = np.concatenate(list(segment_strips(model, image)))
    assert found.dtype == np.uint8 and found.shape == whole.shape and len(np.unique(whole)) > 2
    assert (found == whole).mean() > 0.9999


def test_too_little_memory_says_how_much_is_not(model):
    with pytest.raises(SagaError, match=r'max_memory=10MB: too little for 118 x 75 pixels; .* works is \d+MB'):
        next(segment_strips(model, picture(), max_memory=10 * 2**20))


def test_what_pads_is_refused(model):
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    try:
        with pytest.raises(SagaError, match=r'data_preprocessor\.test_cfg pads'):
            next(segment_strips(model, picture()))
    finally:
        model.data_preprocessor.test_cfg = None


class Counting(MemoryBudget):
    """Counts how often it is asked to trim."""

    trims = 0

    def trim(self):
        self.trims += 1


def test_a_budget_is_asked_to_trim_after_strips_and_tells_how_it_was(model):
    budget = Counting.of(model)
    list(segment_strips(model, picture(), budget))
    assert budget.trims > 10
    assert budget.explain().endswith('for strips: one strip, maps in memory')
