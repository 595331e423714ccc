"""Write pictures of predictions under names that do not collide."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.fileio import get
from mmengine.hooks import Hook
from PIL import Image, ImageDraw

from saga_mm.display.fonts import drawn_names, pillow_font
from saga_mm.display.overlay import overlay, with_legend
from saga_mm.errors import SagaError
from saga_mm.files import write_image
from saga_mm.images.opencv import is_misread, read_for_training

# bytes a pixel of a picture that is saved with a legend: itself, with the legend, and their copy in the encoder
SAVING_BYTES = 12
# rows that classes are laid over at a time
ROWS = 256


class OutputNames:
    """Paths of output pictures inside one folder: those of the inputs, none twice, and none an input itself.

    Args:
        out_dir: The folder.
        root: The folder that the inputs' names are taken relative to.
        suffix: What the outputs end with.
        inputs: All inputs, where they are known beforehand.
    """

    def __init__(
        self, out_dir: str | Path, root: str | Path, suffix: str = '.jpg', inputs: Iterable[str | Path] = ()
    ) -> None:
        self.out_dir = Path(out_dir)
        self.root = Path(os.path.abspath(root))
        self.suffix = suffix
        # disks of macOS and Windows take names for equal that differ in capitals or composed letters alone
        self._taken: set[str] = set()
        self._inputs = {Path(path).resolve() for path in inputs}

    def path_for(self, image: str | Path) -> Path:
        """Where the picture for ``image`` goes; its folder is made.

        Raises:
            SagaError: The output would lie outside the folder or replace an input.
        """
        source = Path(os.path.abspath(image))
        name = source.relative_to(self.root) if source.is_relative_to(self.root) else Path(source.name)
        relative = next(found for found in self._candidates(name) if _plain(found) not in self._taken)
        self._taken.add(_plain(relative))
        target = self.out_dir / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        final = target.resolve()
        if not final.is_relative_to(self.out_dir.resolve()):
            raise SagaError(f'{target}: is a link that leads out of {self.out_dir}; choose another folder')
        if final == source.resolve() or final in self._inputs:
            raise SagaError(f'{target}: is one of the images themselves; choose another folder')
        return target

    def _candidates(self, name: Path) -> Iterator[Path]:
        yield name.with_suffix(self.suffix)
        # a.png and a.tif of one folder, or equal names of two
        yield name.with_name(f'{name.stem}_{name.suffix[1:]}{self.suffix}')
        yield from (name.with_name(f'{name.stem}_{index}{self.suffix}') for index in count(2))


def _plain(name: Path) -> str:
    return unicodedata.normalize('NFC', str(name)).casefold()


class DrawHook(Hook):
    """Draws what a test finds beside the ground truth, one picture an image.

    Args:
        out_dir: Where the pictures go.
        image_root: Folder of the images.
        draw: Called with the runner's visualizer, a data sample, the RGB image and the path to draw to.
        image_of: Called with a data sample and what was packed of its image, for the RGB image.
    """

    def __init__(
        self, out_dir: str | Path, image_root: str | Path, draw: Callable[..., None], image_of: Callable[..., Any]
    ) -> None:
        self.names = OutputNames(out_dir, image_root)
        self.draw, self.image_of = draw, image_of

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for sample, inputs in zip(outputs, data_batch['inputs'], strict=True):
            image = self.image_of(sample, inputs)
            self.draw(runner.visualizer, sample, image, self.names.path_for(sample.img_path))


def draw_objects(visualizer: Any, sample: Any, image: Any, path: Path, score_thr: float, draw_gt: bool) -> None:
    """Draw a data sample of mmdet's on an RGB image and save it; the ground truth beside it if asked."""
    options = {'pred_score_thr': score_thr} if 'pred_instances' in sample else {}
    meta = visualizer.dataset_meta
    visualizer.dataset_meta = {**meta, 'classes': drawn_names(meta['classes'])}
    try:
        visualizer.add_datasample(
            path.name, image, sample, draw_gt=draw_gt, show=False, out_file=os.fspath(path), **options
        )
    finally:
        visualizer.dataset_meta = meta


