"""Predictions of segmentors: class maps, laid over the pictures and saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saga_mm.display.drawing import MapDrawing, draw_maps, save_map
from saga_mm.display.overlay import class_shares
from saga_mm.display.progress import progress_meter
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import Draft, write_error
from saga_mm.images.large import RowReader, decoding_bytes, open_rows, pixel_count
from saga_mm.images.large_writer import write_rows
from saga_mm.images.notes import read_geo, write_world_file
from saga_mm.images.pictures import read_picture
from saga_mm.parallel import Mesh, gather_objects
from saga_mm.rows import watch_rows
from saga_mm.rows.device_memory import used_bytes
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.prediction import Pictures, Prediction, Writer
from saga_mm.tasks.predictor import Place
from saga_mm.tasks.segmentation.bands import segment_bands
from saga_mm.tasks.segmentation.segmenter import ONE_PIECE, Segmenter
from saga_mm.tasks.segmentation.strips import label_type, segment_strips

if TYPE_CHECKING:
    from saga_mm.loading.trained import Trained

MAPS = 'maps'
# bytes a pixel of a picture that is read, labelled, drawn and saved in one piece
WHOLE_BYTES = 40
# seconds before a picture gets a bar of its own, and the part of the time before its first row is written
DELAY, MODEL_SHARE = 2.0, 0.9
# bytes of a map that are read at once from what a process has written
STITCHED = 2**24


class SegmentationPrediction(Prediction):
    """A class for each pixel.

    Args:
        max_memory: What the program may take, such as ``'4GB'``; None for half of what is free.
        own_size: Leave out a ``Resize`` of the config's test pipeline.
    """

    def __init__(self, max_memory: str | int | None = None, own_size: bool = False) -> None:
        self.max_memory, self.own_size = memory_size(max_memory), own_size

    def writer(self, model: Trained, place: Place, pictures: Pictures) -> SegmentationWriter:
        segmenter = Segmenter(model, max_memory=self.max_memory, **place._asdict())
        return SegmentationWriter(segmenter, pictures, self.own_size)


class ExportedPrediction(Prediction):
    """The same by an exported segmentor, which takes the place of config and checkpoint.

    Args:
        max_memory: Refused, since there are no strips.
        own_size: Refused, since the file holds what its config does to pictures.
    """

    def __init__(self, max_memory: str | int | None = None, own_size: bool = False) -> None:
        if max_memory is not None:
            raise ArgumentError('max_memory', max_memory, ONE_PIECE)
        if own_size:
            raise SagaError('--own-size: goes with config and checkpoint; an exported file does as its config says')

    def writer(self, model: str, place: Place, pictures: Pictures) -> SegmentationWriter:
        return SegmentationWriter(Segmenter(model, **place._asdict()), pictures, own_size=False)


class SegmentationWriter(Writer):
    """Lays classes over pictures and saves them as maps: PNG files whose pixels are indices into ``classes``.

    A large picture whose size the config keeps is read, segmented and saved in strips of rows, so that it may be larger
    than memory. What is drawn of it is reduced to ``largest_drawn`` pixels a side.

    Args:
        own_size: Segment all pictures so, whatever the config resizes them to.
    """

    predictor: Segmenter
    largest_drawn: int = 2048

    def __init__(self, predictor: Segmenter, pictures: Pictures, own_size: bool) -> None:
        super().__init__(predictor, pictures)
        self.maps = pictures.names(MAPS, '.png')
        self.own_size = own_size
        self.mesh: Mesh | None = None

    def share(self, mesh: Mesh) -> None:
        if not self.own_size and not self.predictor.keeps_size:
            raise SagaError('--own-size: is needed to divide a picture over processes, as the config resizes pictures')
        if self.predictor.exported is not None:
            raise SagaError('an exported segmentor does a picture in one piece; start one process, or name a folder')
        self.mesh = mesh

    def write(self, picture: Path) -> dict[str, Any]:
        self._require_memory(picture)
        if self.mesh is not None:
            with open_rows(picture) as rows:
                return self._write_bands(picture, rows, self.mesh)
        if not self.own_size and not self.predictor.keeps_size:
            self._require_whole(picture)
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

    def _require_whole(self, picture: Path) -> None:
        """Refuse a picture that is resized for the model, and so read and drawn in one piece, beyond a given limit."""
        budget = getattr(self.predictor, 'budget', None)
        if budget is None or not budget.is_given:
            return
        need, used = WHOLE_BYTES * pixel_count(picture), used_bytes(torch.device('cpu'))
        if used + need > budget.allowed:
            raise SagaError(
                f'{picture}: is done in one piece, since the config resizes it; that takes about {need / 2**20:,.0f}MB '
                f'beside {used / 2**20:,.0f}MB in use, and the program may take {budget.allowed / 2**20:,.0f}MB; '
                '--own-size does it in strips'
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
        pixels, start = np.zeros(count, np.int64), 0
        size = rows.height, rows.width
        step = -(-max(size) // self.largest_drawn)
        drawing = MapDrawing(*(-(-side // step) for side in size), metainfo)
        with (
            # what is in memory is not decoded once more
            nullcontext(rows) if rows.is_decoded else open_rows(picture) as again,
            write_rows(target, *size, metainfo['palette']) as maps,
            _rows_shown(picture, rows.height) as show,
        ):
            held = drawing.held_bytes + (0 if again is rows else again.held_bytes)
            for labels in segment_strips(self.predictor.model, rows, self.predictor.budget, self.out, held):
                maps.write(labels)
                pixels += np.bincount(labels.ravel(), minlength=count)[:count]
                shown = again.read(start, start + len(labels))
                # every step-th row of the picture is drawn, counted from its top, wherever strips begin
                first = -start % step
                drawing.add(shown[first::step, ::step, ::-1], labels[first::step, ::step], -(-start // step))
                start += len(labels)
                show(start)
        drawing.save(drawn)
        return self._entry(picture, drawn, target, size, (pixels / pixels.sum()).tolist())

    def _write_bands(self, picture: Path, rows: RowReader, mesh: Mesh) -> dict[str, Any]:
        """As :meth:`_write_rows`, together; the first process makes one map of the bands that all have written."""
        drawn, target = self.drawn.path_for(picture), self.maps.path_for(picture)
        model, budget = self.predictor.model, self.predictor.budget
        count, size = len(self.predictor.classes), (rows.height, rows.width)
        step, pixels, small, first = -(-max(size) // self.largest_drawn), np.zeros(count, np.int64), [], None
        part = Draft(target)
        try:
            with (
                part.temporary.open('wb') as file,
                open_rows(picture) as again,
                _rows_shown(picture, rows.height // mesh.bands) if mesh.index == 0 else nullcontext(int) as show,
            ):
                memory = int(budget.allowed) if budget.is_given else None
                for start, labels in segment_bands(model, rows, mesh, memory, self.out):
                    first = start if first is None else first
                    file.write(np.ascontiguousarray(labels).data)
                    pixels += np.bincount(labels.ravel(), minlength=count)[:count]
                    shown, skip = again.read(start, start + len(labels)), -start % step
                    small.append((shown[skip::step, ::step, ::-1].copy(), labels[skip::step, ::step].copy()))
                    show(start + len(labels) - first)
            bands = gather_objects(mesh, (part.temporary, pixels, small))
            if mesh.index == 0:
                pixels = sum(band[1] for band in bands)
                self._stitch([band[0] for band in bands], target, size)
                image, found = (np.concatenate(parts) for parts in zip(*(pair for band in bands for pair in band[2])))
                draw_maps(np.ascontiguousarray(image), [found], self.predictor.metainfo, drawn)
            # the bands stay until the first process has read them
            gather_objects(mesh, None)
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            part.discard()
        if mesh.index:
            return {}
        return self._entry(picture, drawn, target, size, (pixels / pixels.sum()).tolist())

    def _stitch(self, parts: list[Path], target: Path, size: tuple[int, int]) -> None:
        kind = np.dtype(label_type(self.predictor.model))
        rows = max(STITCHED // (size[1] * kind.itemsize), 1)
        with write_rows(target, *size, self.predictor.metainfo['palette']) as maps:
            for part in parts:
                with part.open('rb') as file:
                    while data := file.read(rows * size[1] * kind.itemsize):
                        maps.write(np.frombuffer(data, kind).reshape(-1, size[1]))

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
