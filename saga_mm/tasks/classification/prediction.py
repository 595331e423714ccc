"""Predictions of classifiers: the classes of each picture, written above it and listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saga_mm.display.drawing import draw_beside
from saga_mm.errors import SagaError
from saga_mm.images.given import rgb_picture
from saga_mm.images.pictures import read_picture
from saga_mm.loading.trained import Trained
from saga_mm.onnx.file import SELF_CONTAINED, is_onnx
from saga_mm.tasks.classification import CLASSIFICATION
from saga_mm.tasks.classification.evaluation import found_text
from saga_mm.tasks.classification.exported import ExportedClassifier
from saga_mm.tasks.prediction import Pictures, Prediction, Writer
from saga_mm.tasks.predictor import Place, Predictor

if TYPE_CHECKING:
    from PIL.Image import Image

LISTED = 5


class Classifier(Predictor):
    """An image classifier with its weights, for one picture at a time.

    Args:
        config: As of :class:`Predictor`, or a classifier that ``tools/export.py`` wrote, ``NAME.onnx``, which takes
            nothing else but a device.
        checkpoint: As of :class:`Predictor`.
        device: As of :class:`Predictor`.
        options: ``cfg_options``, ``engine`` and ``precision`` of :class:`Predictor`.

    Attributes:
        exported: The :class:`ExportedClassifier` of an ``.onnx`` file, beside which there is no ``model``; else None.
    """

    task = CLASSIFICATION

    def __init__(
        self,
        config: str | os.PathLike[str] | Trained,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        self.exported: ExportedClassifier | None = None
        if isinstance(config, Trained) or not is_onnx(config):
            super().__init__(config, checkpoint, device, **options)
            return
        usual = {'cfg_options': (None, {}), 'engine': ('auto',), 'precision': ('f32',)}
        if checkpoint is not None or any(value not in usual.get(name, ()) for name, value in options.items()):
            raise SagaError(f'{config}: {SELF_CONTAINED}')
        self.exported = ExportedClassifier(config, device)
        self.classes = self.exported.facts.classes
        self.metainfo = {'classes': self.classes, 'palette': self.exported.facts.palette}

    def __call__(self, image: np.ndarray | Image | str | os.PathLike[str]) -> dict[str, float]:
        """Probability of each class, the most probable first.

        Args:
            image: An array ``(H, W, 3)`` uint8, RGB, and all that :func:`saga_mm.images.given.rgb_picture` takes.
        """
        picture = rgb_picture(image)
        scores = self.predict(picture).pred_score.cpu() if self.exported is None else self.exported(picture)
        # strict: a head of another number of classes would name the wrong ones
        pairs = zip(self.classes, scores.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: pair[1], reverse=True))


class ClassificationPrediction(Prediction):
    """The most probable classes of each picture."""

    def writer(self, model: Trained, place: Place, pictures: Pictures) -> ClassificationWriter:
        return ClassificationWriter(Classifier(model, **place._asdict()), pictures)


class ExportedPrediction(Prediction):
    """The same by an exported classifier, which takes the place of config and checkpoint."""

    def writer(self, model: str, place: Place, pictures: Pictures) -> ClassificationWriter:
        return ClassificationWriter(Classifier(model, **place._asdict()), pictures)


class ClassificationWriter(Writer):
    """Writes the most probable class above each picture, and lists five."""

    predictor: Classifier

    def write(self, picture: Path) -> dict[str, Any]:
        image = read_picture(picture)
        found = list(self.predictor(image).items())[:LISTED]
        target = self.drawn.path_for(picture)
        draw_beside({found_text(*found[0]): image}, target)
        return {
            'drawn': os.path.relpath(target, self.out),
            'width': image.shape[1],
            'height': image.shape[0],
            'predictions': [
                {'label': self.predictor.classes.index(name), 'class': name, 'score': round(score, 4)}
                for name, score in found
            ],
        }

    def summary(self, done: list[dict[str, Any]]) -> str:
        pictures = f'{len(done)} pictures' if len(done) > 1 else '1 picture'
        return f'the classes of {pictures}; drawn pictures'
