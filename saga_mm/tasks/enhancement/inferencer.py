"""Enhance arrays, PIL images, photographs and folders."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saga_mm.engines import use_engine
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import user_path
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.models.enhancement.weight_files import load_weights
from saga_mm.onnx.file import is_onnx
from saga_mm.rows import MemoryBudget
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.device import find_device
from saga_mm.tasks.enhancement.exported import ExportedEnhancer

from .strips import RgbRows, enhance_strips
from .wanted import AUTO, wanted_finish

if TYPE_CHECKING:
    from PIL.Image import Image

# modes of Pillow whose arrays are taken as they are
TAKEN = ('L', 'LA', 'RGB', 'RGBA')
# in the licence of weights, what is said where they are used
RESEARCH = 'research only'


class LowLightInferencer:
    """Brightens photographs taken in low light.

    Images of any size are done at their own size: in one piece where the memory allows it, else in strips with the same
    result. An enhancer that was exported to ONNX runs under ONNX Runtime, always in one piece.

    Args:
        weights: Weights that come with the package, ``'base'``, ``'tiny'``, ``'lol'`` or ``'lol-tiny'`` (for research
            only, which is said on the screen), or a file of one's own: weights (``saga-mm publish`` makes them of a
            training's checkpoint), or an ``.onnx`` file (of ``saga-mm export``).
        device: Where to run, such as ``'cuda:0'``; by default a GPU if there is one.
        max_memory: What the program may take, libraries included (on a GPU: of its memory), such as ``'2GB'``; None for
            half of what is free.
        engine: ``'torch'``, ``'openvino'``, or ``'auto'``: OpenVINO on a CPU, where the work is worth its start.
        precision: ``'f32'``, or ``'bf16'`` for products in bfloat16, by OpenVINO alone.

    Attributes:
        model: The :class:`LowLightEnhancer`, or the :class:`ExportedEnhancer` of an ``.onnx`` file.
        budget: The memory that images are run in; ``budget.explain()`` says how the last one was.

    Raises:
        SagaError: Weights, device or memory are not in order.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] = 'base',
        device: str | None = None,
        max_memory: str | int | None = None,
        engine: str = 'auto',
        precision: str = 'f32',
    ) -> None:
        memory = memory_size(max_memory)
        if is_onnx(weights):
            for name, value, usual in (('engine', engine, 'auto'), ('precision', precision, 'f32')):
                if value != usual:
                    raise ArgumentError(name, value, f'{weights} runs under ONNX Runtime; leave it out')
            self.model = ExportedEnhancer(weights, device)
            self.budget = MemoryBudget(torch.device('cpu'), memory)
            return
        self.device = find_device(device)
        model = load_weights(weights)
        if RESEARCH in model.licence.lower():
            print(f'weights {weights}: {model.licence}', file=sys.stderr, flush=True)
        self.model = use_engine(model.to(self.device), engine, precision)
        self.budget = MemoryBudget.of(self.model, memory)
        if self.budget.engine.name != 'torch':
            # a graph for one size is faster than strips as long as it fits
            self.budget.large = math.inf

    def __call__(
        self,
        image: Any,
        strength: float = 1.0,
        brightness: float | str = AUTO,
        match: str | os.PathLike[str] | None = None,
        denoise: float = 1.0,
    ) -> Any:
        """Enhance an image, or several.

        Args:
            image: One of

                - an array ``(H, W, 3)`` RGB, with a fourth channel for opacity, or gray, ``(H, W)``: uint8, uint16, or
                  floating point in [0, 1]
                - an image of Pillow's
                - a path of a photograph or of a folder: ``NAME_enhanced`` is written beside each photograph, as by
                  :meth:`save`, which can also be told where to write
                - a list of these
            strength: 0 gives the image as it is, 1 the model's answer, more brightens more.
            brightness: Mean luminance that the answer shall have, in (0, 1); ``'auto'`` for what the model predicts.
            match: A picture whose mean luminance is that.
            denoise: 1 for the model's answer, 0 to keep the image's own detail and noise.

        Returns:
            The same kind: an array of the same type and shape; a PIL image of the same mode, or RGB for modes such as
            palettes and CMYK; the path of the file ``NAME_enhanced.jpg`` that was written, or of the folder; a list.

        Raises:
            SagaError: The image or an option is not in order, no curve reaches the brightness, or the memory is too
                small.
        """
        return self._enhance(image, wanted_finish(strength, brightness, match, denoise))

    def _enhance(self, image: Any, finish: Finish) -> Any:
        if isinstance(image, (list, tuple)):
            return [self._enhance(one, finish) for one in image]
        if isinstance(image, (str, os.PathLike)):
            return self._save(image, finish)
        if isinstance(image, np.ndarray):
            return self._enhance_array(image, finish)
        if type(image).__module__.startswith('PIL.'):
            return self._enhance_pil(image, finish)
        raise SagaError(f'an image is an array, a PIL image or a path, not a {type(image).__name__}')

    def save(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str] | None = None,
        strength: float = 1.0,
        compare: bool = False,
        overwrite: bool = False,
        **options: Any,
    ) -> Path:
        """Enhance a photograph or a folder of them, file to file.

        Format, quality, bit depth, transparency, gray, EXIF and colour profile stay as they are.

        Args:
            source: A photograph or a folder, with the folders in it.
            out: The file or folder to write; without it, ``photo.jpg`` becomes ``photo_enhanced.jpg`` beside it.
            strength: As of a call.
            compare: Write ``NAME_compare.jpg`` as well, before and after side by side.
            overwrite: Replace files that exist.
            options: ``brightness``, ``match`` and ``denoise``, as of a call.

        Returns:
            What was written: the file, or the folder that holds the results.

        Raises:
            SagaError: A photograph could not be done, though all others are.
        """
        return self._save(source, wanted_finish(strength, **options), out, compare, overwrite)

    def _save(
        self,
        source: str | os.PathLike[str],
        finish: Finish,
        out: str | os.PathLike[str] | None = None,
        compare: bool = False,
        overwrite: bool = False,
    ) -> Path:
        # readers and writers of files are imported when a file is named
        from saga_mm.tasks.enhancement.photographs import save_photos

        return save_photos(self, user_path(source), out, finish, compare, overwrite)

    def strips(
        self, image: RgbRows, finish: Finish = AS_IT_IS, folder: str | Path | None = None, held_bytes: int = 0
    ) -> Iterator[np.ndarray]:
        """Rows of an image from top to bottom; see :func:`enhance_strips`."""
        if isinstance(self.model, ExportedEnhancer):
            return self.model.strips(image, finish, int(self.budget.allowed), held_bytes)
        return enhance_strips(self.model, image, finish, self.budget, folder, held_bytes)

    def _enhance_array(self, array: np.ndarray, finish: Finish) -> np.ndarray:
        from saga_mm.images.photo import is_grey
        from saga_mm.images.photo_writer import LUMA

        rows, out = _ArrayRows(array), array.copy()
        if finish.strength == 0:
            return out
        # a view: of gray (H, W), one channel
        colours, start = out.reshape(*out.shape[:2], -1)[..., : rows.colours], 0
        grey = rows.colours == 1 or is_grey(array)
        for answer in self.strips(rows, finish):
            if grey:
                answer = (answer @ LUMA)[..., None]
            if rows.highest != 1:
                answer = (answer * np.float32(rows.highest)).round()
            colours[start : start + len(answer)] = answer
            start += len(answer)
        return out

    def _enhance_pil(self, image: Image, finish: Finish) -> Image:
        from PIL import Image

        from saga_mm.images.photo import from_cmyk

        info = dict(image.info)
        if image.mode == 'F' or image.mode.startswith('I'):
            array = np.asarray(image)
            if array.dtype.kind != 'f':
                array = _of_16_bits(array)
        else:
            if image.mode in ('CMYK', 'LAB'):
                # it is of those colours
                info.pop('icc_profile', None)
            if image.mode not in TAKEN:
                clear = info.pop('transparency', None) is not None or image.mode in ('PA', 'La', 'RGBa')
                image = from_cmyk(image).convert('RGBA' if clear else 'RGB')
            array = np.asarray(image)
        result = Image.fromarray(self._enhance_array(array, finish))
        result.info.update(info)
        return result


