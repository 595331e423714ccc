"""The tasks of the comparison, ready to train."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from saga_mm.errors import SagaError
from saga_mm.images.picture_folders import find_images
from saga_mm.models.classification import ImageClassifier
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.registry import MODELS
from saga_mm.text_files import read_json

from .data import Pictures, cut, normalise, random_boxes, read_classes, read_images, shrink
from .mixers import CHOICES, MIXERS, build_trunk, matched_ratio, unet_arch
from .plan import Run
from .training import RANK_IMAGES, Job

SIZE = 64
LABEL_SMOOTH = 0.1
ROADS, ROAD_CROP, ROAD_CLASSES, IGNORED = (180, 240), (144, 192), 11, 255
DARK_CROP = 96
HELD_OUT = 10


@MODELS.register_module()
class ComparedTrunk(BaseModule):
    """A trunk of the comparison as a backbone of any model; arguments as of ``build_trunk``."""

    def __new__(cls, **options: Any) -> nn.Module:
        return build_trunk(**options)


def trunk_config(run: Run) -> dict[str, Any]:
    ratio = matched_ratio(run.trunk, run.mixer, SIZE)
    return {
        'type': ComparedTrunk,
        'trunk': run.trunk,
        'mixer': run.mixer,
        'image_size': SIZE,
        'ratio': ratio,
    }


def classes_job(run: Run, data: Path) -> Job:
    """Classification of small pictures: random crops of 64 pixels, whole pictures at 64 pixels for the score."""
    train, (images, labels) = classes_train(data), classes_val(data)
    count = int(train.targets.max()) + 1
    head = {'type': 'LinearClsHead', 'num_classes': count, 'in_channels': 128, 'label_smooth': LABEL_SMOOTH}
    model = ImageClassifier(trunk_config(run), {**head, 'norm_eps': 1e-6})

    def loss(indices: np.ndarray, draws: np.random.Generator) -> Tensor:
        boxes = random_boxes(len(indices), (0.35, 1.0), 4 / 3, 1.0, draws)
        crops = cut(normalise(train.images[indices]), boxes, (SIZE, SIZE))
        return model.head.loss(model(crops), train.targets[indices])

    def score() -> dict[str, float]:
        logits = torch.cat([model(part) for part in images.split(100)])
        ranked = logits.topk(5).indices == labels[:, None]
        top1, top5 = (100 * ranked[:, :k].any(1).double().mean().item() for k in (1, 5))
        return {'score': top1, 'top5': top5, 'val_loss': F.cross_entropy(logits, labels).item()}

    return Job(model, model.backbone, loss, score, len(train), watched=images[:: len(images) // RANK_IMAGES])


@cache
def classes_train(data: Path) -> Pictures:
    return read_classes(data / 'classes_small', 'train')


@cache
def classes_val(data: Path) -> tuple[Tensor, Tensor]:
    val = read_classes(data / 'classes_small', 'val')
    return normalise(shrink(val.images, (SIZE, SIZE))), val.targets


def camvid_job(run: Run, data: Path) -> Job:
    """Segmentation of road scenes by UPerNet at half their size."""
    from saga_mm.loading.stack import require_stack

    require_stack('mmseg')
    train, val = roads(data, 'train'), roads(data, 'val')
    norm = {'type': 'GN', 'num_groups': 8}
    backbone = MODELS.build(trunk_config(run))
    head = MODELS.build(
        {
            'type': 'mmseg.UPerHead',
            'in_channels': [32, 64, 96, 128],
            'in_index': [0, 1, 2, 3],
            'channels': 32,
            'pool_scales': (1, 2, 3, 6),
            'num_classes': ROAD_CLASSES,
            'norm_cfg': norm,
            'align_corners': False,
        }
    )
    model = nn.ModuleDict({'backbone': backbone, 'head': head})
    size = ROADS

    def logits(images: Tensor) -> Tensor:
        return head(backbone(images))

    def loss(indices: np.ndarray, draws: np.random.Generator) -> Tensor:
        # crops of four to three, as the pictures are, from half of their sides to all of them
        boxes = random_boxes(len(indices), (0.25, 1.0), 1.15, 1.0, draws)
        crops = cut(normalise(train.images[indices]), boxes, ROAD_CROP)
        maps = cut(train.targets[indices].unsqueeze(1).float(), boxes, ROAD_CROP, 'nearest').squeeze(1).long()
        wide = F.interpolate(logits(crops), ROAD_CROP, mode='bilinear', align_corners=False)
        return F.cross_entropy(wide, maps, ignore_index=IGNORED)

    def score() -> dict[str, float]:
        table = torch.zeros(ROAD_CLASSES, ROAD_CLASSES, dtype=torch.long)
        for images, maps in zip(val.images.split(8), val.targets.split(8)):
            wide = F.interpolate(logits(normalise(images)), size, mode='bilinear', align_corners=False)
            found, known = wide.argmax(1), maps != IGNORED
            pairs = ROAD_CLASSES * maps[known].long() + found[known]
            table += torch.bincount(pairs, minlength=ROAD_CLASSES**2).view_as(table)
        hits = table.diag().double()
        union = table.sum(0) + table.sum(1) - table.diag()
        return {
            'score': 100 * (hits / union.clamp_min(1)).mean().item(),
            'accuracy': 100 * (hits.sum() / table.sum()).item(),
        }

    return Job(model, backbone, loss, score, len(train), batch=8)


@cache
def roads(data: Path, split: str) -> Pictures:
    root = data / 'camvid'
    images = sorted((root / 'images' / split).glob('*.jpg'))
    if not images:
        raise SagaError(f'{root / "images" / split}: has no pictures')
    masks = [root / 'annotations' / split / f'{path.stem}.png' for path in images]
    maps = torch.stack([torch.from_numpy(read_ids(path)) for path in masks])
    half = F.interpolate(maps.unsqueeze(1).float(), ROADS, mode='nearest-exact').squeeze(1).to(torch.uint8)
    return Pictures(shrink(read_images(images), ROADS).round().clamp(0, 255).to(torch.uint8), half)


def read_ids(path: Path) -> np.ndarray:
    from PIL import Image

    return np.array(Image.open(path))


def lol_job(run: Run, data: Path) -> Job:
    """Enhancement of dark pictures by the U-shaped trunk; whole scenes are held out."""
    train, val = dark_pairs(data)
    attention = {**MIXERS, **CHOICES}[run.mixer]
    model = LowLightEnhancer(
        {'type': 'SAGAUNet', 'arch': unet_arch(matched_ratio('unet', run.mixer, SIZE)), 'attention': attention}
    )

    def loss(indices: np.ndarray, draws: np.random.Generator) -> Tensor:
        top, left = (draws.integers(0, train.images.shape[-1] - DARK_CROP + 1, len(indices)) for _ in range(2))
        mirrored = draws.random(len(indices)) < 0.5
        pairs = torch.stack([train.images[indices], train.targets[indices]], 1)
        parts = [pair[..., y : y + DARK_CROP, x : x + DARK_CROP] for pair, y, x in zip(pairs, top, left)]
        parts = [part.flip(-1) if flip else part for part, flip in zip(parts, mirrored)]
        dark, bright = (torch.stack(parts).float() / 255).unbind(1)
        return (model(dark) - bright).square().add(1e-6).sqrt().mean()

    def score() -> dict[str, float]:
        errors = []
        for dark, bright in zip(val.images.split(8), val.targets.split(8)):
            answer = (model(dark.float() / 255).clamp(0, 1) * 255).round()
            errors.append((answer / 255 - bright.float() / 255).square().mean((1, 2, 3)))
        return {'score': (-10 * torch.cat(errors).double().log10()).mean().item()}

    return Job(model, model.backbone, loss, score, len(train), batch=8)


@cache
def dark_pairs(data: Path) -> tuple[Pictures, Pictures]:
    """Pairs to train on, and pairs of the first scenes in a fixed order, which are held out."""
    root = data / 'lol_v1_crops'
    groups = {Path(name).stem: group for name, group in read_json(root / 'scene_groups.json').items()}
    files = find_images(root / 'low')
    scenes = sorted(set(groups.values()))
    held = {scenes[i] for i in np.random.default_rng(0).permutation(len(scenes))[:HELD_OUT]}
    parts = []
    for wanted in (False, True):
        names = [path.name for path in files if (groups[path.stem] in held) == wanted]
        parts.append(Pictures(*(read_images([root / side / name for name in names]) for side in ('low', 'high'))))
    return parts[0], parts[1]


JOBS: dict[str, Callable[[Run, Path], Job]] = {'classes': classes_job, 'camvid': camvid_job, 'lol': lol_job}
