"""Summarise a training as a table and as pictures."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.files import write_image
from saga_mm.images.pictures import read_picture

from .fonts import plot_text
from .metrics import is_error, is_metric, metric_name


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Logged values of the newest run in a work directory, in the order they were written.

    A resumed run starts a log of its own; the logs before it are kept as far as it did not do their iterations again.

    Raises:
        SagaError: If the folder holds no log, or a damaged one.
    """
    logs = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not logs:
        raise SagaError(f'{work_dir} holds no training log (*/vis_data/scalars.json): train there first')
    records: list[dict] = []
    for log in logs:
        fresh = _read_log(log)
        starts = [r['iter'] for r in fresh if 'iter' in r]
        # a run without an iteration only made up for a validation
        if starts:
            records = list(_before(records, min(starts))) if min(starts) > 1 else []
        records += fresh
    return records


def _before(records: Iterable[dict], start: int) -> Iterator[dict]:
    """Records of the iterations before ``start``; a validation belongs to the iteration that was logged before it."""
    iteration = start
    for record in records:
        iteration = record.get('iter', iteration)
        if iteration < start:
            yield record


def _read_log(log: Path) -> list[dict]:
    """The lines of a log; the last may be cut, as a run that was killed leaves it.

    Raises:
        SagaError: The file cannot be read, or another line is damaged.
    """
    try:
        lines = [line for line in log.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise SagaError(f'{log}: cannot be read ({error.strerror or error})') from error
    records = []
    for place, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and all(isinstance(record.get(key, 0), int) for key in ('iter', 'step')):
            records.append(record)
        elif place < len(lines):
            raise SagaError(f'{log}, line {place}: is no line of a training log; remove the line, or the log')
    return records


def curves(records: Iterable[dict]) -> dict[str, list[tuple[float, float]]]:
    """``(iteration, value)`` series by name: everything logged while training, and each metric at its evaluation."""
    series: dict[str, list[tuple[float, float]]] = {}
    iteration = 0
    for record in records:
        iteration = record.get('iter', iteration)
        for name, value in record.items():
            if isinstance(value, int | float) and name not in ('iter', 'step', 'epoch'):
                series.setdefault(name, []).append((iteration, value))
    return series


def metric_rows(series: dict[str, list[tuple[float, float]]]) -> list[tuple[str, float, float, int]]:
    """``(name, last, best, iteration of the best)`` of every figure that was evaluated, such as PSNR."""
    rows = []
    for name, points in series.items():
        # a comparison with NaN is false, so that the best would depend on the order
        numbers = [point for point in points if not math.isnan(point[1])]
        if not numbers:
            continue
        at, best = (min if is_error(name) else max)(numbers, key=lambda point: point[1])
        # COCO gives -1 for sizes that no object has
        if is_metric(name) and best >= 0:
            rows.append((metric_name(name), points[-1][1], best, int(at)))
    return rows


def divergence(series: dict[str, list[tuple[float, float]]]) -> str | None:
    """The first losses that were logged as NaN or infinity, and the last iteration before that was logged."""
    losses = [(at, name, value) for name, points in series.items() if 'loss' in name for at, value in points]
    first = min((at for at, _, value in losses if not math.isfinite(value)), default=None)
    if first is None:
        return None
    names = ', '.join(f'{name} is {value}' for at, name, value in losses if at == first and not math.isfinite(value))
    before = max((at for at, _, _ in losses if at < first), default=0)
    return f'{names} at iteration {first}; the last finite losses are those of iteration {before}'


def plot_curves(series: dict[str, list[tuple[float, float]]], path: str | Path) -> Path:
    """Draw the losses and the figures of evaluations against the iteration into an image file."""
    from matplotlib.figure import Figure

    path = Path(path)
    figure = Figure(figsize=(11, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    losses = {name: points for name, points in series.items() if 'loss' in name}
    for name, points in losses.items():
        left.plot(*zip(*points, strict=True), label=plot_text(name), linewidth=2.5 if name == 'loss' else 1)
    left.set(title='training loss', xlabel='iteration', ylim=(0, None))
    for name, points in series.items():
        if name.endswith(('mAP', 'mAP_50', 'mIoU', 'PSNR', 'top1')):
            right.plot(*zip(*points, strict=True), marker='o', label=plot_text(metric_name(name)))
    # percent, shares, or decibels, which have no end
    above_one = any(line.get_ydata().max() > 1 for line in right.lines)
    decibels = any('PSNR' in line.get_label() for line in right.lines)
    right.set(title='validation', xlabel='iteration', ylim=(0, None if decibels else 100 if above_one else 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    write_image(path, figure.savefig, dpi=120)
    return path


def find_drawn(folder: str | Path) -> list[Path]:
    """Pictures that a test or a prediction drew into a folder, without the class maps beside them.

    Raises:
        SagaError: There are none.
    """
    root = Path(folder)
    found = sorted(path for path in root.rglob('*') if path.suffix in ('.jpg', '.png'))
    drawn = [path for path in found if path.relative_to(root).parts[0] != 'maps' or path.suffix != '.png']
    if not drawn:
        raise SagaError(f'{folder}: has no pictures that a test or a prediction drew')
    return drawn


def contact_sheet(images: Sequence[Path], path: str | Path, columns: int = 3, width: int = 512) -> Path:
    """Put pictures of about one shape side by side into one image file.

    Raises:
        SagaError: If there is no picture, or one cannot be read.
    """
    from PIL import Image

    if not images:
        raise SagaError(f'no pictures to put into {path}')
    path = Path(path)
    pictures = [Image.fromarray(read_picture(image)) for image in images]
    pictures = [picture.resize((width, round(width * picture.height / picture.width))) for picture in pictures]
    height = max(picture.height for picture in pictures)
    rows = -(-len(pictures) // columns)
    sheet = Image.new('RGB', (columns * width, rows * height), 'white')
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    write_image(path, sheet.save)
    return path
