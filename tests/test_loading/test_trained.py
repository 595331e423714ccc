"""A config and a checkpoint as one object."""

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.loading.trained import Trained

CONFIG = """
default_scope = 'saga_mm'
arch = dict(
    embed_dims=(8,), depths=(1,), num_heads=(1,), mlp_ratios=(2,), sr_ratios=(1,))
model = dict(
    type='ImageClassifier',
    backbone=dict(type='PVT', arch=arch, out_indices=(0,), pretrain_img_size=32),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=8),
)
"""


@pytest.fixture
def files(tmp_path):
    """A config, and a checkpoint of its model."""
    (tmp_path / 'small.py').write_text(CONFIG)
    model = build_model(load_config(tmp_path / 'small.py'))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    meta = {'dataset_meta': {'classes': ('a', 'b', 'c')}, 'epoch': 3}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, tmp_path / 'small.pth')
    return tmp_path / 'small.py', tmp_path / 'small.pth', model


def test_the_model_has_its_weights_its_config_and_its_classes(files):
    config, checkpoint, model = files
    trained = Trained.read(config, checkpoint)
    assert trained.meta['epoch'] == 3
    built = trained.build()
    assert all(torch.equal(value, built.state_dict()[name]) for name, value in model.state_dict().items())
    assert built.cfg is trained.cfg and built.dataset_meta == {'classes': ('a', 'b', 'c')}


def test_the_config_may_be_changed_before_the_model_is_built(files):
    config, checkpoint, _ = files
    trained = Trained.read(config, checkpoint, {'model.backbone.drop_path_rate': 0.5})
    trained.cfg.model.head.num_classes = 4
    with pytest.raises(SagaError, match=r'small\.pth.*head\.fc\.(weight|bias)'):
        trained.build()
    trained.cfg.model.head.num_classes = 3
    assert trained.build().backbone.stages[0].blocks[0].drop_path is not None


def test_what_was_read_is_not_read_again(files):
    config, checkpoint, model = files
    trained = Trained.read(config, checkpoint)
    loaded = {'state_dict': {name: 2 * value for name, value in model.state_dict().items()}, 'meta': 'none'}
    again = Trained(trained.cfg, checkpoint, loaded)
    assert dict(again.meta) == {}
    built = again.build()
    assert torch.equal(built.head.fc.weight, 2 * model.head.fc.weight) and built.dataset_meta == {}


def test_files_that_are_none_are_named_before_a_model_is_built(files, tmp_path):
    config, checkpoint, _ = files
    with pytest.raises(SagaError, match=r'none\.py: no such file'):
        Trained.read('none.py', checkpoint)
    (tmp_path / 'text.pth').write_text('no checkpoint')
    with pytest.raises(SagaError, match=r'text\.pth'):
        Trained.read(config, tmp_path / 'text.pth')
