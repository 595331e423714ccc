"""Load pictures for training and evaluation with the pixels that predictions see."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile

from saga_mm.images.opencv import is_misread, read_for_training
from saga_mm.images.pictures import refuse_programs

_load = LoadImageFromFile.transform


def use_own_pictures() -> None:
    """Make mmcv's loader use :func:`read_for_training` for pictures that OpenCV misreads.

    This holds in the whole process, and in workers of data loaders: those that are started afresh, and not forked, are
    sent the loader.
    """
    # on the class, since pipelines of all tasks build loaders by its name
    LoadImageFromFile.transform = _transform
    LoadImageFromFile.__reduce__ = _reduce


def _reduce(loader: LoadImageFromFile) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    return _received, (type(loader),), loader.__dict__


def _received(kind: type[LoadImageFromFile]) -> LoadImageFromFile:
    """An empty loader in a process that it is sent to."""
    use_own_pictures()
    refuse_programs()
    return kind.__new__(kind)


def _transform(self: LoadImageFromFile, results: dict[str, Any]) -> dict[str, Any] | None:
    path = results['img_path']
    plain = self.color_type == 'color' and self.imdecode_backend in (None, 'cv2')
    remote = getattr(self, 'backend_args', None) or getattr(self, 'file_client_args', None)
    if not plain or remote or not os.path.isfile(path) or not is_misread(path):
        return _load(self, results)
    picture = read_for_training(path)
    results['img'] = picture.astype(np.float32) if self.to_float32 else picture
    results['img_shape'] = results['ori_shape'] = picture.shape[:2]
    return results
