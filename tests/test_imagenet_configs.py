"""The configs of ImageNet: what their names say, published schedules, one training step at a small size."""

import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch

from saga_mm.datasets.classification.sample import ClassSample
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.registry import MODELS

CONFIGS = Path(__file__).parent.parent / 'configs' / 'imagenet'
FILES = sorted(path.name for path in CONFIGS.glob('*.py'))
HOSTS = {'pvt': 'PVT', 'pvt-v2': 'PVTv2', 'swin': 'Swin', 'cswin': 'CSwin', 'ravlt': 'RAVLT', 'vit': 'ViT'}
MIXERS = {'flatten': 'focused', 'saga': 'saga', 'mala': 'mala'}
SMALL = {
    'embed_dims': (8, 16, 24, 32),
    'depths': (1, 1, 1, 1),
    'num_heads': (2, 2, 2, 2),
    'mlp_ratios': (2, 2, 2, 2),
    'sr_ratios': (8, 4, 2, 1),
    'layer_scales': (1.0, 1.0, 1.0, 1.0),
}
# warm-up, epochs, share of the rate at the end
SCHEDULES = {'pvt': (5, 300, 0.01), 'swin': (20, 300, 0.01), 'ravlt': (5, 300, 0.01), 'vit': (5, 300, 0.01)}
FLATTEN = {'pvt': (5, 310, 0.02), 'pvt-v2': (5, 310, 0.02), 'cswin': (20, 310, 0.02), 'swin': (20, 300, 0.01)}


@cache
def read(file):
    return load_config(CONFIGS / file)


def parts(file):
    """Mixer, host and size of a config's name."""
    name = file.split('_')[0]
    mixer, _, rest = name.partition('-')
    if mixer not in MIXERS:
        mixer, rest = '', name
    host, _, size = rest.rpartition('-')
    return mixer, host, size


# one size of each mixer and host
TRAINED = set({parts(file)[:2]: file for file in FILES}.values())


def shrink(cfg):
    """The config's model with the smallest backbone of its kind, for images of 64 pixels."""
    backbone, head = cfg.model.backbone, cfg.model.head
    module = sys.modules[MODELS.get(backbone.type).__module__]
    arch = module.ARCHS[backbone.arch]
    assert head.in_channels == arch['embed_dims'][-1]
    stages = len(arch['embed_dims'])
    backbone.arch = {key: SMALL[key][-stages:] for key in arch}
    head.update(in_channels=SMALL['embed_dims'][-1], num_classes=5)
    if 'hidden_channels' not in head and head.type == 'saga_mm.ConvClsHead':
        head.hidden_channels = 16
    if backbone.type != 'saga_mm.RAVLT':
        backbone.pretrain_img_size = 64
    return build_model(cfg)


@pytest.mark.parametrize('file', FILES)
def test_builds_and_takes_a_training_step(file):
    model = shrink(deepcopy(read(file))).train()
    if file not in TRAINED:
        return
    samples = [ClassSample(gt_label=torch.tensor(label)) for label in (1, 4)]
    images = [torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    data = model.data_preprocessor({'inputs': images, 'data_samples': samples}, training=True)
    loss = model(**data, mode='loss')['loss']
    loss.backward()
    assert loss.isfinite()
    # the map is not what a class token is read from
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert not {name for name in unused if not name.startswith('backbone.out_norms')}


@pytest.mark.parametrize('file', FILES)
def test_is_what_its_name_says(file):
    cfg = read(file)
    mixer, host, size = parts(file)
    backbone = cfg.model.backbone
    assert backbone.type == f'saga_mm.{HOSTS[host]}' and backbone.arch in (size, f'flatten_{size}')
    used = backbone.attention if isinstance(backbone.attention, list) else [backbone.attention]
    first = used[0] if isinstance(used[0], str) else used[0]['type']
    assert first == MIXERS.get(mixer, 'rala' if host == 'ravlt' else 'softmax')
    if host in ('swin', 'cswin', 'ravlt') and len(used) > 1:
        assert used[2:] == ['softmax', 'softmax']
    module = sys.modules[MODELS.get(backbone.type).__module__]
    prefix = {'flatten': 'flatten_', 'saga': 'saga_'}.get(mixer, '')
    variant = module.VARIANTS.get(f'{prefix}{host.replace("-", "_")}_{size}', {})
    assert backbone.drop_path_rate == variant.get('drop_path_rate', 0.1)


@pytest.mark.parametrize('file', FILES)
def test_follows_the_published_schedule(file):
    cfg = read(file)
    mixer, host, size = parts(file)
    images = 8 * cfg.train_dataloader.batch_size
    assert f'_8xb{cfg.train_dataloader.batch_size}_' in file and cfg.auto_scale_lr.base_batch_size == images
    optimizer = cfg.optim_wrapper.optimizer
    # 5e-4 for 512 images
    assert optimizer.type == 'AdamW' and optimizer.lr == pytest.approx(5e-4 * images / 512)
    assert optimizer.weight_decay == (0.1 if (host, size) == ('cswin', 'base') else 0.05)
    published = FLATTEN if mixer in ('flatten', 'saga') or host == 'cswin' else SCHEDULES
    warm_up, epochs, share = {**SCHEDULES, **published}.get(host, SCHEDULES['pvt'])
    first, second = cfg.param_scheduler
    assert (first.end, second.begin, second.end, second.T_max) == (warm_up, warm_up, 300, 300 - warm_up)
    assert cfg.train_cfg.max_epochs == epochs and second.eta_min_ratio == share
    clipped = {'swin': 5.0}.get(host, 1.0 if size in ('medium', 'large', 'b3', 'b4', 'b5') and host[:3] == 'pvt' else 0)
    if host == 'pvt' and not mixer:
        clipped = 0
    assert (cfg.optim_wrapper.get('clip_grad') or {}).get('max_norm', 0) == clipped
    assert ('EMAHook' in str(cfg.get('custom_hooks'))) == (host in ('cswin', 'ravlt') or (host == 'vit' and not mixer))
    repeated = cfg.train_dataloader.sampler.type == 'saga_mm.RepeatedSampler'
    assert repeated == (host in ('ravlt', 'vit'))
    steps = {step['type'].rpartition('.')[2]: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandAugment']['magnitude_level'] == 9 and steps['RandomErasing']['erase_prob'] == 0.25
    augments = {each['type']: each['alpha'] for each in cfg.model.train_cfg.augments}
    assert augments == {'saga_mm.Mixup': 0.8, 'saga_mm.CutMix': 1.0} and cfg.model.head.label_smooth == 0.1
    resized = cfg.test_dataloader.dataset.pipeline[1]
    # FLatten squashes what it evaluates
    assert resized['type'] == ('Resize' if mixer == 'flatten' and host != 'vit' else 'saga_mm.ResizeEdge')


def test_every_mixer_is_there_on_the_hosts_it_was_published_on():
    found = {parts(file) for file in FILES}
    assert {('', 'ravlt', size) for size in ('tiny', 'small', 'base', 'large')} <= found
    for host, sizes in {
        'pvt': ('tiny', 'small', 'medium', 'large'),
        'pvt-v2': ('b0', 'b1', 'b2', 'b3', 'b4'),
        'swin': ('tiny', 'small', 'base'),
        'cswin': ('tiny', 'small', 'base'),
        'vit': ('tiny',),
    }.items():
        assert {(mixer, host, size) for mixer in ('', 'flatten', 'saga') for size in sizes} <= found
