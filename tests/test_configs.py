"""Every shipped config: it reads, it builds, it trains, and it is what its name says."""

import re
import sys
from copy import deepcopy
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.datasets.demo.outlines import DEMO_CLASSES, DEMO_PALETTE
from saga_mm.loading.build import build_model, swallowed_options
from saga_mm.loading.config import load_config
from saga_mm.registry import MODELS

CONFIGS = Path(__file__).parent.parent / 'configs'
# imagenet is in test_imagenet_configs.py
FILES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob('*.py')
    if not {'_base_', 'imagenet'} & set(path.relative_to(CONFIGS).parts)
)
COCO = [file for file in FILES if file.startswith('coco/')]
LOW_LIGHT = [file for file in FILES if file.startswith('lol/saga-unet_150k')]
# at the size and the schedule of a public recipe
SEGMENTATION = [
    file for file in FILES if file.startswith(('ade20k/', 'cityscapes/', 'camvid/')) and '144x192' not in file
]
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
# of a segmentation schedule: iterations, images a step, learning rate, weight decay, warm-up, power of the decay
SCHEDULES = {
    ('upernet', '160k'): (160000, 16, 6e-5, 0.01, 1500, 1.0),
    ('upernet', '80k'): (80000, 16, 6e-5, 0.01, 1500, 1.0),
    ('upernet', '4k'): (4000, 2, 5e-4, 0.05, 200, 0.9),
    ('semantic-fpn', '80k'): (80000, 16, 1e-4, 1e-4, 0, 0.9),
    ('semantic-fpn', '40k'): (40000, 32, 2e-4, 1e-4, 0, 0.9),
}
DROP_PATHS = {
    ('upernet', 'pvt'): 0.1,
    ('upernet', 'swin'): 0.3,
    ('upernet', 'ravlt'): 0.15,
    ('semantic-fpn', 'pvt'): 0.1,
    ('semantic-fpn', 'swin'): 0.2,
    ('semantic-fpn', 'ravlt'): 0.15,
}


def find_distribution(name):
    return next(iter(Distribution.discover(name=name)), None)


@pytest.fixture(scope='module')
def stack():
    from saga_mm.loading.stack import require_stack

    require_stack('mmdet', 'mmseg')


@cache
def read(file):
    return load_config(CONFIGS / file)


def family(file):
    """What files share that differ only in a backbone's size, the length of the training or the data."""
    name = re.sub(r'(_flatten-|_saga-|_)?(pvt|swin|ravlt)-[tsmlb]_', r'\1\2_', Path(file).stem)
    return re.sub(r'_\d+k?x?_(coco|ade20k|camvid|cityscapes).*', '', name)


def cover(files):
    """Files in whose families each method, backbone and neck is at least once: how they fit is checked of all files."""
    seen = set()
    for file in files:
        parts = set(family(file).split('_'))
        if parts - seen:
            yield file
        seen |= parts


TRAINED = set(cover(FILES))


def make_shallow(backbone):
    """The same backbone with one block a stage: all widths are as published."""
    archs = getattr(sys.modules[MODELS.get(backbone.type).__module__], 'ARCHS', {})
    arch = backbone.get('arch')
    if isinstance(arch, str) and arch in archs:
        backbone.arch = {**archs[arch], 'depths': (1,) * len(archs[arch]['depths'])}


def with_few_regions(model):
    """The same detector with fewer sampled regions: their number is what a tiny step would spend its time on."""
    train = model.get('train_cfg') or {}
    if 'rpn_proposal' in train:
        train.rpn_proposal.update(nms_pre=20, max_per_img=10)
        for stage in train.rcnn if isinstance(train.rcnn, list) else [train.rcnn]:
            stage.sampler.num = 8


def detection_batch(model):
    from mmdet.testing import demo_mm_inputs

    with_mask = hasattr(model, 'roi_head')
    head = model.roi_head.bbox_head if with_mask else model.bbox_head
    classes = (head[0] if hasattr(head, '__len__') else head).num_classes
    return demo_mm_inputs(2, [(3, 64, 64), (3, 64, 50)], num_classes=classes, with_mask=with_mask)


