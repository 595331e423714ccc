"""A trained segmentation model for use on arrays."""

from __future__ import annotations

import numpy as np

from saga_mm.apis.predictor import Predictor
from saga_mm.errors import SagaError


class Segmenter(Predictor):
    """A model of mmseg's with its weights, for one picture at a time; see :class:`Predictor` for its arguments."""

    package = 'mmseg'

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Find the class of each pixel of a picture.

        Args:
            image: ``(H, W, 3)`` uint8, RGB.

        Returns:
            ``(H, W)`` of indices into ``classes``: uint8, or uint16 for more than 256 classes.
        """
        sample = self.predict(image)
        if 'pred_sem_seg' not in sample:
            raise SagaError(f'config {self.cfg.filename}: {type(self.model).__name__} does not segment pictures')
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        return sample.pred_sem_seg.data[0].cpu().numpy().astype(kind)
