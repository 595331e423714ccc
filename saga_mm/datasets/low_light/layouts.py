"""Find pairs of a dark and a bright picture, in the folders of public data sets or in any two folders."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from saga_mm.errors import SagaError
from saga_mm.images.picture_folders import SUFFIXES, find_images


class Pair(NamedTuple):
    """A dark picture and its bright one.

    Attributes:
        name: Of the dark picture, below its folder and without its suffix.
        low: Path of the dark one; None where bright pictures are alone.
        high: Path of the bright one; None where dark ones are.
        scene: Its group, of pictures of one scene; its own name unless groups are given.
    """

    name: str
    low: str | None
    high: str | None
    scene: str


class Pairing(NamedTuple):
    """The pairs in two folders, and the pictures that have no partner."""

    pairs: list[Pair]
    only_low: list[str]
    only_high: list[str]


class Folders(NamedTuple):
    """Dark and bright folder of the training and the test part, below the data root."""

    train: tuple[str, str]
    test: tuple[str, str]


# the layouts in which a data set is passed around, the first that is there is taken
LAYOUTS: dict[str, tuple[Folders, ...]] = {
    'lol_v1': (
        Folders(('our485/low', 'our485/high'), ('eval15/low', 'eval15/high')),
        Folders(('Train/input', 'Train/target'), ('Test/input', 'Test/target')),
    ),
    'lol_v2_real': (
        Folders(
            ('Real_captured/Train/Low', 'Real_captured/Train/Normal'),
            ('Real_captured/Test/Low', 'Real_captured/Test/Normal'),
        ),
    ),
    'lol_v2_synthetic': (
        Folders(('Synthetic/Train/Low', 'Synthetic/Train/Normal'), ('Synthetic/Test/Low', 'Synthetic/Test/Normal')),
    ),
    'uhd_ll': (Folders(('training_set/input', 'training_set/gt'), ('testing_set/input', 'testing_set/gt')),),
}
_WORDS = 'low|dark|input|lq|normal|high|bright|target|gt|hq'
# a word for the side, set off by a sign or by the digits of a number
_SIDE = re.compile(rf'^(?:{_WORDS})(?:[-_ ]+|(?=\d))|(?:[-_ ]+|(?<=\d))(?:{_WORDS})$', re.IGNORECASE)


def find_pairs(
    root: str | Path, low: str | None = 'low', high: str = 'high', layout: str | None = None, test: bool = False
) -> Pairing:
    """List the pairs of a data set.

    Pictures are looked for in sub-folders too. Two belong together if their paths are equal but for the suffix; those
    left over, if they are equal without a word for the side such as ``low`` and ``normal`` at the start or the end of
    the name (``low00690.png`` and ``normal00690.png``).

    Args:
        root: Folder of the data set.
        low: Folder of the dark pictures, in ``root`` or absolute; None lists bright pictures alone.
        high: Folder of the bright pictures.
        layout: A key of :data:`LAYOUTS`, which names the folders in place of ``low`` and ``high``.
        test: Take the layout's test part.

    Raises:
        SagaError: A folder is missing or without pictures, or there is no such layout or no test part.
    """
    top = Path(root).expanduser()
    if layout is not None:
        low, high = _layout_folders(top, layout, test)
    elif test:
        raise SagaError(f"{root}: split='test' needs a layout. Name the folders of the test pictures as low and high.")
    folders = [top / Path(name).expanduser() for name in (low, high) if name is not None]
    for folder in folders:
        if not folder.is_dir():
            raise SagaError(f'Folder {folder} does not exist. {_hint(top, layout)}')
    if low is None:
        names = _by_name(folders[0])
        return Pairing([Pair(name, None, path, name) for name, paths in names.items() for path in paths], [], [])
    return _match(_by_name(folders[0], folders[1]), _by_name(folders[1], folders[0]))


def guess_layout(root: str | Path) -> str | None:
    """Name of the layout whose training folders are in ``root``, if there is one."""
    top = Path(root).expanduser()
    for name, variants in LAYOUTS.items():
        if any(_there(top, folders.train) for folders in variants):
            return name
    return None


def _layout_folders(root: Path, layout: str, test: bool) -> tuple[str, str]:
    if layout not in LAYOUTS:
        raise SagaError(f'There is no layout {layout!r}. Take one of {", ".join(LAYOUTS)}.')
    choices = [folders.test if test else folders.train for folders in LAYOUTS[layout]]
    for choice in choices:
        if _there(root, choice):
            return choice
    wanted = ', or '.join(f'{low} and {high}' for low, high in choices)
    raise SagaError(f'{root} is not laid out as {layout}: it has no {wanted}. Correct data_root or layout.')


def _there(root: Path, folders: tuple[str, str]) -> bool:
    return all((root / folder).is_dir() for folder in folders)


def _hint(root: Path, layout: str | None) -> str:
    found = guess_layout(root) if layout is None else None
    return f'{root} looks like layout={found!r}: set that.' if found else 'Correct data_root, low and high.'


def _by_name(folder: Path, leave_out: Path | None = None) -> dict[str, list[str]]:
    """Paths of the pictures in a folder, by their path below it without the suffix."""
    found = defaultdict(list)
    for path in find_images(folder, leave_out=leave_out):
        found[without_suffix(path.relative_to(folder))].append(str(path))
    return found


def _match(lows: dict[str, list[str]], highs: dict[str, list[str]]) -> Pairing:
    pairs = _unique_pairs(lows, highs, str)
    low_rest, high_rest = ({name: [*paths] for name, paths in side.items()} for side in (lows, highs))
    for pair in pairs:
        del low_rest[pair.name], high_rest[pair.name]
    pairs += _unique_pairs(low_rest, high_rest, _without_side)
    used = {path for pair in pairs for path in pair[1:3]}
    only_low, only_high = ([p for paths in side.values() for p in paths if p not in used] for side in (lows, highs))
    return Pairing(sorted(pairs, key=lambda pair: natural(pair.name)), only_low, only_high)


def _unique_pairs(lows: dict[str, list[str]], highs: dict[str, list[str]], key: Callable[[str], str]) -> list[Pair]:
    """Pairs of names with the same key, where there is one picture of it on each side."""
    sides = [defaultdict(list), defaultdict(list)]
    for side, names in zip(sides, (lows, highs)):
        for name, paths in names.items():
            side[key(name)] += [(name, path) for path in paths]
    found = []
    for value, darks in sides[0].items():
        brights = sides[1].get(value, ())
        if len(darks) == len(brights) == 1:
            (name, low), (_, high) = darks[0], brights[0]
            found.append(Pair(name, low, high, name))
    return found


def _without_side(name: str) -> str:
    # macOS decomposes letters with accents
    folder, _, stem = unicodedata.normalize('NFC', name).rpartition('/')
    return f'{folder}/{_SIDE.sub("", stem)}'


def without_suffix(name: str | Path) -> str:
    """A file's name, with its folders, without the suffix of a picture."""
    path = Path(name)
    return (path.with_suffix('') if path.suffix.lower() in SUFFIXES else path).as_posix()


def natural(name: str) -> list:
    """Sorting key by which ``'9'`` comes before ``'10'``."""
    parts = re.split(r'([0-9]+)', name)
    return [(1, int(part), '') if index % 2 else (0, 0, part) for index, part in enumerate(parts)]
