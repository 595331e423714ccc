"""Predictions of detectors: objects, drawn and listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdet.visualization import DetLocalVisualizer
from pycocotools import mask as coco_mask

from saga_mm.display.console import say
from saga_mm.display.drawing import draw_objects
from saga_mm.images.pictures import read_picture
from saga_mm.operators import in_use
from saga_mm.tasks.detection.detector import Detector
from saga_mm.tasks.detection.evaluation import SCORE_THR, checked_score
from saga_mm.tasks.prediction import Pictures, Prediction, Writer
from saga_mm.tasks.predictor import Place

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

    from saga_mm.loading.trained import Trained


class DetectionPrediction(Prediction):
    """Objects, each with a class and a score.

    Args:
        score_thr: Objects below are neither drawn nor listed.
    """

    def __init__(self, score_thr: float = SCORE_THR) -> None:
        self.score_thr = checked_score(score_thr)

    def writer(self, model: Trained, place: Place, pictures: Pictures) -> DetectionWriter:
        say(in_use())
        return DetectionWriter(Detector(model, **place._asdict()), pictures, self.score_thr)


class DetectionWriter(Writer):
    """Draws objects and lists them; below the lowest score they are neither drawn nor listed."""

    predictor: Detector

    def __init__(self, predictor: Detector, pictures: Pictures, score_thr: float) -> None:
        super().__init__(predictor, pictures)
        self.score_thr, self.highest = score_thr, 0.0
        # a name of its own: the visualizers of mmengine's runners are instances beside it
        self.visualizer = DetLocalVisualizer.get_instance('saga_mm.predict')
        self.visualizer.dataset_meta = predictor.metainfo

    def head(self) -> dict[str, Any]:
        return {'score_thr': self.score_thr, **super().head()}

    def write(self, picture: Path) -> dict[str, Any]:
        image = read_picture(picture)
        sample = self.predictor(image).cpu()
        self.highest = max(self.highest, *sample.pred_instances.scores.tolist(), 0.0)
        target = self.drawn.path_for(picture)
        draw_objects(self.visualizer, sample, image, target, self.score_thr, draw_gt=False)
        return {
            'drawn': os.path.relpath(target, self.out),
            'width': image.shape[1],
            'height': image.shape[0],
            'predictions': _listed(sample, self.predictor.classes, self.score_thr),
        }

    def summary(self, done: list[dict[str, Any]]) -> str:
        count = sum(len(entry['predictions']) for entry in done)
        pictures = f'{len(done)} pictures' if len(done) > 1 else '1 picture'
        if not count:
            pictures += f', as none scores {self.score_thr} (--score-thr); the highest score is {self.highest:.3f}'
        return f'{count} object{"s" * (count != 1)} in {pictures}; drawn pictures'


def _listed(sample: DetDataSample, classes: tuple[str, ...], score_thr: float) -> list[dict[str, Any]]:
    """Predictions in plain values, the best first; masks as COCO's run lengths."""
    predicted = sample.pred_instances
    predicted = predicted[predicted.scores >= score_thr]
    predicted = predicted[predicted.scores.argsort(descending=True)]
    listed = []
    for index, (box, label, score) in enumerate(zip(predicted.bboxes, predicted.labels, predicted.scores, strict=True)):
        entry = {
            'label': int(label),
            'class': classes[int(label)],
            'score': round(float(score), 4),
            'box': [round(float(value), 2) for value in box],
        }
        if 'masks' in predicted:
            # pycocotools takes masks column by column
            rle = coco_mask.encode(np.asfortranarray(predicted.masks[index].numpy(), dtype=np.uint8))
            entry['mask'] = {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')}
        listed.append(entry)
    return listed
