"""An exported classifier under ONNX Runtime."""

from __future__ import annotations

import numpy as np

from saga_mm.onnx.model import ExportedModel
from saga_mm.tasks.exported_pictures import resize_picture


class ExportedClassifier(ExportedModel):
    """A classifier; see :class:`ExportedModel`."""

    kind = 'classifier'

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The probability of each class, ``(classes,)``, for a picture ``(H, W, 3)`` uint8, RGB."""
        answer = self.run(resize_picture(image, self.facts.resize))
        if answer.shape != (1, len(self.facts.classes)) or answer.dtype != np.float32 or not np.isfinite(answer).all():
            raise self.refuse_answer(answer)
        return answer[0]
