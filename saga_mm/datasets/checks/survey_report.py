"""Report a survey: a table with a histogram, and pages of pictures with their labels drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from saga_mm.datasets.checks.survey import Sample, Survey
from saga_mm.display.fonts import plot_text
from saga_mm.display.overlay import overlay, palette
from saga_mm.display.table import format_table
from saga_mm.errors import SagaError
from saga_mm.files import make_folder, write_image

BAR = 30
PER_PAGE = 24
COLUMNS = 6
SIDE = 320
# more names than this do not fit below a page
MOST_NAMES = 59
NO_CLASS = (255, 0, 255)


def survey_text(survey: Survey) -> str:
    """What a data set holds, as text: images, sizes, and how much there is of each class."""
    sizes = [f'{width} x {height}' for width, height in survey.size_range()]
    if len(set(sizes)) > 1:
        sizes = [f'{size} ({name})' for size, name in zip(sizes, ('smallest', 'median', 'largest'))]
    head = f'{survey.source}\n{survey.num_images:,} images, {", ".join(dict.fromkeys(sizes)) or "none readable"}\n'
    if not survey.total:
        return f'{head}no {survey.unit} to count'
    counts = {**survey.per_class, **survey.rest}
    most = max(counts.values())
    numbers = [f'{count:,}' for count in counts.values()]
    width = max(map(len, [survey.unit, *numbers]))
    rows = [
        (
            name,
            number.rjust(width),
            f'{100 * count / survey.total:5.1f} %',
            f'{survey.images_per_class[name]:6,}' if name in survey.images_per_class else '',
            '#' * max(count > 0, round(BAR * count / most)),
        )
        for (name, count), number in zip(counts.items(), numbers)
    ]
    return f'{head}\n' + format_table(('class', survey.unit.rjust(width), '  share', 'images', ''), rows)


def plot_histogram(survey: Survey, path: Path) -> Path:
    """Draw how much there is of each class into an image file."""
    from matplotlib.figure import Figure

    make_folder(path.parent)
    names, counts = [plot_text(name) for name in survey.per_class], list(survey.per_class.values())
    figure = Figure(figsize=(9, 1.2 + 0.25 * len(names)), layout='constrained')
    axes = figure.subplots()
    bars = axes.barh(names, counts, color=np.array(_colours(survey)) / 255, edgecolor='0.3', linewidth=0.5)
    axes.bar_label(bars, [f'{100 * count / max(1, survey.total):.2g} %' for count in counts], padding=3, fontsize=8)
    axes.set(title=plot_text(survey.source), xlabel=survey.unit)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    write_image(path, figure.savefig, dpi=100)
    return path


def plot_overlays(survey: Survey, path: Path, number: int = PER_PAGE) -> list[Path]:
    """Draw images with their boxes and masks into one or several image files, 24 images in each.

    Classes are shown by their colours; what is not learned has none.

    Args:
        survey: The data set.
        path: The first file; the others are named ``NAME_2``, ``NAME_3``, ...
        number: How many images, taken at even distances.

    Returns:
        The files; none if no image can be shown.
    """
    count = min(number, len(survey.samples))
    chosen = np.linspace(0, len(survey.samples) - 1, count).round().astype(int) if count else []
    pages = []
    for start in range(0, count, PER_PAGE):
        target = path.with_stem(f'{path.stem}_{len(pages) + 1}') if pages else path
        samples = [sample for index in chosen[start : start + PER_PAGE] if (sample := _load(survey, index))]
        if samples:
            pages.append(_draw_page(samples, survey, target))
    return pages


def draw_sample(sample: Sample, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """A sample's image with its masks and boxes on it, ``(h, w, 3)`` uint8.

    Args:
        sample: The image and what is on it.
        colours: Of the classes; one more is for ids that are no class.
    """
    image = overlay(sample.image, sample.ids, colours)
    for box in sample.boxes:
        corners = [(round(box.left), round(box.top)), (round(box.right), round(box.bottom))]
        cv2.rectangle(image, *corners, [int(part) for part in colours[box.label]], 2)
    return image


def _load(survey: Survey, index: int) -> Sample | None:
    try:
        return survey.load(survey.samples[index], SIDE)
    except SagaError:
        return None


def _colours(survey: Survey) -> list[tuple[int, int, int]]:
    given = [tuple(colour) for colour in survey.palette]
    return given if len(given) == len(survey.per_class) else palette(len(survey.per_class))


def _draw_page(samples: Sequence[Sample], survey: Survey, path: Path) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    make_folder(path.parent)
    colours, names = [*_colours(survey), NO_CLASS], [*map(plot_text, survey.per_class), 'no class']
    columns = min(COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    shown = sorted({int(label) for sample in samples for label in _labels(sample)})
    tall = np.clip(np.median([sample.image.shape[0] / sample.image.shape[1] for sample in samples]), 0.3, 1.5)
    height = (3.2 * tall + 0.3) * rows + 0.2 * -(-len(shown) // (2 * columns)) + 0.3
    figure = Figure(figsize=(3.2 * columns, height), layout='constrained')
    for axes in figure.subplots(rows, columns, squeeze=False, subplot_kw={'xticks': [], 'yticks': []}).flat:
        axes.axis('off')
    for axes, sample in zip(figure.axes, samples):
        axes.imshow(draw_sample(sample, colours))
        axes.set_title(plot_text(sample.name[-40:]), fontsize=7)
    patches = [Patch(facecolor=np.array(colours[label]) / 255, edgecolor='0.3', label=names[label]) for label in shown]
    if len(patches) > MOST_NAMES:
        patches[MOST_NAMES:] = [Patch(facecolor='none', label=f'and {len(patches) - MOST_NAMES} more')]
    if patches:
        figure.legend(handles=patches, loc='outside lower center', ncols=2 * columns, fontsize=8)
    write_image(path, figure.savefig, dpi=100)
    return path


def _labels(sample: Sample) -> set[int]:
    return {*np.unique(sample.ids[sample.ids >= 0]).tolist(), *(box.label for box in sample.boxes)}