def _of_16_bits(values: np.ndarray) -> np.ndarray:
    """Whole numbers of another type as uint16.

    Raises:
        SagaError: They are beyond 16 bits.
    """
    lowest, highest = int(values.min()), int(values.max())
    if not 0 <= lowest <= highest <= np.iinfo(np.uint16).max:
        raise SagaError(f'an image of {values.dtype} from {lowest} to {highest}: must be in 16 bits, 0 to 65535')
    return values.astype(np.uint16)


class _ArrayRows:
    """An array as rows of colours."""

    held_bytes = 0

    def __init__(self, array: np.ndarray) -> None:
        shape = array.shape
        if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and shape[2] not in (1, 2, 3, 4)):
            raise SagaError(f'an image of shape {shape}: must be (H, W, 3), or (H, W) for gray')
        if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != 'f':
            raise SagaError(f'an image of {array.dtype}: must be uint8, uint16, or floating point in [0, 1]')
        self.array, (self.height, self.width) = array.reshape(*shape[:2], -1), shape[:2]
        self.highest = 1 if array.dtype.kind == 'f' else np.iinfo(array.dtype).max
        self.colours = 3 if self.array.shape[2] > 2 else 1
        lowest, most = float(array.min()), float(array.max())
        if array.dtype.kind == 'f' and not 0 <= lowest <= most <= 1:
            raise SagaError(f'an image of {array.dtype} from {lowest:.4g} to {most:.4g}: must be in [0, 1]')

    def read(self, start: int, stop: int) -> np.ndarray:
        rows = self.array[start:stop, :, : self.colours].astype(np.float32) / np.float32(self.highest)
        return np.repeat(rows, 3, axis=2) if self.colours == 1 else rows
