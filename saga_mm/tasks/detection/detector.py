"""A trained detector for arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_mm.errors import SagaError
from saga_mm.tasks.detection import DETECTION
from saga_mm.tasks.predictor import Predictor

if TYPE_CHECKING:
    import os

    import numpy as np
    from mmdet.structures import DetDataSample
    from PIL.Image import Image


class Detector(Predictor):
    """A detector of mmdet's with its weights, for one picture at a time; see :class:`Predictor` for its arguments."""

    task = DETECTION

    def __call__(self, image: np.ndarray | Image | str | os.PathLike[str]) -> DetDataSample:
        """Detect the objects in a picture.

        Args:
            image: An array ``(H, W, 3)`` uint8, RGB, and all that :func:`saga_mm.images.given.rgb_picture` takes.

        Returns:
            mmdet's data sample; its ``pred_instances`` has ``bboxes`` in pixels of ``image``, ``labels``, ``scores``
            and, from a model that predicts them, ``masks`` of the size of ``image``.
        """
        sample = self.predict(image)
        if 'pred_instances' not in sample:
            raise SagaError(f'config {self.cfg.filename}: {type(self.model).__name__} does not detect objects')
        return sample
