"""Every shipped config: it reads, it builds, and it says what its name says."""

from pathlib import Path

import pytest
import torch

from saga_mm.datasets.demo_draw import DEMO_CLASSES, DEMO_PALETTE
from saga_mm.engine.cli import load_config

CONFIGS = Path(__file__).parent.parent / 'configs'
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
ARCHS = {'t': 'tiny', 's': 'small', 'm': 'medium', 'l': 'large'}


@pytest.fixture(scope='module')
def registry():
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    return MODELS


@pytest.mark.parametrize('file', FILES)
def test_builds_its_model(registry, file):
    with torch.device('meta'):
        model = registry.build(load_config(CONFIGS / file).model)
    # what the neck expects is what the backbone gives
    widths = [conv.conv.in_channels for conv in model.neck.lateral_convs]
    assert tuple(widths) == model.backbone.embed_dims[-len(widths) :]


@pytest.mark.parametrize('file', [file for file in FILES if file.startswith('coco/')])
def test_is_what_its_name_says(file):
    cfg = load_config(CONFIGS / file)
    detector, backbone, _, schedule, _ = Path(file).stem.split('_')
    attention, arch = backbone.rsplit('-', 1)
    assert cfg.model.type == {'mask-rcnn': 'MaskRCNN', 'retinanet': 'RetinaNet'}[detector]
    assert cfg.model.backbone.arch == ARCHS[arch]
    assert cfg.model.backbone.attention == {'saga-pvt': 'saga', 'pvt': 'softmax'}[attention]
    epochs, milestones = {'1x': (12, [8, 11]), '3x': (36, [27, 33])}[schedule]
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == epochs
    assert cfg.param_scheduler[1].milestones == milestones
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 1e-4)
    assert optimizer.lr == {'mask-rcnn': 2e-4, 'retinanet': 1e-4}[detector]
    with_mask = detector == 'mask-rcnn'
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        (load,) = [step for step in pipeline if step.type == 'LoadAnnotations']
        assert load.get('with_mask', False) == with_mask
    assert cfg.test_evaluator.metric == (['bbox', 'segm'] if with_mask else 'bbox')


def test_demo_config_agrees_with_the_demo_data():
    cfg = load_config(CONFIGS / 'saga_maskrcnn.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == DEMO_CLASSES
        assert [tuple(colour) for colour in loader.dataset.metainfo.palette] == list(DEMO_PALETTE)
        assert Path(loader.dataset.data_root) == Path(cfg.demo_data.root)
