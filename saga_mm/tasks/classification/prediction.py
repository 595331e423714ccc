"""Predictions of classifiers: the classes of each picture, written above it and listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saga_mm.display.drawing import draw_beside
from saga_mm.images.pictures import read_picture
from saga_mm.tasks.classification import CLASSIFICATION
from saga_mm.tasks.classification.evaluation import found_text
from saga_mm.tasks.prediction import Pictures, Prediction, Writer
from saga_mm.tasks.predictor import Place, Predictor

if TYPE_CHECKING:
    from saga_mm.loading.trained import Trained

LISTED = 5


class Classifier(Predictor):
    """An image classifier with its weights, for one picture at a time; arguments as of :class:`Predictor`."""

    task = CLASSIFICATION

    def __call__(self, image: np.ndarray) -> dict[str, float]:
        """Probability of each class, the most probable first, for an image ``(H, W, 3)`` uint8, RGB."""
        scores, labels = self.predict(image).pred_score.sort(descending=True)
        return {self.classes[label]: score for score, label in zip(scores.tolist(), labels.tolist(), strict=True)}


class ClassificationPrediction(Prediction):
    """The most probable classes of each picture."""

    def writer(self, model: Trained, place: Place, pictures: Pictures) -> ClassificationWriter:
        return ClassificationWriter(Classifier(model, **place._asdict()), pictures)


class ClassificationWriter(Writer):
    """Writes the most probable class above each picture, and lists five."""

    def write(self, picture: Path) -> dict[str, Any]:
        image = read_picture(picture)
        sample, classes = self.predictor.predict(image).cpu(), self.predictor.classes
        target = self.drawn.path_for(picture)
        draw_beside({found_text(sample, classes): image}, target)
        scores, labels = sample.pred_score.topk(min(LISTED, len(classes)))
        return {
            'drawn': os.path.relpath(target, self.out),
            'width': image.shape[1],
            'height': image.shape[0],
            'predictions': [
                {'label': int(label), 'class': classes[int(label)], 'score': round(float(score), 4)}
                for score, label in zip(scores, labels, strict=True)
            ],
        }

    def summary(self, done: list[dict[str, Any]]) -> str:
        pictures = f'{len(done)} pictures' if len(done) > 1 else '1 picture'
        return f'the classes of {pictures}; drawn pictures'
