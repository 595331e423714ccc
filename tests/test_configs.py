"""Every shipped config: it reads, it builds, it trains, and it is what its name says."""

from pathlib import Path

import pytest
import torch

from saga_mm.datasets.demo_draw import DEMO_CLASSES, DEMO_PALETTE
from saga_mm.engine.cli import load_config

CONFIGS = Path(__file__).parent.parent / 'configs'
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
COCO = [file for file in FILES if file.startswith('coco/')]
ARCHS = {'t': 'tiny', 's': 'small', 'm': 'medium', 'l': 'large', 'b': 'base'}
DETECTORS = {'mask-rcnn': 'MaskRCNN', 'retinanet': 'RetinaNet', 'cascade-mask-rcnn': 'CascadeRCNN'}
# learning rate and weight decay as published for the family
OPTIMIZERS = {
    ('mask-rcnn', 'pvt'): (2e-4, 1e-4),
    ('retinanet', 'pvt'): (1e-4, 1e-4),
    ('mask-rcnn', 'swin'): (1e-4, 0.05),
    ('cascade-mask-rcnn', 'swin'): (1e-4, 0.05),
    ('mask-rcnn', 'ravlt'): (1e-4, 0.05),
    ('cascade-mask-rcnn', 'ravlt'): (1e-4, 0.05),
    ('retinanet', 'ravlt'): (1e-4, 1e-4),
}


@pytest.fixture(scope='module')
def registry():
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    return MODELS


def with_few_regions(model):
    """The same model with fewer sampled regions: their number is what a tiny step would spend its time on."""
    train = model.train_cfg
    if 'rpn_proposal' in train:
        train.rpn_proposal.update(nms_pre=20, max_per_img=10)
        for stage in train.rcnn if isinstance(train.rcnn, list) else [train.rcnn]:
            stage.sampler.num = 8
    return model


@pytest.mark.parametrize('file', FILES)
def test_builds_and_takes_a_training_step(registry, file):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    model = registry.build(with_few_regions(load_config(CONFIGS / file).model)).train()
    # what the neck expects is what the backbone gives
    widths = [conv.conv.in_channels for conv in model.neck.lateral_convs]
    assert tuple(widths) == model.backbone.embed_dims[-len(widths) :]
    with_mask = hasattr(model, 'roi_head')
    classes = model.roi_head.bbox_head.num_classes if file == 'saga_maskrcnn.py' else 80
    batch = demo_mm_inputs(2, [(3, 64, 64), (3, 64, 50)], num_classes=classes, with_mask=with_mask)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    learning = [p for p in model.backbone.parameters() if p.requires_grad]
    # stochastic depth may leave out a block
    assert sum(p.grad is not None and bool(p.grad.isfinite().all()) for p in learning) > 0.3 * len(learning)


@pytest.mark.parametrize('file', COCO)
def test_is_what_its_name_says(file):
    cfg = load_config(CONFIGS / file)
    detector, backbone, _, schedule, _ = Path(file).stem.split('_')
    assert cfg.model.type == DETECTORS[detector]
    name, arch = backbone.rsplit('-', 1)
    assert cfg.model.backbone.arch == ARCHS[arch]
    mixer, host = name.rsplit('-', 1) if '-' in name else ('', name)
    assert cfg.model.backbone.type == f'saga_mm.{ {"pvt": "PVT", "swin": "Swin", "ravlt": "RAVLT"}[host] }'
    linear = {'saga': 'saga', 'flatten': 'focused'}.get(mixer)
    attention = cfg.model.backbone.get('attention')
    if host == 'swin' and linear:
        assert attention == [linear, linear, 'softmax', 'softmax']
    elif host == 'pvt':
        assert attention == (linear or 'softmax')
    epochs, milestones = {'1x': (12, [8, 11]), '3x': (36, [27, 33])}[schedule]
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == epochs
    assert cfg.param_scheduler[1].milestones == milestones
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'AdamW'
    assert (optimizer.lr, optimizer.weight_decay) == OPTIMIZERS[detector, host]
    with_mask = detector != 'retinanet'
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
