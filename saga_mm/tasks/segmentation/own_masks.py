"""Set up mmseg's data set from folders of images and masks and a list of classes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

from saga_mm.datasets.checks.images import spelt_otherwise
from saga_mm.errors import SagaError
from saga_mm.images.picture_folders import find_images
from saga_mm.text_files import read_text

# masks are 8-bit, and 255 is no class
MOST = 255


def read_classes(file: str | Path, most: int = MOST) -> tuple[str, ...]:
    """Class names, one a line, in the order of their ids; blank lines do not count.

    Args:
        file: The file.
        most: How many there may be.

    Raises:
        SagaError: The file cannot be read, or holds no names, too many, one twice, or one with a tab in it.
    """
    try:
        lines = read_text(file).splitlines()
    except SagaError as error:
        raise SagaError(f'--classes {error} One class name a line is needed.') from error
    names = tuple(line.strip() for line in lines if line.strip())
    odd = next((name for name in names if any(unicodedata.category(letter) == 'Cc' for letter in name)), None)
    if odd is not None:
        raise SagaError(f'--classes {file}: {odd!r} holds a tab or another control character; a line is one name')
    # a list with ids or colours in it would otherwise train, and show them as names
    if reason := _no_names(names):
        raise SagaError(f'--classes {file}: {reason}; a line is one name, the first that of id 0')
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SagaError(f'--classes {file}: names {twice[0]!r} twice')
    if not 1 < len(names) <= most:
        raise SagaError(f'--classes {file}: holds {len(names)} names, and 2 to {most} are possible, one a line')
    return names


def _no_names(names: tuple[str, ...]) -> str:
    """What lines are instead of names of classes; empty if they may be names."""
    numbers = [match and int(match[1]) for match in map(re.compile(r'(\d+)\s*[ ,:;=.)]\s*\D').match, names)]
    first = names[0] if names else ''
    if len(names) > 1 and numbers in ([*range(len(names))], [*range(1, len(names) + 1)]):
        return f'{first!r} is a number and a name'
    if names and all(re.search(r'(?<!\d)\d{1,3}([ ,;]+)\d{1,3}\1\d{1,3}(?!\d)', name) for name in names):
        return f'{first!r} holds a colour beside a name'
    if first[:1] in ('[', '{'):
        return 'is JSON'
    comment = next((name for name in names if name.startswith(('#', '//'))), None)
    return f'{comment!r} looks like a comment' if comment is not None else ''


def find_suffixes(images: str | Path, masks: str | Path) -> tuple[str, str]:
    """What the names of images end with, and what the names of their masks have instead.

    Args:
        images: Folder of the images.
        masks: Folder of the masks, which lie in it as the images do in theirs: ``a.jpg`` and ``a.png``, or
            ``sub/a.jpg`` and ``sub/a_mask.png``.

    Raises:
        SagaError: There are no images, images of several kinds, or images without a mask.
    """
    for folder in (images, masks):
        if not Path(folder).is_dir():
            raise SagaError(f'{folder}: no such folder')
    pictures = find_images(images, leave_out=masks)
    # mmseg's data set finds its files by one suffix, case and all
    kinds = Counter(picture.suffix for picture in pictures)
    if len(kinds) > 1:
        counted = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common())
        cure = 'rename' if len({kind.lower() for kind in kinds}) == 1 else 'convert'
        raise SagaError(f'{images}: holds images of several kinds ({counted}); {cure} them to one')
    stems = [os.path.relpath(picture.with_suffix(''), images) for picture in pictures]
    there = {os.path.relpath(mask, masks) for mask in Path(masks).rglob(f'{_literal(Path(stems[0]).name)}*')}
    ends = sorted((name.removeprefix(stems[0]) for name in there if name.startswith(stems[0])), key=len)
    # a.png and a_mask.png may both begin with a: the ending that most images have is meant
    lacking = {end: [stem for stem in stems if not Path(masks, stem + end).is_file()] for end in ends or ['.png']}
    end = min(lacking, key=lambda end: len(lacking[end]))
    if lacking[end]:
        first = lacking[end][0]
        more = f' ({len(lacking[end])} of {len(stems)} images lack theirs)' if len(stems) > 1 else ''
        other = f'. {found}' if (found := spelt_otherwise(Path(masks), first + end)) else ''
        raise SagaError(f'{masks}: has no mask {first}{end} for {first}{pictures[0].suffix}{more}{other}')
    return pictures[0].suffix, end


def _literal(name: str) -> str:
    """A name in which a pattern finds nothing special."""
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in name)