def draw_maps(image: np.ndarray, maps: Sequence[np.ndarray], metainfo: Mapping[str, Any], path: Path) -> None:
    """Lay class maps over an RGB image, one picture for each beside the other, and save them with a legend below.

    Args:
        image: ``(H, W, 3)`` uint8.
        maps: Class maps ``(H, W)``.
        metainfo: ``classes`` and ``palette``.
        path: Where to save.
    """
    height, width = image.shape[:2]
    drawing = MapDrawing(height, len(maps) * width, metainfo)
    for number, each in enumerate(maps):
        drawing.add(image, each, left=number * width)
    drawing.save(path)


class MapDrawing:
    """A picture with class maps laid over it, which grows by rows from the top and is saved with a legend below.

    Args:
        height: Rows.
        width: Columns.
        metainfo: ``classes`` and ``palette``.

    Attributes:
        held_bytes: About how much it takes until it is saved.
    """

    def __init__(self, height: int, width: int, metainfo: Mapping[str, Any]) -> None:
        self.classes, self.palette = metainfo['classes'], metainfo['palette']
        self.picture = np.empty((height, width, 3), np.uint8)
        self.shares = np.zeros(len(self.classes), np.int64)
        self.held_bytes = SAVING_BYTES * height * width

    def add(self, image: np.ndarray, classes: np.ndarray, top: int = 0, left: int = 0) -> None:
        """Lay a map ``(h, w)`` over a part ``(h, w, 3)``, uint8 RGB, and put it where it belongs."""
        height, width = classes.shape
        for start in range(0, height, ROWS):
            part = slice(start, start + ROWS)
            drawn = overlay(np.ascontiguousarray(image[part]), classes[part], self.palette)
            self.picture[top + start : top + start + len(drawn), left : left + width] = drawn
            self.shares += np.bincount(classes[part].ravel(), minlength=len(self.classes))[: len(self.classes)]

    def save(self, path: Path) -> None:
        """Save as the kind of picture that the path's ending names; the classes that are met are named below."""
        shown = [index for index in np.argsort(-self.shares, kind='stable') if self.shares[index]]
        names, colours = [self.classes[index] for index in shown], [self.palette[index] for index in shown]
        write_image(path, with_legend(self.picture, names, colours).save, quality=92)


def draw_beside(pictures: Mapping[str, np.ndarray], path: Path) -> None:
    """Save RGB pictures ``(H, W, 3)`` of one size beside each other, with their names above them."""
    height, width = next(iter(pictures.values())).shape[:2]
    size = min(32, max(11, width // 20))
    canvas = Image.new('RGB', (len(pictures) * width, height + 2 * size), 'white')
    draw = ImageDraw.Draw(canvas)
    for index, (name, picture) in enumerate(pictures.items()):
        canvas.paste(Image.fromarray(picture), (index * width, 2 * size))
        draw.text((index * width + size // 2, size // 3), name, fill='black', font=pillow_font(name, size))
    write_image(path, canvas.save, quality=92)


def save_map(classes: np.ndarray, palette: Sequence[Sequence[int]], path: Path) -> None:
    """Save a class map ``(H, W)`` as PNG: of up to 256 classes with their colours, of more with 16 bits."""
    if classes.dtype != np.uint8:
        write_image(path, Image.fromarray(classes.astype(np.uint16)).save)
        return
    picture = Image.fromarray(classes)
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    write_image(path, picture.save)


def read_rgb(path: str) -> Any:
    """An image as RGB, read as the stack reads it."""
    if is_misread(path):
        return read_for_training(path)[..., ::-1].copy()
    return mmcv.imfrombytes(get(path), channel_order='rgb')
