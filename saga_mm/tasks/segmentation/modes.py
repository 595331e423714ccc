"""Compare ways to segment large images by quality, time and memory."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS

from saga_mm.display.progress import progress_bar
from saga_mm.display.table import format_table
from saga_mm.errors import ArgumentError
from saga_mm.files import write_file, write_image
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.models.openmmlab import label_rows
from saga_mm.rows import MemoryRows
from saga_mm.rows.device_memory import peak_bytes, release_memory
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.predictor import Place
from saga_mm.tasks.segmentation.segmenter import Segmenter
from saga_mm.tasks.segmentation.strips import prepare_rows, segment_strips

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from saga_mm.loading.trained import Trained

LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
CROP = {'crop_size': (512, 512), 'stride': (384, 384)}
MODES = ('whole', 'slide', 'strips')


@dataclass
class Row:
    """What one way came to at one size."""

    size: int | None
    mode: str
    miou: float
    seconds: float
    peak_gib: float


class Comparison(NamedTuple):
    """What all ways came to, and the model that was run."""

    rows: list[Row]
    segmenter: Segmenter

    def table(self) -> str:
        """The figures for the screen."""
        header = ('longest side', 'mode', 'mIoU', 'seconds an image', 'peak memory, GiB')
        cells = [
            (row.size or 'as it is', row.mode, *(f'{x:.2f}' for x in (row.miou, row.seconds, row.peak_gib)))
            for row in self.rows
        ]
        return format_table(header, cells)

    def write(self, path: Path, run: dict[str, Any]) -> Path:
        """Write the figures as JSON beside what ``run`` says, draw them into a file beside it, and return that file."""
        write_file(path, json.dumps({**run, 'rows': [asdict(row) for row in self.rows]}, indent=2) + '\n')
        return _plot(self.rows, path.with_suffix('.png'))


class Modes:
    """Ways to segment the test images of a config.

    Args:
        mode: Which of :data:`MODES` to run.
        sizes: Longest sides that images and masks are resized to, in pixels, ``'512,1024'``; None for images as they
            are.
        max_memory: What the program may take in strips, such as ``'4GB'``; None for half of what is free.

    Raises:
        SagaError: An option is not in order.
    """

    def __init__(
        self, mode: Sequence[str] = MODES, sizes: str | None = None, max_memory: str | int | None = None
    ) -> None:
        self.modes, self.max_memory = mode, memory_size(max_memory)
        try:
            self.sizes = [int(side) for side in sizes.split(',')] if sizes else []
        except ValueError:
            self.sizes = [0]
        if any(side < 1 for side in self.sizes):
            raise ArgumentError('sizes', sizes, 'name longest sides in pixels, such as 512,1024')

    def run(self, model: Trained, place: Place) -> Comparison:
        """Segment all images in every mode and size.

        Raises:
            SagaError: Config and weights are not in order, or the memory is too small for strips.
        """
        cfg = model.cfg
        segmenter = Segmenter(model, max_memory=self.max_memory, **place._asdict())
        images = _Images(cfg)
        run = {
            'whole': segment_whole,
            'slide': segment_slide,
            'strips': lambda model, image: np.concatenate(list(segment_strips(model, image, self.max_memory))),
        }
        count = len(segmenter.classes)
        found: dict[tuple[int | None, str], list[tuple]] = {}
        jobs = [(size, mode, i) for size in self.sizes or (None,) for mode in self.modes for i in range(len(images))]
        for size, mode, i in progress_bar(jobs, len(jobs), 'segmenting'):
            image, mask = _resized(*images(i), size)
            # so that the peak is that of this picture alone
            # the peak that is read afterwards is that of this picture in this mode alone
            release_memory()
            start = time.perf_counter()
            labels = run[mode](segmenter.model, image)
            seconds, peak = time.perf_counter() - start, peak_bytes()
            # areas add up over pictures; an IoU of each, averaged, would weigh small pictures as large ones
            areas = IoUMetric.intersect_and_union(torch.from_numpy(labels), torch.from_numpy(mask), count, 255)
            found.setdefault((size, mode), []).append((areas, seconds, peak))
        rows = []
        for (size, mode), results in found.items():
            areas, seconds, peaks = zip(*results)
            # areas of all pictures are summed before they are divided, as by mmseg
            figures = IoUMetric.total_area_to_metrics(*(sum(parts) for parts in zip(*areas)), metrics=['mIoU'])
            # a class that neither masks nor answers have is NaN, and no part of the mean
            miou = 100 * float(np.nanmean(figures['IoU']))
            rows.append(Row(size, mode, miou, float(np.median(seconds)), max(peaks) / 2**30))
        return Comparison(rows, segmenter)


def segment_whole(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """Labels ``(H, W)`` of an RGB image by one pass; scores of all classes are brought to its size row by row."""
    rows = prepare_rows(image, model)
    with torch.no_grad():
        scores = model.decode_head(model.extract_feat(rows.plane(0, rows.height)))
        kept = MemoryRows(scores.permute(0, 2, 3, 1))
        return np.concatenate([part[0].cpu().numpy() for part in label_rows(model.decode_head, kept, image.shape[:2])])


def segment_slide(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """Labels ``(H, W)`` of an RGB image by mmseg's sliding window: the config's, or 512 pixels by steps of 384."""
    rows = prepare_rows(image, model)
    given = model.test_cfg
    # slide_inference reads its windows there; a config of whole pictures has none
    model.test_cfg = type(given)({**CROP, **given})
    try:
        with torch.no_grad():
            meta = {'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}
            scores = model.slide_inference(rows.plane(0, rows.height), [meta])
    finally:
        model.test_cfg = given
    labels = scores.argmax(1) if scores.shape[1] > 1 else (scores.sigmoid() > model.decode_head.threshold).squeeze(1)
    return labels[0].cpu().numpy().astype(np.int64)


class _Images:
    """Test images, RGB, and their masks, by number."""

    def __init__(self, cfg: Config) -> None:
        leaf = next(leaf_datasets(cfg.test_dataloader.dataset))
        with DefaultScope.overwrite_default_scope('mmseg'):
            self.dataset = DATASETS.build(leaf)
            # loaders alone: a Resize of the pipeline would change what --sizes compares
            steps = [step for step in leaf['pipeline'] if str(step['type']).rpartition('.')[2] in LOADERS]
            self.load = Compose(steps)

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        loaded = self.load(self.dataset.get_data_info(index))
        return np.ascontiguousarray(loaded['img'][..., ::-1]), loaded['gt_seg_map'].astype(np.int64)


def _resized(image: np.ndarray, mask: np.ndarray, side: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Both with the longest side at ``side`` pixels."""
    if side is None or side == max(mask.shape):
        return image, mask
    size = tuple(max(1, round(length * side / max(mask.shape))) for length in mask.shape[::-1])
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if side < max(mask.shape) else cv2.INTER_LINEAR)
    return image, cv2.resize(mask.astype(np.int32), size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int64)


def _plot(rows: list[Row], path: Path) -> Path:
    figure = Figure(figsize=(12, 3.6), layout='constrained')
    panels = figure.subplots(1, 3)
    titles = {'miou': 'mIoU', 'seconds': 'seconds an image', 'peak_gib': 'peak memory, GiB'}
    for axes, (name, title) in zip(panels, titles.items()):
        for mode in dict.fromkeys(row.mode for row in rows):
            points = [(str(row.size or 'as it is'), getattr(row, name)) for row in rows if row.mode == mode]
            axes.plot(*zip(*points), marker='o', label=mode)
        axes.set(title=title, xlabel='longest side, pixels', yscale='linear' if name == 'miou' else 'log')
        axes.grid(alpha=0.3)
    panels[0].legend()
    write_image(path, figure.savefig, dpi=110)
    return path
