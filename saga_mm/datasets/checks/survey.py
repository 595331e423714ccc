"""The result of a survey of a data set: counts, sizes, problems, and pictures to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np

from saga_mm.images.opencv import read_for_training

from .problems import Problems


class Box(NamedTuple):
    """A box in pixels and the index of its class."""

    left: float
    top: float
    right: float
    bottom: float
    label: int


class Sample(NamedTuple):
    """An image with what is known of it, small enough to be shown.

    Attributes:
        name: Its file.
        image: ``(h, w, 3)`` uint8 RGB, as it is loaded for training.
        ids: ``(h, w)`` int16 of class indices; -1 where there is nothing to learn, the number of classes where a mask
            has an id that is no class.
        boxes: Of its objects; none in semantic segmentation.
    """

    name: str
    image: np.ndarray
    ids: np.ndarray
    boxes: Sequence[Box] = ()


@dataclass
class Survey:
    """A data set as it was found; ``str()`` of it is a paragraph to print.

    Attributes:
        source: Its annotation file, or the folder of its images.
        unit: What is counted, ``'objects'`` or ``'pixels'``.
        per_class: How many of each class, by name in the order of the labels.
        images_per_class: In how many images each class occurs.
        rest: Other counts of the same unit, by name.
        sizes: ``(width, height)`` of every image of which it is known.
        num_images: All images.
        palette: A colour for each class, or nothing.
        problems: What stops a training or spoils it.
        warnings: What one should know.
        samples: What ``load`` takes, one for each image that can be shown.
        load: Makes a :class:`Sample`, its longer side at most the given number of pixels.
    """

    source: str
    unit: str
    per_class: dict[str, int]
    images_per_class: dict[str, int]
    sizes: list[tuple[int, int]]
    num_images: int
    palette: Sequence[Sequence[int]]
    problems: Problems
    warnings: Problems
    load: Callable[[Any, int], Sample]
    rest: dict[str, int] = field(default_factory=dict)
    samples: Sequence[Any] = ()

    @property
    def total(self) -> int:
        """All that was counted, whether it has a class or not."""
        return sum(self.per_class.values()) + sum(self.rest.values())

    def size_range(self) -> tuple[tuple[int, int], ...]:
        """The sizes of least, middle and most pixels; nothing if there is none."""
        ordered = sorted(self.sizes, key=lambda size: size[0] * size[1])
        return (ordered[0], ordered[len(ordered) // 2], ordered[-1]) if ordered else ()

    def __str__(self) -> str:
        sizes = ' to '.join(f'{w} x {h}' for w, h in dict.fromkeys(self.size_range()[::2]))
        text = f'{self.source}: {self.num_images:,} images of {sizes} pixels'
        if self.total:
            few, many = (choose(self.per_class, key=self.per_class.get) for choose in (min, max))
            shares = [f'{100 * self.per_class[name] / self.total:.2g} % ({name})' for name in (few, many)]
            text += f', {len(self.per_class)} classes, from {shares[0]} to {shares[1]} of the {self.unit}'
        return '\n- '.join([f'{text}.', *self.warnings.lines()])


def scale_to(image: np.ndarray, side: int, smooth: bool = True) -> np.ndarray:
    """Shrink an image to a longer side of ``side`` pixels; a smaller one is returned as it is.

    Args:
        image: ``(h, w)`` or ``(h, w, channels)``.
        side: Pixels.
        smooth: Average what falls together; else take one of it, for class indices.
    """
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)


def read_shown(path: str, ignore_orientation: bool = False) -> np.ndarray:
    """An image as ``(h, w, 3)`` uint8 RGB, as the stack loads it by default.

    Raises:
        SagaError: It cannot be loaded.
    """
    return np.ascontiguousarray(read_for_training(path, ignore_orientation)[..., ::-1])
