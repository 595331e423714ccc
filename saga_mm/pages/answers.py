"""Compute the answers of the page, without gradio: enhanced photographs, objects, class maps, gates, ranks."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from saga_mm.analysis.gate_maps import KINDS, LayerGates, collect_gates
from saga_mm.analysis.rank import collect_ranks
from saga_mm.analysis.subjects import as_batch, build_backbone, load_matching, read_backbone_weights
from saga_mm.display.overlay import class_shares
from saga_mm.errors import SagaError
from saga_mm.images.inputs import ENDING, find_jobs
from saga_mm.loading.config import find_config
from saga_mm.loading.work_dir import find_best
from saga_mm.models.enhancement.finish import Finish
from saga_mm.models.enhancement.weight_files import load_weights
from saga_mm.shipped import shipped_weights
from saga_mm.tasks.detection.detector import Detector
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.enhancement.photographs import enhance_photo
from saga_mm.tasks.segmentation.segmenter import Segmenter

from .uploads import read_upload, reduced, require_picture, without_folder

Tell = Callable[[float, str], None]
# of pictures that a network looks at whole, with hooks; and of those that are drawn on
LOOKED_SIDE, DRAWN_SIDE = 640, 1280
MOST_DRAWN = 40
# of the colour of a class over a picture
COVER = 0.6
_one_at_a_time = threading.Lock()


class Models(NamedTuple):
    """What the page offers beside the shipped weights.

    Attributes:
        detect: Config and checkpoint of a detector, or None.
        segment: Config and checkpoint of a segmentor, or None.
        look: A config or a backbone's name, and perhaps a checkpoint, to look into; or None.
        device: Where models run; None for a GPU if there is one.
    """

    detect: tuple[str, str] | None = None
    segment: tuple[str, str] | None = None
    look: tuple[str, ...] | None = None
    device: str | None = None

    def check(self) -> None:
        """Refuse what a visitor would find missing.

        Raises:
            SagaError: A config, a checkpoint or a backbone of that name is not there.
        """
        for config, checkpoint in filter(None, (self.detect, self.segment)):
            find_config(config)
            find_best(checkpoint)
        if self.look:
            build_backbone(self.look[0])
            for checkpoint in self.look[1:]:
                find_best(checkpoint)


def one_at_a_time(function: Callable) -> Callable:
    """Models are shared by all visitors, and hooks are set on them: calls wait for each other."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _one_at_a_time:
            return function(*args, **kwargs)

    return call


@cache
def inferencer(weights: str, device: str | None) -> LowLightInferencer:
    """The enhancer of shipped weights, loaded once."""
    if weights not in shipped_weights():
        raise SagaError(f'weights={weights}: are none of {", ".join(shipped_weights())}')
    return LowLightInferencer(weights, device)


@cache
def detector(chosen: tuple[str, str], device: str | None) -> Detector:
    """A detector, loaded once."""
    return Detector(chosen[0], find_best(chosen[1]), device)


@cache
def segmenter(chosen: tuple[str, str], device: str | None) -> Segmenter:
    """A segmentor, loaded once."""
    return Segmenter(chosen[0], find_best(chosen[1]), device)


