"""Find pictures that are both trained and evaluated on."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Iterable

# of more pictures copies are not looked for
MOST = 20_000
# bytes by which files of one size are told apart before they are compared
PIECE = 4096


def shared_pictures(trained: Iterable[str], evaluated: Iterable[str]) -> list[str]:
    """Those of the evaluated pictures that are trained on: as the same file, by links too, or as a copy of one.

    Args:
        trained: Paths.
        evaluated: Paths.
    """
    files = sorted({os.path.realpath(path) for path in trained})
    # two names of one file, by a link, are one picture
    names, others = set(files), {path: os.path.realpath(path) for path in sorted(evaluated)}
    copied = _copies(files, [real for real in others.values() if real not in names]) if len(files) <= MOST else set()
    return [path for path, real in others.items() if real in names or real in copied]


def shared_text(trained: Iterable[str], evaluated: Iterable[str]) -> str:
    """The same as a warning; empty if there is none."""
    evaluated = list(evaluated)
    shared = shared_pictures(trained, evaluated)
    if not shared:
        return ''
    return (
        f'{len(shared):,} of the {len(evaluated):,} pictures to evaluate on are trained on as well, such as '
        f'{shared[0]}; the figures will be too high'
    )


def _copies(files: list[str], others: list[str]) -> set[str]:
    """Those of ``others`` that have the content of one of the files."""
    sizes = {path: _size(path) for path in files}
    known = set(sizes.values()) - {None}
    wanted = {path: size for path in others if (size := _size(path)) in known}
    both, alike = set(wanted.values()), defaultdict(list)
    for path, size in sizes.items():
        if size in both and size is not None:
            alike[size, _piece(path, size)].append(path)
    return {
        path
        for path, size in wanted.items()
        if any(filecmp.cmp(path, file, shallow=False) for file in alike.get((size, _piece(path, size)), ()))
    }


def _piece(path: str, size: int) -> bytes | None:
    """Some bytes of the middle of a file; None if it cannot be read."""
    try:
        with open(path, 'rb') as file:
            file.seek(max(size - PIECE, 0) // 2)
            return file.read(PIECE)
    except OSError:
        return None


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None
