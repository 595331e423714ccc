"""Where a training starts."""

import pytest
from mmengine.config import Config
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.runs.resume import averages_weights, set_start


@pytest.fixture
def cfg(tmp_path) -> Config:
    return Config(dict(work_dir=str(tmp_path), resume=True, custom_hooks=[dict(type='EMAHook')]))


def test_a_folder_without_checkpoints_starts_anew(cfg, capsys):
    assert set_start(cfg, nn.Linear(2, 2), 'auto') is None
    assert cfg.resume is False and 'nothing to resume in' in capsys.readouterr().out


def test_a_folder_that_is_named_must_have_a_checkpoint(cfg, tmp_path):
    with pytest.raises(SagaError, match='has no checkpoint to continue from'):
        set_start(cfg, nn.Linear(2, 2), str(tmp_path))


def test_averages_are_recognised_by_their_hook(cfg):
    assert averages_weights(cfg)
    cfg.custom_hooks = [dict(type='StopHook')]
    assert not averages_weights(cfg) and not averages_weights(Config({}))
