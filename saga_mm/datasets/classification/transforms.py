"""Transforms for classification: ``img`` is ``(H, W, 3)`` uint8 BGR. Others are mmcv's."""

from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
import torch

from saga_mm.registry import TRANSFORMS

from .augment import OPERATIONS, apply_operation
from .sample import ClassSample

# ImageNet's, BGR, as the preprocessor subtracts and divides by them
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


@TRANSFORMS.register_module()
class LoadImageFromNDArray:
    """Take the picture in ``img`` as it is, in place of one that is read from a file."""

    def __call__(self, results: dict) -> dict:
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class ResizeEdge:
    """Resize a picture so that its shorter side has a length.

    Args:
        scale: The length, in pixels.
        interpolation: As of ``mmcv.imresize``.
        backend: ``'pillow'``, which averages when it shrinks, or ``'cv2'``.
    """

    def __init__(self, scale: int, interpolation: str = 'bicubic', backend: str = 'pillow') -> None:
        self.scale, self.options = scale, {'interpolation': interpolation, 'backend': backend}

    def __call__(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        factor = self.scale / min(height, width)
        size = max(self.scale, round(width * factor)), max(self.scale, round(height * factor))
        results['img'] = mmcv.imresize(results['img'], size, **self.options)
        results['img_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """A part of a picture of random area and shape, resized (Szegedy et al., CVPR 2015).

    Args:
        scale: Side of the result, or its height and width, in pixels.
        crop_ratio_range: Range of the part's share of the area, drawn evenly.
        aspect_ratio_range: Range of its width by its height, drawn evenly in the logarithm.
        interpolation: As of ``mmcv.imresize``.
        backend: ``'pillow'``, which averages when it shrinks, or ``'cv2'``.
        max_attempts: Draws until a part lies inside the picture; then the largest part in the middle is taken.
    """

    def __init__(
        self,
        scale: int | Sequence[int],
        crop_ratio_range: Sequence[float] = (0.08, 1.0),
        aspect_ratio_range: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
        backend: str = 'pillow',
        max_attempts: int = 10,
    ) -> None:
        self.height, self.width = (scale, scale) if isinstance(scale, int) else scale
        self.crop_ratio_range, self.aspect_ratio_range = crop_ratio_range, aspect_ratio_range
        self.max_attempts = max_attempts
        self.options = {'interpolation': interpolation, 'backend': backend}

    def __call__(self, results: dict) -> dict:
        image = results['img']
        top, left, height, width = self._box(*image.shape[:2])
        part = image[top : top + height, left : left + width]
        results['img'] = mmcv.imresize(part, (self.width, self.height), **self.options)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _box(self, height: int, width: int) -> tuple[int, int, int, int]:
        # as published: drawn anew where the part would not fit, so that parts of extreme shapes are rarer
        for _ in range(self.max_attempts):
            area = height * width * np.random.uniform(*self.crop_ratio_range)
            aspect = np.exp(np.random.uniform(*np.log(self.aspect_ratio_range)))
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                return np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w
        aspect = np.clip(width / height, *self.aspect_ratio_range)
        w, h = min(width, max(round(height * aspect), 1)), min(height, max(round(width / aspect), 1))
        return (height - h) // 2, (width - w) // 2, h, w


@TRANSFORMS.register_module()
class RandAugment:
    """Some of the usual operations on colours and places (Cubuk et al., NeurIPS 2020), as DeiT was trained with them.

    Args:
        num_policies: Operations, drawn from all with replacement.
        magnitude_level: Their mean strength, of 10.
        magnitude_std: Standard deviation of the strength.
        prob: How often a drawn operation is applied.
    """

    def __init__(
        self, num_policies: int = 2, magnitude_level: float = 9, magnitude_std: float = 0.5, prob: float = 0.5
    ) -> None:
        self.num_policies, self.magnitude_level = num_policies, magnitude_level
        self.magnitude_std, self.prob = magnitude_std, prob

    def __call__(self, results: dict) -> dict:
        for name in np.random.choice(list(OPERATIONS), self.num_policies):
            if np.random.random() < self.prob:
                strength = float(np.clip(np.random.normal(self.magnitude_level, self.magnitude_std), 0, 10)) / 10
                results['img'] = apply_operation(results['img'], name, strength, np.random.choice((-1, 1)))
        return results


@TRANSFORMS.register_module()
class RandomErasing:
    """Replace a rectangle by noise of the data's mean and deviation (Zhong et al., AAAI 2020).

    Args:
        erase_prob: How often.
        area_range: Range of the rectangle's share of the area, drawn evenly.
        aspect_range: Range of its height by its width, drawn evenly in the logarithm.
        mean: Of the noise, BGR.
        std: Its standard deviation, BGR.
    """

    def __init__(
        self,
        erase_prob: float = 0.25,
        area_range: Sequence[float] = (0.02, 1 / 3),
        aspect_range: Sequence[float] = (3 / 10, 10 / 3),
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        self.erase_prob, self.area_range, self.aspect_range = erase_prob, area_range, aspect_range
        self.mean, self.std = mean, std

    def __call__(self, results: dict) -> dict:
        if np.random.random() >= self.erase_prob:
            return results
        image = results['img'].copy()
        height, width = image.shape[:2]
        area = height * width * np.random.uniform(*self.area_range)
        aspect = np.exp(np.random.uniform(*np.log(self.aspect_range)))
        h, w = min(max(round((area * aspect) ** 0.5), 1), height), min(max(round((area / aspect) ** 0.5), 1), width)
        top, left = np.random.randint(height - h + 1), np.random.randint(width - w + 1)
        noise = np.random.normal(self.mean, self.std, (h, w, 3))
        image[top : top + h, left : left + w] = noise.round().clip(0, 255).astype(np.uint8)
        results['img'] = image
        return results


@TRANSFORMS.register_module()
class PackClassInputs:
    """Make what the model takes: ``inputs``, ``(3, H, W)`` uint8 BGR, and ``data_samples``, a :class:`ClassSample`."""

    def __call__(self, results: dict) -> dict[str, Any]:
        image = results['img']
        known = {key: results[key] for key in ('img_path', 'ori_shape') if key in results}
        sample = ClassSample(metainfo={**known, 'img_shape': image.shape[:2]})
        if 'gt_label' in results:
            sample.gt_label = torch.tensor(results['gt_label'])
        return {'inputs': torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), 'data_samples': sample}
