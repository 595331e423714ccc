"""Predictions on a user's own pictures: drawn, and as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saga_mm.apis.detection import Detector
from saga_mm.datasets.progress import progress_bar
from saga_mm.engine.checkpoint import make_loading_safe
from saga_mm.engine.images import find_images, read_picture
from saga_mm.engine.progress import say
from saga_mm.engine.quiet import hush
from saga_mm.engine.resume import find_best
from saga_mm.engine.stack import require_stack
from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

RESULTS = 'predictions.json'


@dataclass
class PredictOptions:
    """The command line of a prediction.

    Attributes:
        config: The config file.
        checkpoint: The weights, or a work folder, of which the best are taken.
        source: A picture, or a folder of them.
        out: Where the drawn pictures and ``predictions.json`` go.
        score_thr: Predictions below are neither drawn nor listed.
        device: Where to run.
        cfg_options: Values of the config to change, by dotted key.
    """

    config: str
    checkpoint: str
    source: str
    out: str | None = None
    score_thr: float = 0.3
    device: str | None = None
    cfg_options: dict[str, Any] | None = None


def predict(options: PredictOptions) -> dict[str, Any]:
    """Predict, draw and list. A picture that cannot be read does not stop the others.

    Returns:
        What ``predictions.json`` holds.

    Raises:
        SagaError: Something was wrong before the first picture; or, after all others are done, some could not be read.
    """
    make_loading_safe()
    require_stack('mmdet')
    hush()
    checkpoint = find_best(options.checkpoint)
    source = Path(options.source).expanduser()
    out = Path(options.out or Path('work_dirs', 'predict', source.resolve().stem)).expanduser()
    pictures = find_images(source, leave_out=out)
    root = source if source.is_dir() else source.parent
    _check_out(out, root)
    detector = Detector(options.config, checkpoint, options.device, options.cfg_options)

    from saga_mm.engine.drawing import OutputNames

    names = OutputNames(out, root, inputs=pictures)
    visualizer = _visualizer(detector)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    try:
        for picture in progress_bar(pictures, len(pictures), 'predicting'):
            name = os.path.relpath(picture, root)
            try:
                done.append({'file': name, **_predict_one(detector, visualizer, picture, names, options.score_thr)})
            except SagaError as error:
                failed.append({'file': name, 'reason': str(error)})
            except Exception as error:
                # too large for the memory, too thin for the network, ...: the other pictures can still be done
                reason = ' '.join(str(error).split()) or type(error).__name__
                failed.append({'file': name, 'reason': f'{picture}: {reason[:200]}'})
    finally:
        result = _write(options, checkpoint, detector, out, done, failed)
    count = sum(len(image['predictions']) for image in done)
    say(f'{count} objects in {len(done)} pictures; drawn pictures and {RESULTS} are in {out}')
    if failed:
        listed = '\n  '.join(entry['reason'] for entry in failed)
        raise SagaError(f'{len(failed)} of {len(pictures)} pictures could not be done:\n  {listed}')
    return result


def _predict_one(detector: Detector, visualizer: Any, picture: Path, names: Any, score_thr: float) -> dict[str, Any]:
    from saga_mm.engine.drawing import draw

    image = read_picture(picture)
    sample = detector(image).cpu()
    target = names.path_for(picture)
    draw(visualizer, sample, image, target, score_thr, draw_gt=False)
    found = _listed(sample, detector.classes, score_thr)
    drawn = os.path.relpath(target, names.out_dir)
    return {'drawn': drawn, 'width': image.shape[1], 'height': image.shape[0], 'predictions': found}


def _listed(sample: DetDataSample, classes: tuple[str, ...], score_thr: float) -> list[dict[str, Any]]:
    """Predictions in plain values, the best first; masks as COCO's run lengths."""
    from pycocotools import mask as coco_mask

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
            rle = coco_mask.encode(np.asfortranarray(predicted.masks[index].numpy(), dtype=np.uint8))
            entry['mask'] = {'size': list(rle['size']), 'counts': rle['counts'].decode('ascii')}
        listed.append(entry)
    return listed


def _write(
    options: PredictOptions,
    checkpoint: Path,
    detector: Detector,
    out: Path,
    done: list[dict[str, Any]],
    failed: list[dict[str, str]],
) -> dict[str, Any]:
    result = {
        'config': options.config,
        'checkpoint': str(checkpoint),
        'score_thr': options.score_thr,
        'classes': list(detector.classes),
        'failed': failed,
        'images': done,
    }
    # one line an image, for people and for diff
    rows = ',\n  '.join(json.dumps(image, ensure_ascii=False) for image in done)
    head = json.dumps({**result, 'images': []}, indent=1, ensure_ascii=False).removesuffix('[]\n}')
    (out / RESULTS).write_text(f'{head}[\n  {rows}\n ]\n}}\n', encoding='utf-8')
    return result


def _visualizer(detector: Detector) -> Any:
    from mmdet.visualization import DetLocalVisualizer

    visualizer = DetLocalVisualizer.get_instance('saga_mm.predict')
    visualizer.dataset_meta = detector.metainfo
    return visualizer


def _check_out(out: Path, root: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SagaError(f'--out {out}: is a file, and a folder is needed')
    if out.resolve() == root.resolve():
        raise SagaError(f'--out {out}: is the folder of the pictures themselves; choose another')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SagaError(f'--out {out}: cannot be made ({error.strerror})') from error