def segmentation_batch(model):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    model.data_preprocessor.size = (64, 64)
    sizes, classes = ((64, 64), (64, 50)), model.decode_head.num_classes
    maps = [PixelData(data=torch.randint(classes, (1, *size))) for size in sizes]
    return {
        'inputs': [torch.randint(256, (3, *size), dtype=torch.uint8) for size in sizes],
        'data_samples': [SegDataSample(gt_sem_seg=each, metainfo={'img_shape': each.shape}) for each in maps],
    }


def low_light_batch(model):
    from saga_mm.datasets.low_light.sample import LowLightSample

    samples = [LowLightSample() for _ in range(2)]
    for sample in samples:
        sample.gt_img = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    return {'inputs': [sample.gt_img // 4 for sample in samples], 'data_samples': samples}


def classification_batch(model):
    from saga_mm.datasets.classification.sample import ClassSample

    samples = [ClassSample(gt_label=torch.tensor(label)) for label in (1, 4)]
    images = [torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    return {'inputs': images, 'data_samples': samples}


def batch_of(cfg, model):
    if cfg.model.type == 'saga_mm.ImageClassifier':
        return classification_batch(model)
    return {'mmdet': detection_batch, 'mmseg': segmentation_batch, 'saga_mm': low_light_batch}[cfg.default_scope](model)


@pytest.mark.usefixtures('stack')
@pytest.mark.parametrize('file', FILES)
def test_builds_and_takes_a_training_step(file):
    cfg = deepcopy(read(file))
    weighed = cfg.default_scope == 'mmseg' and 'class_weight' in cfg.model.decode_head.loss_decode
    if weighed and find_distribution('mmsegmentation'):
        pytest.skip('mmseg 1.2.2 takes the label of ignored pixels as an index into the weights of the classes')
    make_shallow(cfg.model.backbone)
    with_few_regions(cfg.model)
    # those that take no step need no numbers
    with torch.device('cpu' if file in TRAINED else 'meta'):
        model = build_model(cfg).train()
        assert list(swallowed_options(cfg)) == []
    # what comes next expects what the backbone gives
    laterals = getattr(getattr(model, 'neck', None), 'lateral_convs', None)
    if cfg.default_scope != 'saga_mm':
        widths = [conv.conv.in_channels for conv in laterals] if laterals else model.decode_head.in_channels
        assert tuple(widths) == model.backbone.embed_dims[-len(widths) :]
    if file not in TRAINED:
        return
    batch = batch_of(cfg, model)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    learning = [p for p in model.backbone.parameters() if p.requires_grad]
    # stochastic depth may leave out a block
    assert sum(p.grad is not None and bool(p.grad.isfinite().all()) for p in learning) > 0.3 * len(learning)


def check_backbone(cfg, name):
    """Host, size and mixers are those that a backbone's name promises; gives the host's name."""
    name, arch = name.rsplit('-', 1)
    assert cfg.arch == ARCHS[arch]
    mixer, host = name.rsplit('-', 1) if '-' in name else ('', name)
    assert cfg.type == f'saga_mm.{ {"pvt": "PVT", "swin": "Swin", "ravlt": "RAVLT"}[host] }'
    linear = {'saga': 'saga', 'flatten': 'focused'}.get(mixer)
    attention = cfg.get('attention')
    if host == 'swin' and linear:
        assert attention == [linear, linear, 'softmax', 'softmax']
    elif host == 'pvt':
        assert attention == (linear or 'softmax')
    return host


@pytest.mark.parametrize('file', COCO)
def test_is_what_its_name_says(file):
    cfg = read(file)
    detector, backbone, _, schedule, _ = Path(file).stem.split('_')
    assert cfg.model.type == DETECTORS[detector]
    host = check_backbone(cfg.model.backbone, backbone)
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


@pytest.mark.usefixtures('stack')
@pytest.mark.parametrize('file', ['saga_maskrcnn_320.py', 'saga_rtmdet.py'])
def test_recipe_for_own_photographs_needs_no_weights(file):
    from mmcv.cnn import ConvModule

    cfg = load_config(CONFIGS / file)
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end + cosine.T_max == cosine.end == cfg.train_cfg.max_iters
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert (cfg.default_hooks.checkpoint.by_epoch, cfg.log_processor.by_epoch) == (False, False)
    assert not cfg.get('needs_pretrained') and cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size
    model = build_model(cfg)
    assert model.with_mask == (file == 'saga_maskrcnn_320.py')
    head = getattr(model, 'roi_head', None) or model.bbox_head
    parts = [part for part in (*model.neck.modules(), *head.modules()) if isinstance(part, ConvModule)]
    assert len(parts) >= 10 and all(part.with_norm for part in parts)
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    load = cfg.train_dataloader.dataset.pipeline[1]
    assert load.get('with_mask', False) == model.with_mask and steps[-1] == 'PackDetInputs'
    assert cfg.test_evaluator.metric == (['bbox', 'segm'] if model.with_mask else 'bbox')


@pytest.mark.usefixtures('stack')
def test_recipe_for_own_photographs_takes_the_backbone_of_published_weights():
    cfg = load_config(CONFIGS / 'saga_rtmdet.py')
    # as docs/own_data.md names them
    cfg.merge_from_dict(
        {
            'model.backbone.arch': 'b0',
            'model.backbone.attention': 'softmax',
            'model.neck.in_channels': [32, 64, 160, 256],
        }
    )
    model = build_model(cfg)
    plain = create_backbone('pvt_v2_b0')
    assert set(model.backbone.state_dict()) == set(plain.state_dict())
    maps = model.extract_feat(torch.rand(1, 3, 70, 96))
    assert [tuple(each.shape) for each in maps] == [(1, 48, 9, 12), (1, 48, 5, 6), (1, 48, 3, 3)]


def test_demo_config_agrees_with_the_demo_data():
    cfg = load_config(CONFIGS / 'saga_maskrcnn.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == DEMO_CLASSES
        assert [tuple(colour) for colour in loader.dataset.metainfo.palette] == list(DEMO_PALETTE)
        assert Path(loader.dataset.data_root) == Path(cfg.demo_data.root)


@pytest.mark.parametrize('file', ['saga_upernet.py', 'saga_semantic_fpn.py', 'saga_upernet_large.py'])
def test_demo_segmentation_agrees_with_the_demo_data(file):
    cfg = read(file)
    loaders = [cfg[f'{part}_dataloader'] for part in ('train', 'val', 'test') if cfg[f'{part}_dataloader']]
    assert len(loaders) == (1 if file == 'saga_upernet_large.py' else 3)
    for loader in loaders:
        assert tuple(loader.dataset.metainfo.classes) == ('background', *DEMO_CLASSES)
        assert [tuple(colour) for colour in loader.dataset.metainfo.palette[1:]] == list(DEMO_PALETTE)
        assert Path(loader.dataset.data_root) == Path(cfg.demo_data.root)
    assert cfg.model.decode_head.num_classes == 1 + len(DEMO_CLASSES)
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    crops = [step.crop_size for step in cfg.train_pipeline if step.type == 'RandomCrop']
    assert crops == [cfg.model.data_preprocessor.size]


@pytest.mark.parametrize('file', SEGMENTATION)
def test_segmentation_recipe_is_what_its_name_says(file):
    cfg = read(file)
    method, backbone, *neck, schedule, data = Path(file).stem.split('_')
    data, crop = data.split('-')
    assert data == Path(file).parent.name
    assert cfg.model.decode_head.type == {'upernet': 'UPerHead', 'semantic-fpn': 'FPNHead'}[method]
    host = check_backbone(cfg.model.backbone, backbone)
    drop_path = 0.1 if data == 'camvid' else DROP_PATHS[method, host]
    assert cfg.model.backbone.get('drop_path_rate', 0.1) == drop_path
    type_of_neck = cfg.model.neck.type if 'neck' in cfg.model else None
    assert type_of_neck == ('saga_mm.SAGAPyramid' if neck == ['sagapyramid'] else {'semantic-fpn': 'FPN'}.get(method))

    iterations, images, lr, weight_decay, warm_up, power = SCHEDULES[method, schedule]
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == iterations
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', lr, weight_decay)
    decay = cfg.param_scheduler[-1]
    assert (decay.type, decay.power, decay.begin) == ('PolyLR', power, warm_up)
    assert [step.end for step in cfg.param_scheduler[:-1]] == ([warm_up] if warm_up else [])
    if data == 'camvid':
        assert cfg.train_dataloader.batch_size == images
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            assert len(loader.dataset.metainfo.classes) == len(loader.dataset.metainfo.palette) == 11
    else:
        assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == images

    size = tuple(int(side) for side in crop.split('x'))
    (random_crop,) = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'RandomCrop']
    assert random_crop.crop_size == size == cfg.model.data_preprocessor.size
    classes = {'ade20k': 150, 'cityscapes': 19, 'camvid': 11}[data]
    heads = [cfg.model.decode_head, cfg.model.get('auxiliary_head') or cfg.model.decode_head]
    assert [head.num_classes for head in heads] == [classes, classes]
    assert cfg.model.test_cfg == dict(mode='whole')


@pytest.mark.parametrize('file', FILES)
def test_ground_truth_of_tests_keeps_the_size_of_its_file(file):
    """Predictions come in it, and are drawn beside the ground truth."""
    cfg = read(file)
    for loader in (cfg.get('val_dataloader'), cfg.get('test_dataloader')):
        steps = [str(step['type']) for step in loader.dataset.pipeline] if loader else []
        if 'LoadAnnotations' in steps and 'Resize' in steps:
            assert steps.index('Resize') < steps.index('LoadAnnotations')


def test_demo_photographs_agree_with_the_demo_data():
    cfg = load_config(CONFIGS / 'saga_lowlight.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert Path(loader.dataset.data_root) == Path(cfg.demo_data.root)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.save_best, checkpoint.rule, checkpoint.by_epoch) == ('PSNR', 'greater', False)
    assert cfg.train_cfg.max_iters % checkpoint.interval == cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


@pytest.mark.parametrize('file', LOW_LIGHT)
def test_low_light_recipe_is_what_its_name_says(file):
    cfg = read(file)
    model, schedule, data = Path(file).stem.split('_')
    assert model == 'saga-unet' and cfg.model.backbone.type == 'saga_mm.SAGAUNet'
    iterations = cfg.train_cfg.max_iters
    assert schedule == f'{iterations // 1000}k' and cfg.param_scheduler[-1].end == iterations
    assert sum(step.get('T_max', step.end) for step in cfg.param_scheduler) == iterations
    loaders = [cfg[f'{part}_dataloader'].dataset for part in ('train', 'val', 'test')]
    assert {loader.layout.replace('_', '-') for loader in loaders} == {data}
    assert [loader.split for loader in loaders] == ['train', 'val', 'test']
    # what selects a checkpoint is neither trained on nor tested on
    assert loaders[0].hold_out == loaders[1].hold_out and 'hold_out' not in loaders[2]
    average, crops = cfg.custom_hooks
    assert average.type == 'EMAHook' and cfg.optim_wrapper.clip_grad.max_norm > 0
    (crop,) = [step.crop_size for step in loaders[0].pipeline if step['type'] == 'saga_mm.PairRandomCrop']
    assert crops.type == 'saga_mm.ProgressiveCropHook' and crop == max(crops.sizes) == crops.sizes[-1]
    assert all(size % cfg.model.get('pad_divisor', 8) == 0 for size in crops.sizes)
