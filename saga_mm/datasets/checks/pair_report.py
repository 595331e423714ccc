"""Draw pages of dark pictures beside their bright ones, as a model is given them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saga_mm.datasets.checks.survey import scale_to
from saga_mm.display.fonts import plot_text
from saga_mm.errors import SagaError
from saga_mm.files import make_folder, write_image
from saga_mm.registry import DATASETS

PER_PAGE = 24
COLUMNS = 4
SIDE = 320


def plot_pairs(dataset: Mapping[str, Any], path: Path, number: int = PER_PAGE) -> list[Path]:
    """Draw what the pipeline of a data set makes into one or several image files, 24 pairs in each.

    Args:
        dataset: The config of the data set.
        path: The first file; the others are named ``NAME_2``, ``NAME_3``, ...
        number: How many pairs, taken at even distances.

    Returns:
        The files; none if no pair can be shown.
    """
    pairs = list(_load(dataset, number))
    pages = []
    for start in range(0, len(pairs), PER_PAGE):
        target = path.with_stem(f'{path.stem}_{len(pages) + 1}') if pages else path
        pages.append(_draw_page(pairs[start : start + PER_PAGE], target))
    return pages


def _load(dataset: Mapping[str, Any], number: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pictures, ``(h, w, 3)`` uint8 RGB, dark and bright side by side."""
    built = DATASETS.build(dict(dataset))
    for index in np.linspace(0, len(built) - 1, min(number, len(built))).round().astype(int):
        try:
            data = built[int(index)]
        except SagaError:
            continue
        sample = data['data_samples']
        images = [data['inputs'], *([sample.gt_img] if 'gt_img' in sample else [])]
        yield Path(sample.img_path).name, np.hstack([scale_to(_rgb(image), SIDE) for image in images])


def _rgb(image: torch.Tensor) -> np.ndarray:
    """A packed image, ``(3, H, W)`` BGR, as ``(H, W, 3)`` RGB."""
    return np.ascontiguousarray(image.flip(0).permute(1, 2, 0).numpy())


def _draw_page(pairs: list[tuple[str, np.ndarray]], path: Path) -> Path:
    from matplotlib.figure import Figure

    make_folder(path.parent)
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    shape = np.median([image.shape[0] / image.shape[1] for _, image in pairs]).clip(0.15, 1.5)
    figure = Figure(figsize=(4 * columns, (4 * shape + 0.3) * rows), layout='constrained')
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis('off')
    for axes, (name, image) in zip(figure.axes, pairs):
        axes.imshow(image)
        axes.set_title(plot_text(name[-40:]), fontsize=7)
    write_image(path, figure.savefig, dpi=100)
    return path
