"""Weights that a training starts from."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from saga_mm import create_backbone
from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.checkpoint import load_state
from saga_mm.runs.prepare import check_load_from
from saga_mm.runs.start import start_from


@pytest.fixture
def cfg(tmp_path) -> Config:
    """A classifier with the smallest backbone of which there are published weights."""
    head = dict(type='saga_mm.LinearClsHead', num_classes=3, in_channels=256)
    backbone = dict(type='saga_mm.PVTv2', arch='b0', attention='saga')
    return Config(
        dict(model=dict(type='saga_mm.ImageClassifier', backbone=backbone, head=head), work_dir=str(tmp_path))
    )


def test_weights_of_the_model(cfg, tmp_path, capsys):
    state = build_model(cfg).state_dict()
    torch.save({'state_dict': state}, tmp_path / 'whole.pth')
    start_from(cfg, str(tmp_path / 'whole.pth'), build_model(cfg))
    assert cfg.load_from == str(tmp_path / 'whole.pth') and 'init_cfg' not in cfg.model.backbone
    assert f'{len(state)} weights fit\n' in capsys.readouterr().out


def test_weights_of_the_backbone(cfg, tmp_path, capsys):
    state = build_model(cfg).backbone.state_dict()
    torch.save(state, tmp_path / 'part.pth')
    start_from(cfg, str(tmp_path / 'part.pth'), build_model(cfg))
    assert cfg.get('load_from') is None
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=str(tmp_path / 'part.pth'))
    assert f'for the backbone: {len(state)} weights fit\n' in capsys.readouterr().out


def test_what_does_not_fit_is_said_once(cfg, tmp_path, capsys):
    state = build_model(cfg).state_dict()
    del state['head.fc.weight']
    torch.save(state, tmp_path / 'part.pth')
    start_from(cfg, str(tmp_path / 'part.pth'), build_model(cfg))
    check_load_from(cfg, build_model(cfg))
    said = f'{len(state)} weights fit, 1 missing (head.fc.weight); what is missing starts untrained'
    out = capsys.readouterr().out
    assert said in out and out.count('weights fit') == 1


def test_published_weights_are_converted(cfg, tmp_path, capsys, golden):
    torch.save({'model': golden('pvt_v2_b0').state}, tmp_path / 'b0.pth')
    start_from(cfg, str(tmp_path / 'b0.pth'), build_model(cfg))
    made = Path(cfg.model.backbone.init_cfg.checkpoint)
    assert made == tmp_path / 'pretrained.pth'
    out = capsys.readouterr().out
    assert 'weights of pvt_v2_b0, converted into' in out
    # all that both attentions have was taken over
    own, state = create_backbone('pvt_v2_b0', attention='saga').state_dict(), load_state(made)
    assert set(state) <= set(own) and len(state) > 0.8 * len(own)


def test_weights_of_something_else(cfg, tmp_path):
    torch.save({'a.weight': torch.zeros(3)}, tmp_path / 'other.pth')
    with pytest.raises(SagaError, match=r'other\.pth: is neither of this model nor of a known backbone: '):
        start_from(cfg, str(tmp_path / 'other.pth'), build_model(cfg))
