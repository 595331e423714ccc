"""Check the image files of a data set: inside their folder, present, readable, of the stated size."""

import os
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from PIL import Image

from saga_mm.display.console import is_speaker
from saga_mm.display.progress import progress_bar
from saga_mm.images.content import leads_out
from saga_mm.images.headers import reason_of, require_whole, shown_size
from saga_mm.images.pictures import open_picture

from .problems import Problems

# Of larger sets only the head and the tail of each JPEG and PNG file are read.
DECODE_UP_TO = 2000
T = TypeVar('T')
R = TypeVar('R')


class ListedImage(NamedTuple):
    """An image as an annotation file lists it: its path below the image folder, and its size in pixels."""

    name: str
    width: int
    height: int


def check_files_exist(folder: Path, names: Iterable[str], problems: Problems) -> None:
    """Note the images that are absent, or that symbolic links take out of the data; one scan of each directory.

    Links inside or beside the data are followed; see :func:`~saga_mm.images.content.leads_out`.
    """
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(os.path.dirname(name), []).append(name)
    absent, outside = [], []
    for directory, listed in wanted.items():
        path = os.path.join(folder, directory)
        if leads_out(path, folder):
            outside += listed
            continue
        try:
            with os.scandir(path) as entries:
                links = {entry.name: entry.is_symlink() for entry in entries if entry.is_file()}
        except OSError:
            links = {}
        for name in listed:
            base = os.path.basename(name)
            if base not in links:
                absent.append(name)
            elif links[base] and leads_out(os.path.join(path, base), folder):
                outside.append(name)
    total = sum(map(len, wanted.values()))
    cure = 'Add the files, or remove their entries from the annotation file.'
    if len(absent) == total:
        cure = 'None of the listed images is there: is this the right image folder?'
    if absent and (other := spelt_otherwise(folder, absent[0])):
        cure = f'{other} Correct file_name in the annotation file.'
    for name in absent:
        problems.add(f'image listed but absent from {folder}', cure, name)
    for name in outside:
        problems.add(
            f'image reached through a symbolic link that leaves the data of {folder}',
            'Put the file itself there, or name the folder that holds it as the image folder.',
            name,
        )


def spelt_otherwise(folder: Path, name: str) -> str:
    """What is there instead of an absent file, where its name is only written in another way."""
    ways = {
        'with / for \\': name.replace('\\', '/'),
        'without %20 and the like': unquote(name),
        'in composed letters (NFC)': unicodedata.normalize('NFC', name),
        'in decomposed letters (NFD), as macOS writes them': unicodedata.normalize('NFD', name),
        'without a folder': os.path.basename(name.replace('\\', '/')),
    }
    for way, written in ways.items():
        if written != name and os.path.isfile(os.path.join(folder, written)):
            return f'The first is there {way}: {written}.'
    place, base = os.path.split(os.path.join(folder, name))
    with suppress(OSError):
        for entry in os.listdir(place):
            if entry.casefold() == base.casefold():
                return f'The first is there with other capitals: {entry}.'
    return ''


def check_images(
    folder: Path,
    images: Sequence[ListedImage],
    problems: Problems,
    *,
    decode: bool | None = None,
    ignore_orientation: bool = False,
) -> bool:
    """Note the images that cannot be read, or whose size is not the listed one.

    The size is the one training sees: mmcv turns a picture upright by its EXIF tag while loading it.

    Args:
        folder: Image folder.
        images: The listed images, all present.
        problems: Where to note what is wrong.
        decode: Decode every image in full. None: up to 2,000 images; of more, heads and tails are read.
        ignore_orientation: The images are loaded without being turned upright (``color_type`` of
            ``LoadImageFromFile`` ends in ``ignore_orientation``).

    Returns:
        Whether they were decoded.
    """
    full = len(images) <= DECODE_UP_TO if decode is None else decode
    for problem in in_threads(lambda image: _examine(folder, image, full, ignore_orientation), images):
        if problem:
            problems.add(*problem)
    return full


def in_threads(look: Callable[[T], R], images: Sequence[T]) -> Iterator[R]:
    """Look at images of any size in several threads, without Pillow's warnings; results come in order.

    Args:
        look: What to do with an image.
        images: Whatever ``look`` takes.
    """
    # Pillow would refuse a large picture, which in a user's own data is no bomb
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings(), ThreadPool(min(16, 2 * (os.cpu_count() or 1))) as pool:
            warnings.simplefilter('ignore')
            # threads suffice: Pillow decodes without Python's lock
            found = pool.imap(look, images, chunksize=16)
            yield from progress_bar(found, len(images), 'checking images', is_speaker(), delay=2)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _examine(folder: Path, listed: ListedImage, full: bool, ignore_orientation: bool) -> tuple[str, str, str] | None:
    path = os.path.join(folder, listed.name)
    try:
        with open_picture(path) as image:
            stored, shown = image.size, shown_size(image, path, ignore_orientation)
            if shown != (listed.width, listed.height):
                return _size_problem(listed, stored, shown)
            require_whole(image, path, full)
    except Exception as error:  # damaged files raise almost anything
        cure = 'Get the files again, or remove their entries from the annotation file.'
        return f'unreadable image in {folder}', cure, f'{listed.name} ({reason_of(error, path)})'
    return None


def _size_problem(listed: ListedImage, stored: tuple, shown: tuple) -> tuple[str, str, str]:
    expected = (listed.width, listed.height)
    if stored == expected:
        return (
            'image that its EXIF tag turns by 90 degrees, annotated without the turn',
            "Remove the tag, or load with LoadImageFromFile's color_type='color_ignore_orientation'.",
            f'{listed.name} ({stored[0]} x {stored[1]} before, {shown[0]} x {shown[1]} after)',
        )
    if shown == expected[::-1]:
        return (
            'image whose width and height the annotation file exchanges',
            'Exchange them there, and see that boxes and masks are not turned as well.',
            f'{listed.name} (is {shown[0]} x {shown[1]}, listed as {expected[0]} x {expected[1]})',
        )
    return (
        'image of another size than the annotation file says',
        'Correct width and height there, or get the right images.',
        f'{listed.name} (is {shown[0]} x {shown[1]}, listed as {expected[0]} x {expected[1]})',
    )
