"""Pictures with one class each, in folders or in lists of files."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset

from saga_mm.datasets.checks.problems import short_list
from saga_mm.errors import SagaError
from saga_mm.images.content import PICTURE, VIDEO, is_junk_folder, kind_of_content, leads_out, refusal_of
from saga_mm.images.headers import leaves_folder
from saga_mm.images.picture_folders import ENDINGS, SUFFIXES
from saga_mm.registry import DATASETS
from saga_mm.text_files import read_text

FORM = 'Each line should be a file, or a file and its class: church/1.jpg, or 1.jpg church.'


# numbers of classes without names: more than so many, most of which are not used, are no numbers of classes
MOST_UNUSED = 1000


class Listing(NamedTuple):
    """The files of a data set.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        files: Files below the root, and the index of their class.
        left_out: What a user could have meant and is not among the files, with the reason.
    """

    classes: tuple[str, ...]
    files: list[tuple[str, int]]
    left_out: Sequence[tuple[str, str]] = ()


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """A folder for each class, ``CLASS/**/FILE``, or a list of files.

    Records have ``img_path`` and ``gt_label``. Labels are the places of the classes in ``metainfo=dict(classes=...)``;
    without it, classes are the names of the folders, or those in the list, sorted; numbers in a list are the labels.

    Args:
        data_root: Folder of the pictures.
        ann_file: A text file, in ``data_root`` or absolute, with a file below ``data_root`` on each line, and behind
            it the name or the number of its class; without one, the class is the folder of the file. Empty: all
            pictures below ``data_root``.
        **kwargs: Of mmengine's ``BaseDataset``: ``metainfo``, ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        SagaError: There are no pictures or classes, a class is unknown, or a file is outside of ``data_root``.
    """

    def __init__(self, data_root: str, ann_file: str = '', **kwargs: Any) -> None:
        super().__init__(data_root=str(Path(data_root).expanduser()), ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record for each picture."""
        found = list_files(self.data_root, self.ann_file, self._metainfo.get('classes'))
        self._metainfo['classes'] = found.classes
        return [{'img_path': os.path.join(self.data_root, name), 'gt_label': label} for name, label in found.files]


def list_files(data_root: str, ann_file: str = '', classes: Sequence[str] | None = None) -> Listing:
    """Files and classes of an :class:`ImageFolder`; its arguments, and the names of the classes if they are given.

    Raises:
        SagaError: As :class:`ImageFolder`; or two classes have one name, as ImageNet's lists of words have.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise SagaError(f'{root}: there is no such folder.')
    named, left_out = (_read_list(root, root / Path(ann_file).expanduser()), []) if ann_file else _read_folders(root)
    if not named:
        others = ''.join(f' {name}: {reason}.' for name, reason in left_out[:3])
        raise SagaError(f'{root}: has no pictures in folders of classes, such as church/1.jpg.{others}')
    found = sorted({name for _, name in named})
    source = root / ann_file
    numbered = bool(ann_file) and all(name.isdecimal() for name in found)
    names = tuple(classes if classes is not None else _numbers(source, found) if numbered else found)
    index = {name: label for label, name in enumerate(names)}
    if len(index) < len(names):
        twice = next(name for label, name in enumerate(names) if index[name] != label)
        raise SagaError(f'{source}: classes name {twice!r} twice. Make the names differ, such as by a number.')
    if numbered:
        # a name that is itself a number goes before the number of its place
        index = {**{name: int(name) for name in found if int(name) < len(names)}, **index}
    unknown = [name for name in found if name not in index]
    if unknown:
        raise SagaError(
            f'{source}: has the class{"es" * (len(unknown) > 1)} {short_list(unknown, 3)}, and the classes are '
            f'{short_list(list(names), 5)}. Rename or remove them, or name all classes.'
        )
    return Listing(names, [(file, index[name]) for file, name in named], left_out)


def _numbers(source: Path, found: list[str]) -> Iterable[str]:
    """Classes of a list that has their numbers: all up to the highest, used or not."""
    count = max(map(int, found)) + 1
    if count > max(MOST_UNUSED, 10 * len(found)):
        raise SagaError(
            f'{source}: has {len(found)} numbers of classes, up to {count - 1}. Name the classes in the order of their '
            'numbers with --classes, or put names into the list.'
        )
    return map(str, range(count))


def _read_folders(root: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Files below the folders of a root, and the names of these folders, in order; what is left out, and why."""
    found: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    for folder in sorted(path for path in root.iterdir() if not is_junk_folder(path.name)):
        if not folder.is_dir():
            if reason := _kind(folder, root):
                where = 'is in no folder of a class' if reason == PICTURE else f'is {reason}'
                left_out.append((folder.name, where))
            continue
        if leads_out(folder, root):
            raise SagaError(f'{folder}: is a symbolic link that leaves {root}. Put the pictures there themselves.')
        before = len(found)
        for file in _files(folder, root, left_out):
            kind = PICTURE if file.suffix.lower() in SUFFIXES else _kind(file, root)
            name = os.path.relpath(file, root)
            if kind == PICTURE:
                found.append((name, folder.name))
            elif kind:
                left_out.append((name, f'is {kind}'))
        if len(found) == before:
            left_out.append((folder.name, 'is a folder without a picture'))
    return found, left_out


def _files(folder: Path, root: Path, left_out: list[tuple[str, str]], seen: set[str] | None = None) -> Iterator[Path]:
    """Files in a folder and the folders in it, by name; hidden ones are nobody's pictures."""
    seen = {os.path.realpath(folder)} if seen is None else seen
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith('.')), key=lambda entry: entry.name)
    folders = []
    for entry in found:
        path = Path(entry.path)
        # the directory entry tells files from links and pipes, without reading the file
        plain = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
        if not plain and (reason := refusal_of(path, root)):
            left_out.append((os.path.relpath(path, root), f'is {reason}'))
        elif entry.is_dir():
            folders += [] if is_junk_folder(entry.name) else [path]
        else:
            yield path
    for path in folders:
        if (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield from _files(path, root, left_out, seen)


def _kind(path: Path, root: Path) -> str:
    """What a file is by its content: ``'picture'``, or why it cannot be used; empty for what is no picture."""
    if reason := refusal_of(path, root):
        return reason if path.is_symlink() or path.suffix.lower() in SUFFIXES else ''
    try:
        kind = kind_of_content(path)
    except OSError as error:
        return f'not readable ({error.strerror})'
    if kind == '' and path.suffix.lower() in ENDINGS:
        return 'in a format that is not trained on: save it as JPEG or PNG first'
    return 'a video' if kind == VIDEO else kind


def _read_list(root: Path, path: Path) -> list[tuple[str, str]]:
    """Files of a list, below a root, and their classes."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        file, _, name = (line, '', '') if line.lower().endswith(SUFFIXES) else line.rpartition(' ')
        name = name or Path(file).parent.name
        if not file or not name:
            raise SagaError(f'{path}: line {number} is {line[:60]!r}. {FORM}')
        file = file.strip()
        if os.path.isabs(file) and not leaves_folder(inside := os.path.relpath(file, os.path.abspath(root))):
            file = inside
        if leaves_folder(file):
            raise SagaError(f'{path}: line {number} names {file[:60]!r}, which is outside of {root}.')
        found.append((file, name))
    return found
