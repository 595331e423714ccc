"""What becomes of a prediction on a user's picture: files, and an entry in a list."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saga_mm.display.drawing import OutputNames, draw_maps, draw_objects, save_map
from saga_mm.display.overlay import class_shares
from saga_mm.display.progress import progress_meter
from saga_mm.errors import SagaError
from saga_mm.images.large import RowReader, decoding_bytes, open_rows
from saga_mm.images.large_writer import write_rows
from saga_mm.images.notes import read_geo, write_world_file
from saga_mm.images.pictures import read_picture
from saga_mm.rows import watch_rows
from saga_mm.rows.device_memory import used_bytes
from saga_mm.tasks.segmentation.strips import segment_strips

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

    from saga_mm.tasks.detection.detector import Detector
    from saga_mm.tasks.predictor import Predictor
    from saga_mm.tasks.segmentation.segmenter import Segmenter

MAPS = 'maps'
LARGEST_DRAWN = 2048
# seconds before a picture gets a bar of its own, and the part of the time before its first row is written
DELAY, MODEL_SHARE = 2.0, 0.9


class Writer:
    """Predicts pictures and writes what was found into a folder.

    Args:
        predictor: The model.
        out: The folder.
        root: Folder that the names of pictures are taken relative to.
        pictures: All pictures.
    """

    def __init__(self, predictor: Predictor, out: Path, root: Path, pictures: list[Path]) -> None:
        self.predictor = predictor
        self.out = out
        self.drawn = OutputNames(out, root, inputs=pictures)

    def head(self) -> dict[str, Any]:
        """What is the same for all pictures."""
        return {'classes': list(self.predictor.classes)}

    def write(self, picture: Path) -> dict[str, Any]:
        """Predict one picture, write the results and return its entry in the list."""
        raise NotImplementedError

    def summary(self, done: list[dict[str, Any]]) -> str:
        """What was done, for the screen."""
        raise NotImplementedError


class DetectionWriter(Writer):
    """Draws objects and lists them; below the lowest score they are neither drawn nor listed."""

    predictor: Detector

    def __init__(self, predictor: Detector, out: Path, root: Path, pictures: list[Path], score_thr: float) -> None:
        super().__init__(predictor, out, root, pictures)
        from mmdet.visualization import DetLocalVisualizer

        self.score_thr, self.highest = score_thr, 0.0
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


class SegmentationWriter(Writer):
    """Lays classes over pictures and saves them as maps: PNG files whose pixels are indices into ``classes``.

    A large picture whose size the config keeps is read, segmented and saved in strips of rows, so that it may be larger
    than memory. What is drawn of it is reduced to ``LARGEST_DRAWN`` pixels a side.

    Args:
        own_size: Segment all pictures so, whatever the config resizes them to.
    """

    predictor: Segmenter

    def __init__(self, predictor: Segmenter, out: Path, root: Path, pictures: list[Path], own_size: bool) -> None:
        super().__init__(predictor, out, root, pictures)
        self.maps = OutputNames(out / MAPS, root, suffix='.png', inputs=pictures)
        self.own_size = own_size

    def write(self, picture: Path) -> dict[str, Any]:
        self._require_memory(picture)
        if not self.own_size and not self.predictor.keeps_size:
            return self._write_whole(picture, read_picture(picture))
        with open_rows(picture) as rows:
            if self.own_size or self.predictor.is_large(rows.height, rows.width):
                return self._write_rows(picture, rows)
            image = np.ascontiguousarray(rows.read(0, rows.height)[..., ::-1])
        return self._write_whole(picture, image)

    def _require_memory(self, picture: Path) -> None:
        """Refuse a picture that is decoded whole with more than the program may take, before it is."""
        budget = getattr(self.predictor, 'budget', None)
        if budget is None:
            return
        need, used = decoding_bytes(picture), used_bytes(torch.device('cpu'))
        if need and used + need > budget.allowed:
            raise SagaError(
                f'{picture}: is decoded whole, which takes about {need / 2**20:,.0f}MB beside {used / 2**20:,.0f}MB in '
                f'use, and the program may take {budget.allowed / 2**20:,.0f}MB; save it as JPEG, PNG or TIFF, upright'
            )

    def _write_whole(self, picture: Path, image: np.ndarray) -> dict[str, Any]:
        found = self.predictor(image)
        metainfo = self.predictor.metainfo
        drawn, target = self.drawn.path_for(picture), self.maps.path_for(picture)
        draw_maps(image, [found], metainfo, drawn)
        save_map(found, metainfo['palette'], target)
        return self._entry(picture, drawn, target, image.shape[:2], class_shares(found, len(self.predictor.classes)))

    def _write_rows(self, picture: Path, rows: RowReader) -> dict[str, Any]:
        drawn, target = self.drawn.path_for(picture), self.maps.path_for(picture)
        count, metainfo = len(self.predictor.classes), self.predictor.metainfo
        pixels, small, start = np.zeros(count, np.int64), [], 0
        size = rows.height, rows.width
        step = -(-max(size) // LARGEST_DRAWN)
        with (
            open_rows(picture) as again,
            write_rows(target, *size, metainfo['palette']) as maps,
            _rows_shown(picture, rows.height) as show,
        ):
            for labels in segment_strips(self.predictor.model, rows, self.predictor.budget, self.out):
                maps.write(labels)
                pixels += np.bincount(labels.ravel(), minlength=count)[:count]
                shown = again.read(start, start + len(labels))
                first = -start % step
                # copies, so that no view keeps a strip alive
                small.append((shown[first::step, ::step, ::-1].copy(), labels[first::step, ::step].copy()))
                start += len(labels)
                show(start)
        image, found = (np.concatenate(parts) for parts in zip(*small))
        draw_maps(np.ascontiguousarray(image), [found], metainfo, drawn)
        return self._entry(picture, drawn, target, size, (pixels / pixels.sum()).tolist())

    def _entry(
        self, picture: Path, drawn: Path, target: Path, size: tuple[int, int], shares: list[float]
    ) -> dict[str, Any]:
        # where a map lies is said in a file beside it
        world = write_world_file(target, read_geo(picture))
        return {
            'drawn': os.path.relpath(drawn, self.out),
            'map': os.path.relpath(target, self.out),
            **({'world': os.path.relpath(world, self.out)} if world else {}),
            'width': size[1],
            'height': size[0],
            'shares': {name: round(share, 4) for name, share in zip(self.predictor.classes, shares) if share},
        }

    def summary(self, done: list[dict[str, Any]]) -> str:
        return f'{len(done)} picture{"s" * (len(done) != 1)} segmented; drawn pictures, class maps ({MAPS}/)'


@contextmanager
def _rows_shown(picture: Path, height: int) -> Iterator[Callable[[int], None]]:
    """A bar of as many rows as a picture has, moved by the model and then by the number of rows that are written."""
    with (
        progress_meter(height, picture.name, DELAY) as show,
        watch_rows(lambda share: show(MODEL_SHARE * share * height)),
    ):
        yield lambda rows: show(MODEL_SHARE * height + (1 - MODEL_SHARE) * rows)


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