@one_at_a_time
def enhance(
    path: str | None, weights: str, finish: Finish, folder: Path, device: str | None, tell: Tell
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """A photograph before and after, as large as a screen; and the file at full size, of the kind that came in.

    Args:
        path: The photograph.
        weights: One of :func:`shipped_weights`.
        finish: Strength, brightness and denoising.
        folder: Where the file goes, into a folder of its own.
        device: As of :class:`Models`.
        tell: Called with the share that is done and what is being done.

    Raises:
        SagaError: What was sent is no photograph or too large, or no curve reaches the brightness.
    """
    require_picture(path)
    try:
        jobs, _, refused = find_jobs([path], tempfile.mkdtemp(dir=folder))
        if refused:
            raise refused[0]
        if jobs[0].kind != 'photo':
            raise SagaError(f'{path}: is a video; saga-mm enhance does videos')
        tell(0, 'Loading the model')
        model, target = inferencer(weights, device), jobs[0].target
        target = target.with_name(f'{target.stem}{ENDING}{target.suffix}')
        enhance_photo(model, jobs[0].source, target, finish, tell=lambda share: tell(share, 'Brightening'))
    except SagaError as error:
        raise SagaError(without_folder(error, path)) from error
    return (reduced(read_upload(path)), reduced(read_upload(str(target)))), str(target)


@one_at_a_time
def detect(
    path: str | None, chosen: tuple[str, str], threshold: float, device: str | None
) -> tuple[Any, dict[str, str], list[list]]:
    """A picture with boxes and the masks that the model has, the colour of each, and a row for each: class, score, box.

    Args:
        path: The picture.
        chosen: Config and checkpoint.
        threshold: Objects of lower scores are left out.
        device: As of :class:`Models`.

    Raises:
        SagaError: What was sent is no picture, or the model is not in order.
    """
    picture = read_upload(path)
    model = detector(chosen, device)
    found = model(picture).pred_instances.cpu().numpy()
    kept = [index for index in np.argsort(-found.scores) if found.scores[index] >= threshold]
    small = reduced(picture, DRAWN_SIDE)
    scale = small.shape[1] / picture.shape[1]
    marks, colours, rows = [], {}, []
    for index in kept:
        name, score, box = model.classes[found.labels[index]], float(found.scores[index]), found.bboxes[index]
        rows.append([name, round(score, 2), ' '.join(f'{side:.0f}' for side in box)])
        if len(marks) < MOST_DRAWN:
            label = f'{name} {score:.2f}'
            marks.append((_outline(small, box * scale, found.masks[index] if 'masks' in found else None), label))
            colours[label] = _hex(model.metainfo['palette'][found.labels[index]])
    return (small, marks), colours, rows


def _outline(picture: np.ndarray, box: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """How much of its colour an object has over each pixel of a picture: all at the edges of its box."""
    cover = np.zeros(picture.shape[:2], np.float32)
    if mask is not None:
        cover = COVER * cv2.resize(mask.astype(np.float32), picture.shape[1::-1])
    left, top, right, bottom = (round(float(side)) for side in box)
    width = max(2, picture.shape[1] // 400)
    return cv2.rectangle(cover, (left, top), (right - 1, bottom - 1), 1.0, width)


def _hex(colour: Sequence[int]) -> str:
    return '#' + bytes(colour).hex()


@one_at_a_time
def segment(path: str | None, chosen: tuple[str, str], device: str | None) -> tuple[Any, dict[str, str], list[list]]:
    """A picture with its classes, the colour of each, and the share of pixels of each.

    Raises:
        SagaError: What was sent is no picture, or the model is not in order.
    """
    picture = read_upload(path)
    model = segmenter(chosen, device)
    labels = model(picture)
    shares = class_shares(labels, len(model.classes))
    present = [index for index in np.argsort(-np.asarray(shares), kind='stable') if shares[index]]
    small = reduced(picture, DRAWN_SIDE)
    labels = cv2.resize(labels, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    marks = [(COVER * (labels == index).astype(np.float32), model.classes[index]) for index in present]
    colours = {model.classes[index]: _hex(model.metainfo['palette'][index]) for index in present}
    return (small, marks), colours, [[model.classes[index], f'{100 * shares[index]:.1f} %'] for index in present]


@one_at_a_time
def look_inside(path: str | None, subject: str, kind: str, models: Models) -> tuple[list, list[list], str]:
    """The gates of each layer over a picture; gates and rank of the state of each layer; and what weights were used.

    Args:
        path: The picture; it is made smaller to 640 pixels at the longer side.
        subject: One of :func:`shipped_weights`, or another word for ``models.look``.
        kind: One of :data:`saga_mm.analysis.gate_maps.KINDS`.
        models: What the page offers.

    Raises:
        SagaError: What was sent is no picture, or the model has no gates or is not in order.
    """
    picture = reduced(read_upload(path), LOOKED_SIDE)
    if kind not in KINDS:
        raise SagaError(f'kind={kind}: is none of {", ".join(KINDS)}')
    if subject in shipped_weights():
        net, note = load_weights(subject).eval(), f'Weights {subject} of the enhancer.'
        batch = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    else:
        net, note = _looked_into(models.look)
        batch = as_batch(picture, picture.shape[:2])
    gates = collect_gates(net, batch)
    ranks = {rank.layer: rank for rank in collect_ranks(net, batch)}
    drawn, rows = [], []
    for layer in gates:
        values = layer.maps()[kind]
        rank = ranks[layer.layer]
        rows.append([_title(layer.layer), *_spread(layer), f'{rank.state_effective:.1f} of {rank.state_size}'])
        if values is not None:
            drawn.append((_heat(picture, values.numpy()), f'{_title(layer.layer)}: {values.mean():.2f}'))
    return drawn, rows, note


def _looked_into(look: tuple[str, ...] | None) -> tuple[torch.nn.Module, str]:
    if look is None:
        raise SagaError('There is no such model on this page')
    net = build_backbone(look[0])
    if len(look) == 1:
        return net, 'There is no checkpoint. The weights are random, and the gates say nothing.'
    return net, load_matching(net, read_backbone_weights(look[1]), look[1])


def _title(layer: str) -> str:
    found = re.search(r'(encoder|decoder)\.(\d+)\.blocks\.(\d+)', layer)
    return f'{found[1]} {int(found[2]) + 1}.{int(found[3]) + 1}' if found else f'stage {layer}'


def _spread(layer: LayerGates) -> list[str]:
    means = [None if values is None else float(values.mean()) for values in layer.maps().values()]
    return ['not gated' if mean is None else f'{mean:.3f}' for mean in means]


def _heat(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values in colours, from their lowest (dark) to their highest, over a grey picture."""
    low, high = np.quantile(values, (0.02, 0.98))
    scaled = (255 * ((values - low) / max(high - low, 1e-6)).clip(0, 1)).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    colours = cv2.resize(colours, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(grey, 0.4, colours, 0.6, 0)
