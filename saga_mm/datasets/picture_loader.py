"""Load pictures for training and evaluation with the pixels that predictions see."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile

from saga_mm.images.opencv import is_misread, read_trained

_load = LoadImageFromFile.transform


def use_own_pictures() -> None:
    """Have mmcv's loader, in the whole process, read by :func:`read_trained` what OpenCV misreads."""
    LoadImageFromFile.transform = _transform


def _transform(self: LoadImageFromFile, results: dict[str, Any]) -> dict[str, Any] | None:
    path = results['img_path']
    plain = self.color_type == 'color' and self.imdecode_backend in (None, 'cv2')
    remote = getattr(self, 'backend_args', None) or getattr(self, 'file_client_args', None)
    if not plain or remote or not os.path.isfile(path) or not is_misread(path):
        return _load(self, results)
    picture = read_trained(path)
    results['img'] = picture.astype(np.float32) if self.to_float32 else picture
    results['img_shape'] = results['ori_shape'] = picture.shape[:2]
    return results
