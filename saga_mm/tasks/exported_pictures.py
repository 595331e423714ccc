"""Pictures for exported models, resized as their configs do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.onnx.facts import CROP


def resize_picture(image: np.ndarray, rule: Mapping[str, Any] | None) -> np.ndarray:
    """A picture as the steps of a test pipeline make it, pixel by pixel.

    Args:
        image: ``(H, W, 3)`` uint8.
        rule: As :func:`saga_mm.export.resizing.resize_rule` finds it; None for no change.

    Raises:
        SagaError: mmcv is not installed.
    """
    if rule is None:
        return image
    try:
        from mmcv.transforms import CenterCrop, Resize

        from saga_mm.datasets.classification.transforms import ResizeEdge
    except ImportError as error:
        raise SagaError('this model resizes pictures with mmcv, which is not installed') from error
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in rule.items()}
    crop, side = given.pop(CROP, None), given.pop('short_side', None)
    steps = [ResizeEdge(side, **given)] if side else [Resize(**given)] if given else []
    steps += [CenterCrop(crop)] if crop else []
    results = {'img': np.ascontiguousarray(image)}
    for step in steps:
        results = step(results)
    return results['img']
