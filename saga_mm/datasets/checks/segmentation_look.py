"""Check one image of a segmentation data set and its mask."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from saga_mm.images.headers import orientation, reason_of, require_whole, shown_size
from saga_mm.images.pictures import open_picture

from .masks import MaskError, MaskFile, count_ids, decode_mask, mask_warnings, open_mask
from .segmentation_folders import MaskPair, SegmentationFolders

# sides that differ more lose the shorter one when they are resized for training
LONGEST = 10
# a kind of problem, its cure, and what is special about this case
Note = tuple[str, str, str]


class Look(NamedTuple):
    """What one image and its mask are.

    Attributes:
        size: ``(width, height)`` after loading; None for an image that cannot be loaded.
        pixels: Of its mask, if that can be used: not learned, of each class, of no class.
        ids: Those that occur in its mask.
        problems: What is wrong.
        warnings: What is odd.
    """

    size: tuple[int, int] | None
    pixels: np.ndarray | None
    problems: list[Note]
    warnings: list[Note]
    ids: frozenset[int] = frozenset()


def look_at_pair(pair: MaskPair, folders: SegmentationFolders, full: bool) -> Look:
    """Look at an image and its mask; the mask is decoded.

    Args:
        pair: The two.
        folders: What the data set makes of them.
        full: Decode the image; else its head and its tail are read.
    """
    problems: list[Note] = []
    warnings: list[Note] = []
    size = mask = pixels = None
    ids: frozenset[int] = frozenset()
    try:
        mask = open_mask(pair.mask) if pair.mask else None
    except MaskError as error:
        problems.append(error.args)
    try:
        with open_picture(pair.image) as image:
            size = shown_size(image, pair.image, folders.ignore_orientation)
            warnings += _image_warnings(image, size, folders)
            problem = mask and (_turn_problem(mask, folders) or _size_problem(image, size, mask))
            # not before the sizes are compared: a damaged head may ask for any amount of memory
            if problem is None:
                require_whole(image, pair.image, full)
    except Exception as error:  # damaged files raise almost anything
        problem = 'unreadable image', 'Get the files again, or take them out.', reason_of(error, pair.image)
        size = None
    if problem:
        problems.append(problem)
    elif mask:
        warnings += [(*warning, '') for warning in mask_warnings(mask)]
        try:
            counts = count_ids(decode_mask(mask, folders.mask_backend))
            pixels, ids = label_counts(counts, folders, problems), frozenset(np.flatnonzero(counts).tolist())
        except MaskError as error:
            problems.append(error.args)
    return Look(size, pixels, problems, warnings, ids)


def label_counts(counts: np.ndarray, folders: SegmentationFolders, problems: list[Note]) -> np.ndarray:
    """Pixels of a mask, not learned, of each class, of no class, from those of each of the 256 ids."""
    number = len(folders.classes)
    wrong = np.flatnonzero((folders.labels == number) & (counts > 0))
    if len(wrong):
        shown = ', '.join(map(str, wrong[:5])) + (', ...' if len(wrong) > 5 else '')
        problems.append((f'mask with ids beyond the {number} classes', id_cure(folders), shown))
    # from -1, not learned, to the number of classes, none
    return np.bincount(folders.labels + 1, weights=counts, minlength=number + 2).astype(np.int64)


def id_cure(folders: SegmentationFolders) -> str:
    """What to do about ids that do not fit, with the range of those that do."""
    used = np.flatnonzero((folders.labels >= 0) & (folders.labels < len(folders.classes)))
    ignored = ' and '.join(map(str, np.flatnonzero(folders.labels == -1)[:3]))
    cure = 'Correct the masks, or the classes and their number.'
    return f'Ids run from {used[0]} to {used[-1]}; {ignored} means not learned. {cure}'


def _turn_problem(mask: MaskFile, folders: SegmentationFolders) -> Note | None:
    """A mask that is seen turned and read as it is stored, beside an image that is read as it is seen."""
    if not mask.turned or folders.ignore_orientation:
        return None
    cure = (
        'Masks are read as they are stored. Turn its pixels and remove the tag (mogrify -auto-orient does), or load '
        "its image as it is stored, too, with LoadImageFromFile's color_type='color_ignore_orientation'."
    )
    return 'mask that its EXIF tag turns or mirrors', cure, ''


def _size_problem(image: Image.Image, size: tuple[int, int], mask: MaskFile) -> Note | None:
    if min(size) == 1 and mask.size == size:
        cure = "mmseg's loader drops such a side of the mask. Take the image out."
        return 'image with a side of one pixel', cure, _times(size)
    if mask.size == size:
        return None
    if mask.size == image.size:
        return (
            'image that its EXIF tag turns by 90 degrees, with a mask that is not turned',
            "Turn the mask, or load with LoadImageFromFile's color_type='color_ignore_orientation'.",
            f'{_times(image.size)} before, {_times(size)} after',
        )
    cure = 'Make the mask from this image, pixel by pixel, or get the right one.'
    return 'mask of another size than its image', cure, f'{_times(mask.size)}, its image {_times(size)}'


def _image_warnings(image: Image.Image, size: tuple[int, int], folders: SegmentationFolders) -> list[Note]:
    found: list[Note] = []
    if max(size) > LONGEST * min(size):
        cure = 'Resizing for training may leave nothing of its short side: cut it into pieces.'
        found.append((f'image more than {LONGEST} times as long as wide', cure, _times(size)))
    if not folders.ignore_orientation and orientation(image) > 1:
        cure = 'It is loaded so; its mask must show the same.'
        found.append(('image that its EXIF tag turns or mirrors', cure, ''))
    if image.format != 'MPO' and getattr(image, 'n_frames', 1) > 1:
        found.append(('image of several frames or pages', 'The first is read.', f'{image.n_frames}'))
    if not folders.converts:
        return found
    if any(';16' in str(part) for part in image.tile):
        found.append(('image of 16 bits', 'Its upper 8 bits are read.', ''))
    if image.mode in ('1', 'L', 'LA') or image.mode.startswith('I;16'):
        found.append(('grayscale image', 'It is read as three equal channels.', ''))
    if 'A' in image.mode or 'transparency' in image.info:
        found.append(('image with transparency', 'The colours under it are read as if it were opaque.', ''))
    if image.mode == 'CMYK':
        found.append(('CMYK image', 'It is converted to RGB.', ''))
    return found


def _times(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
