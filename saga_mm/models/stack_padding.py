"""Have models of mmdet and mmseg tell their parts the sizes of the pictures in a batch, or run each size by itself."""

import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import nn

from saga_mm.models.padding import (
    Batch,
    by_size,
    fits_inside,
    given_batch,
    picture_sizes,
    reads_padding,
    trains_batch_norm,
)

# necks that take maps of any size
NECKS = ('NoneType', 'FPN', 'SAGAFPN', 'SAGAPyramid')
# of the stack: what is called with images and data samples, whatever a model does with them
OWNERS = {'mmdet.models.detectors.base': 'BaseDetector', 'mmseg.models.segmentors.base': 'BaseSegmentor'}


def features_by_size(model: nn.Module, images: torch.Tensor, extract: Callable[[torch.Tensor], Any]) -> Any:
    """Features of images by the backbone and neck of a model of the stack: those of each picture alone.

    A neck may look at a whole map as well, by global attention or by group norms.

    Args:
        model: The model.
        images: What it was given, padded.
        extract: From images of one size to their features, a sequence of maps whose strides are powers of two.
            Of other features, the backbone's maps alone are those of each picture.
    """
    sizes = picture_sizes(images)
    if sizes is None or not runs_by_size(model):
        return extract(images)
    features = by_size(lambda pictures: extract(*pictures), [images], [sizes])
    return extract(images) if features is None else features


def runs_by_size(model: nn.Module) -> bool:
    """Whether a model of the stack runs the pictures of each size by themselves.

    It does if padding reached all of a picture, no batch norm has to see all pictures at once, and its neck takes
    maps of any size: some join levels by doubling them, for which sides have to be padded.
    """
    backbone, neck = getattr(model, 'backbone', None), getattr(model, 'neck', None)
    if type(neck).__name__ not in NECKS or 'scale_factor' in (getattr(neck, 'upsample_cfg', None) or {}):
        return False
    parts = [part for part in (backbone, neck) if part is not None]
    return any(map(reads_padding, parts)) and not any(map(trains_batch_norm, parts))


def predict_by_size(
    predict: Callable[[torch.Tensor, list], Sequence[Any]], batch: Batch, images: torch.Tensor, samples: Sequence[Any]
) -> list[Any]:
    """Predictions for the pictures of each size by themselves, in the order of the batch.

    Heads look beside a picture too: anchors stand there, and regions at its border are filled from there.
    """
    results: list[Any] = [None] * len(samples)
    for size in dict.fromkeys(batch.sizes):
        index = [i for i, other in enumerate(batch.sizes) if other == size]
        # heads take the sides of the padded batch from the data samples
        for i in index:
            facts = samples[i].metainfo
            unpadded = {'batch_input_shape': size, 'pad_shape': size}
            unpadded |= {key: [0] * 4 for key in ('padding_size', 'img_padding_size')}
            samples[i].set_metainfo({key: value for key, value in unpadded.items() if key in facts})
        found = predict(images[index, :, : size[0], : size[1]], [samples[i] for i in index])
        for i, result in zip(index, found, strict=True):
            results[i] = result
    return results


def watch_stack() -> None:
    """Make the imported models of mmdet and mmseg pass the sizes of pictures on to backbone, neck and heads.

    A detector or segmentor hands its backbone the padded images alone. Whoever builds a part that needs to know the
    sizes calls this, so that any config with such a part is right. Models without such a part stay as they are.
    """
    for module, name in OWNERS.items():
        owner = getattr(sys.modules.get(module), name, None)
        if owner is not None and not hasattr(owner.forward, 'tells_sizes'):
            owner.forward = _telling(owner.forward)


def _telling(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def telling(self: nn.Module, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        # torch.compile follows no context variables
        if torch.compiler.is_compiling():
            return forward(self, inputs, data_samples, mode)
        # patched where it is defined: a user's detector may override it, and its base class stays as it is
        owner = next((owner for owner in type(self).__mro__ if 'extract_feat' in vars(owner)), None)
        if owner is not None and not hasattr(owner.extract_feat, 'by_size'):
            owner.extract_feat = _parting(owner.extract_feat)
        batch = _batch_of(inputs, data_samples)
        if mode == 'predict' and batch is not None and {*batch.sizes} != {batch.shape} and runs_by_size(self):
            predict = partial(forward, self, mode=mode)
            return predict_by_size(predict, batch, inputs, data_samples)
        with given_batch(batch):
            return forward(self, inputs, data_samples, mode)

    telling.tells_sizes = True
    return telling


def _parting(extract_feat: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(extract_feat)
    def parting(self: nn.Module, images: torch.Tensor, *args: Any, **options: Any) -> Any:
        if args or options:
            return extract_feat(self, images, *args, **options)
        return features_by_size(self, images, lambda pictures: extract_feat(self, pictures))

    parting.by_size = True
    return parting


def _batch_of(inputs: Any, data_samples: Any) -> Batch | None:
    """What data samples say of a batch; None if they do not say it of every picture, or it cannot be."""
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 4 or not isinstance(data_samples, Sequence):
        return None
    sizes = [tuple(sample.metainfo.get('img_shape') or ())[:2] for sample in data_samples]
    shape = tuple(inputs.shape[2:])
    fit = len(sizes) == len(inputs) and all(len(size) == 2 and fits_inside(size, shape) for size in sizes)
    return Batch(sizes, shape) if fit else None
