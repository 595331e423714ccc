"""What an exported file says of the resizing that a config does."""

from collections.abc import Callable

import pytest
from mmengine.config import Config

from saga_mm.errors import SagaError
from saga_mm.export.resizing import resize_rule

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackSegInputs')


@pytest.fixture
def config(tmp_path) -> Callable[..., Config]:
    """Read a config whose test pipeline has these steps between loading and packing."""

    def read(*steps: dict, name: str = 'test_dataloader') -> Config:
        loader = dict(dataset=dict(type='X', pipeline=[LOAD, *steps, PACK]))
        (tmp_path / 'a.py').write_text(f'{name} = {loader}')
        return Config.fromfile(tmp_path / 'a.py')

    return read


@pytest.mark.parametrize(
    ('step', 'rule'),
    [
        (dict(scale=(96, 48), keep_ratio=True), {'scale': [96, 48], 'keep_ratio': True}),
        (dict(scale=64), {'scale': [64, 64]}),
        (dict(scale_factor=0.5, interpolation='area'), {'scale_factor': [0.5, 0.5], 'interpolation': 'area'}),
        (dict(scale_factor=(0.5, 2.0), scale=None), {'scale_factor': [0.5, 2.0]}),
    ],
    ids=str,
)
def test_one_resize_is_written_down(step, rule, config):
    assert resize_rule(config(dict(type='mmseg.Resize', **step))) == rule
    assert resize_rule(config(dict(type='Resize', **step), name='val_dataloader')) == rule


def test_a_classifier_crops_at_last(config):
    edge, crop = dict(type='saga_mm.ResizeEdge', scale=256), dict(type='CenterCrop', crop_size=224)
    bicubic = {'interpolation': 'bicubic', 'backend': 'pillow'}
    assert resize_rule(config(edge, crop), True) == {**bicubic, 'short_side': 256, 'center_crop': [224, 224]}
    assert resize_rule(config(dict(crop, crop_size=(40, 30))), True) == {'center_crop': [40, 30]}
    for steps in ((edge, crop), (crop, edge), (edge, dict(crop, auto_pad=True))):
        with pytest.raises(SagaError, match=r'step (CenterCrop|ResizeEdge) of the test pipeline is not exported'):
            resize_rule(config(*steps), steps[0] is not edge or 'auto_pad' in steps[1])


def test_no_resize_is_none(config):
    assert resize_rule(config()) is None


@pytest.mark.parametrize('steps', [[dict(type='Pad', size_divisor=32)], [dict(type='Resize', scale=9)] * 2], ids=str)
def test_what_cannot_be_followed_is_refused(steps, config):
    with pytest.raises(SagaError, match=r'^config .*a\.py: step (Pad|Resize) of the test pipeline is not exported'):
        resize_rule(config(*steps))
