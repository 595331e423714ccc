"""Check data for semantic segmentation: images and masks in folders."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from saga_mm.images.content import is_junk_folder

from .images import DECODE_UP_TO, in_threads
from .mask_ids import note_ids
from .masks import decode_mask, open_mask
from .problems import Problems
from .segmentation_folders import MaskPair, SegmentationFolders, open_folders
from .segmentation_look import id_cure, look_at_pair
from .survey import Sample, Survey, read_shown, scale_to


def check_segmentation(
    img_dir: str | Path,
    mask_dir: str | Path | None,
    classes: Sequence[str],
    *,
    img_suffix: str = '.jpg',
    seg_map_suffix: str = '.png',
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    decode: bool | None = None,
) -> Survey:
    """Check a folder of images and a folder of masks whose names differ by their suffix.

    Args:
        img_dir: Folder of the images.
        mask_dir: Folder of the masks; None for images alone.
        classes: Names of the classes: id 0 in a mask is the first.
        img_suffix: What names of images end with.
        seg_map_suffix: What names of masks end with, in place of ``img_suffix``.
        ignore_index: The id that is not learned.
        reduce_zero_label: Id 0 is not learned, and 1 is the first class.
        decode: Decode every image in full. None: up to 2,000 images; of more, heads and tails are read. Masks are
            always decoded.

    Returns:
        What the data set holds; its ``warnings`` are worth printing.

    Raises:
        SagaError: With all that is wrong.
    """
    folders = {'img_path': img_dir, 'seg_map_path': mask_dir}
    cfg = {
        'type': 'BaseSegDataset',
        'data_prefix': {key: str(folder) for key, folder in folders.items() if folder is not None},
        'metainfo': {'classes': tuple(classes)},
        'img_suffix': img_suffix,
        'seg_map_suffix': seg_map_suffix,
        'ignore_index': ignore_index,
        'reduce_zero_label': reduce_zero_label,
    }
    return check_segmentation_cfg(cfg, decode=decode)


def check_segmentation_cfg(cfg: Mapping[str, Any], *, decode: bool | None = None) -> Survey | None:
    """Check the data set of one config of mmseg's ``BaseSegDataset`` or of a class derived from it.

    Args:
        cfg: The config, no wrapper such as ``RepeatDataset``.
        decode: See :func:`check_segmentation`.

    Returns:
        What the data set holds; None if it was not looked at, as it is of another kind or lies on remote storage.

    Raises:
        SagaError: With all that is wrong.
    """
    survey = survey_segmentation(cfg, decode=decode)
    if survey is not None:
        survey.problems.raise_any()
    return survey


def survey_segmentation(cfg: Mapping[str, Any], *, decode: bool | None = None) -> Survey | None:
    """The same, but what is wrong with single files is noted in the result.

    Raises:
        SagaError: There is nothing to look at: no folder, no image, no classes.
    """
    problems, warnings = Problems(''), Problems('')
    folders = open_folders(cfg, problems, warnings)
    if folders is None:
        return None
    problems.source = warnings.source = folders.images
    full = len(folders.pairs) <= DECODE_UP_TO if decode is None else decode
    pixels, images = np.zeros((2, len(folders.classes) + 2), np.int64)
    sizes, fine, seen = [], [], []
    looks = in_threads(partial(look_at_pair, folders=folders, full=full), folders.pairs)
    for pair, look in zip(folders.pairs, looks):
        for notes, found in ((problems, look.problems), (warnings, look.warnings)):
            for kind, cure, detail in found:
                notes.add(kind, cure, pair.name + (f' ({detail})' if detail else ''))
        if look.size is not None:
            sizes.append(look.size)
        if look.pixels is not None:
            pixels += look.pixels
            images += look.pixels > 0
            seen.append(look.ids)
        if look.size is not None and (look.pixels is not None or not folders.with_masks):
            fine.append(pair)
    for pair in folders.pairs:
        if any(map(is_junk_folder, Path(pair.name).parent.parts)):
            cure = 'Remove such folders from the images, or hide their pictures from the training by a list (ann_file).'
            problems.add('image in a folder of copies or thumbnails', cure, pair.name)
    ignored, *per_class, no_class = pixels.tolist()
    note_ids(folders, seen, problems, warnings)
    _note_classes(folders, pixels, warnings if problems or cfg.get('test_mode') else problems, warnings)
    return Survey(
        source=folders.images,
        unit='pixels',
        per_class=dict(zip(folders.classes, per_class)),
        images_per_class=dict(zip(folders.classes, images[1:-1].tolist())),
        rest={name: count for name, count in (('not learned', ignored), ('no class', no_class)) if count},
        sizes=sizes,
        num_images=len(folders.pairs),
        palette=folders.palette,
        problems=problems,
        warnings=warnings,
        samples=fine,
        load=partial(_sample, folders=folders),
    )


def _note_classes(folders: SegmentationFolders, pixels: np.ndarray, worthless: Problems, warnings: Problems) -> None:
    """What the masks together lack; ``pixels`` as :func:`label_counts` gives them.

    Masks that teach nothing go to ``worthless``.
    """
    if not folders.with_masks or not pixels.any():
        return
    absent = [name for name, count in zip(folders.classes, pixels[1:-1]) if not count]
    if not pixels[1:-1].any():
        worthless.add('masks without a pixel to learn from', id_cure(folders))
    elif len(absent) == len(folders.classes) - 1:
        only = next(name for name in folders.classes if name not in absent)
        worthless.add(f'masks of nothing but {only!r}', id_cure(folders))
    else:
        for name in absent:
            warnings.add('class that never occurs', 'It can be neither learned nor measured here.', repr(name))


def _sample(pair: MaskPair, side: int, folders: SegmentationFolders) -> Sample:
    image = scale_to(read_shown(pair.image, folders.ignore_orientation), side)
    if pair.mask is None:
        return Sample(pair.name, image, np.full(image.shape[:2], -1, np.int16))
    ids = scale_to(decode_mask(open_mask(pair.mask), folders.mask_backend), side, smooth=False)
    return Sample(pair.name, image, folders.labels[ids].astype(np.int16))
