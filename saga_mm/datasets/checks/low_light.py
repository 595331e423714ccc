"""Check low-light data: pairs, or single pictures in folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from saga_mm.datasets.low_light.layouts import Pair
from saga_mm.datasets.low_light.pairs import PairedLowLightDataset, UnpairedDataset, note_alone
from saga_mm.datasets.low_light.transforms import read_bgr
from saga_mm.images.headers import reason_of, require_whole, shown_size
from saga_mm.images.pictures import open_picture
from saga_mm.registry import DATASETS

from .images import in_threads
from .problems import Problems

# of more pairs, this many are decoded, evenly spread; of the others heads and tails are read
DECODED = 500
UNREADABLE = 'unreadable picture', 'Get the files again, or take them and their partners out.'
DIFFERENT = 'pair of two sizes', 'Make both of the same picture, pixel by pixel.'
SWAPPED = (
    'dark picture brighter than its bright one',
    'Take the pair out; if most are so, exchange low and high.',
)

SAME = 'dark picture exactly as bright as its bright one', 'Take the pair out if one is a copy of the other.'


@dataclass
class PairSurvey:
    """Low-light data as it was found; ``str()`` of it is a paragraph to print.

    Attributes:
        source: The folder of the data.
        unit: What there is: ``'pairs'`` or ``'pictures'``.
        number: How many.
        sizes: ``(width, height)`` of those that can be read.
        dark: Mean of 255 of all dark pictures that were decoded; None if there are none.
        bright: The same of the bright ones.
        problems: What stops a training or spoils it.
        warnings: What one should know.
        pictures: Paths of the bright pictures, or of the only ones.
    """

    source: str
    unit: str
    number: int
    sizes: list[tuple[int, int]]
    dark: float | None
    bright: float | None
    problems: Problems
    warnings: Problems
    pictures: tuple[str, ...] = ()

    def __str__(self) -> str:
        ordered = sorted(self.sizes, key=lambda size: size[0] * size[1])
        sizes = ' to '.join(f'{w} x {h}' for w, h in dict.fromkeys(ordered[:1] + ordered[-1:]))
        text = f'{self.source}: {self.number:,} {self.unit}' + (f' of {sizes} pixels' if sizes else '')
        for name, mean in (('dark', self.dark), ('bright', self.bright)):
            text += '' if mean is None else f', {name} ones {mean:.0f} of 255 on average'
        return '\n- '.join([f'{text}.', *self.warnings.lines()])


class PairLook(NamedTuple):
    """What one pair is.

    Attributes:
        size: ``(width, height)``; None if it cannot be used.
        means: Of the dark and the bright picture, of 255; None where there is none or it was not decoded.
        problem: Kind and cure, if there is one.
        detail: What is special about this case.
    """

    size: tuple[int, int] | None
    means: tuple[float | None, float | None] = (None, None)
    problem: tuple[str, str] | None = None
    detail: str = ''


def check_low_light_cfg(cfg: Mapping[str, Any], *, decode: int = DECODED) -> PairSurvey | None:
    """Check the data set of one config.

    Args:
        cfg: The config of a ``PairedLowLightDataset`` or an ``UnpairedDataset``, no wrapper such as ``RepeatDataset``.
        decode: How many pairs to decode, evenly spread; of the others heads and tails are read.

    Returns:
        What there is; None if the data set is of another kind.

    Raises:
        SagaError: With all that is wrong.
    """
    survey = survey_low_light(cfg, decode=decode)
    if survey is not None:
        survey.problems.raise_any()
    return survey


def survey_low_light(cfg: Mapping[str, Any], *, decode: int = DECODED) -> PairSurvey | None:
    """The same, but what is wrong with single files is noted in the result.

    Raises:
        SagaError: There is nothing to look at, or the options contradict each other.
    """
    kind = cfg.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(kind, type) or not issubclass(kind, (PairedLowLightDataset, UnpairedDataset)):
        return None
    options = {key: value for key, value in cfg.items() if key not in ('type', '_scope_', 'pipeline')}
    dataset = kind(**options, pipeline=[], lazy_init=True)
    problems, warnings = Problems(dataset.data_root), Problems(dataset.data_root)
    if isinstance(dataset, PairedLowLightDataset):
        found = dataset.find()
        pairs, unit = found.pairs, 'pairs' if dataset.low is not None else 'pictures'
        note_alone(found, problems)
        for path in found.only_high:
            warnings.add('bright picture without a dark partner', 'It is not used.', path)
    else:
        pairs = [Pair('', record['img_path'], None, '') for record in dataset.load_data_list()]
        unit = 'pictures'
    looks = _look_at_all(pairs, decode)
    for pair, look in zip(pairs, looks):
        path = pair.low or pair.high
        if look.problem:
            problems.add(*look.problem, look.detail)
        elif None not in look.means and look.means[0] > look.means[1]:
            warnings.add(*SWAPPED, f'{path} ({look.means[0]:.0f}, the other {look.means[1]:.0f})')
        elif None not in look.means and look.means[0] == look.means[1]:
            warnings.add(*SAME, path)
    _note_exchanged(looks, problems)
    dark, bright = ([look.means[side] for look in looks if look.means[side] is not None] for side in (0, 1))
    return PairSurvey(
        source=dataset.data_root,
        unit=unit,
        number=len(pairs),
        sizes=[look.size for look in looks if look.size],
        dark=float(np.mean(dark)) if dark else None,
        bright=float(np.mean(bright)) if bright else None,
        problems=problems,
        warnings=warnings,
        pictures=tuple(pair.high or pair.low for pair in pairs),
    )


def _note_exchanged(looks: list[PairLook], problems: Problems) -> None:
    """Note that the folders of dark and bright pictures are plainly exchanged, or one and the same."""
    means = np.array([look.means for look in looks if None not in look.means])
    if not len(means):
        return
    number = len(means)
    brighter, same = int((means[:, 0] > means[:, 1]).sum()), int((means[:, 0] == means[:, 1]).sum())
    start = f'of {number:,} dark pictures are'
    # a single picture may have been put on the wrong side, and is named alone
    if brighter == number or brighter > max(2, 0.9 * number):
        kind = f'{brighter:,} {start} brighter than their bright ones; are the folders exchanged?'
        problems.add(kind, 'Exchange low and high.')
    if same == number or same > max(2, 0.9 * number):
        kind = f'{same:,} {start} as bright as their bright ones; are the two folders the same?'
        problems.add(kind, 'Name the folder of the dark pictures as low, and that of the bright ones as high.')


def _look_at_all(pairs: list[Pair], decode: int) -> list[PairLook]:
    # evenly: neighbours in a folder are often of one scene
    decoded = {round(index) for index in np.linspace(0, len(pairs) - 1, min(decode, len(pairs)))}
    jobs = [(pair, index in decoded) for index, pair in enumerate(pairs)]
    return list(in_threads(_look_at, jobs))


def _look_at(job: tuple[Pair, bool]) -> PairLook:
    pair, decode = job
    sizes, means = [], []
    for path in (pair.low, pair.high):
        try:
            size, mean = (None, None) if path is None else _size_and_mean(path, decode)
        except Exception as error:  # damaged files raise almost anything
            return PairLook(None, problem=UNREADABLE, detail=f'{path} ({reason_of(error, path)})')
        sizes.append(size)
        means.append(mean)
    known = [size for size in sizes if size]
    if len(set(known)) > 1:
        (w, h), (other_w, other_h) = known
        return PairLook(None, problem=DIFFERENT, detail=f'{pair.low} ({w} x {h}, the other {other_w} x {other_h})')
    return PairLook(known[0], tuple(means))


def _size_and_mean(path: str, decode: bool) -> tuple[tuple[int, int], float | None]:
    """``(width, height)`` as loaded, and the mean of 255; None for the mean unless it was decoded."""
    try:
        with open_picture(path) as image:
            if not image.mode.startswith(('I', 'F')):
                size = shown_size(image, path)
                require_whole(image, path, decode)
                return size, float(np.asarray(image.convert('RGB')).mean()) if decode else None
    except UnidentifiedImageError:
        pass
    # deep pictures, of which Pillow knows few
    picture = read_bgr(path)
    return picture.shape[1::-1], float(picture.mean())
