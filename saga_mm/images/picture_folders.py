"""Find pictures and videos in a folder, by content and by ending."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from saga_mm.errors import SagaError
from saga_mm.files import user_path

from .content import PICTURE, UNREAD_SUFFIXES, VIDEO, VIDEO_SUFFIXES, is_junk_folder, kind_of_content, refusal_of

SUFFIXES = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm', '.pbm', '.jp2')


# endings of pictures that their first bytes do not tell
ENDINGS = (*SUFFIXES, '.tga', '.pcx', '.sgi')


class Found(NamedTuple):
    """The files in a folder and the folders in it, by name.

    Attributes:
        pictures: Those that are pictures by their content or their ending.
        videos: Those that are videos.
        left_out: Files that a user may have meant but that cannot be read, with the reason.
    """

    pictures: list[Path]
    videos: list[Path]
    left_out: list[tuple[Path, str]]

    def lines(self) -> list[str]:
        """A line for each file that is left out."""
        return [f'{path}: is {reason}' for path, reason in self.left_out]


def scan_folder(folder: Path, leave_out: str | Path | None = None) -> Found:
    """Look through a folder and the folders in it; links inside or beside the data are followed.

    Args:
        folder: The folder.
        leave_out: A folder inside it to skip: that of the results.
    """
    skipped = Path(leave_out).resolve() if leave_out is not None else None
    found, seen = Found([], [], []), {os.path.realpath(folder)}
    for place, inner, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(inner):
            path = Path(place, name)
            real = os.path.realpath(path)
            if is_junk_folder(name) or Path(real) == skipped or real in seen:
                continue
            if reason := refusal_of(path, folder):
                found.left_out.append((path, reason))
                continue
            seen.add(real)
            kept.append(name)
        inner[:] = kept
        for name in sorted(name for name in files if not name.startswith('.')):
            _sort_in(Path(place, name), folder, found)
    return found


def _sort_in(path: Path, folder: Path, found: Found) -> None:
    usual = path.suffix.lower() in ENDINGS
    reason = refusal_of(path, folder)
    if reason is None:
        try:
            kind = kind_of_content(path)
        except OSError as error:
            kind = reason = f'not readable ({error.strerror})'
    if reason is not None:
        # files with other endings are not reported
        if usual or path.is_symlink() or path.suffix.lower() in UNREAD_SUFFIXES + VIDEO_SUFFIXES:
            found.left_out.append((path, reason))
    elif kind == PICTURE or (usual and kind == ''):
        found.pictures.append(path)
    elif kind == VIDEO or (kind == '' and path.suffix.lower() in VIDEO_SUFFIXES):
        found.videos.append(path)
    elif kind or path.suffix.lower() in UNREAD_SUFFIXES:
        found.left_out.append((path, kind or 'no photograph, or a damaged one'))


def require_there(source: str | Path) -> Path:
    """A file or a folder that a user names.

    Raises:
        SagaError: There is neither.
    """
    path = user_path(source)
    if not (path.is_file() or path.is_dir()):
        reason = f'is {refusal_of(path, path.parent)}' if os.path.lexists(path) else 'no such picture or folder'
        raise SagaError(f'{source}: {reason}')
    return path


def find_images(source: str | Path, leave_out: str | Path | None = None) -> list[Path]:
    """The picture that a path names, or all pictures in a folder and the folders in it, by name.

    Args:
        source: A file or a folder.
        leave_out: A folder inside ``source`` to skip: that of the results.

    Raises:
        SagaError: There is nothing at the path, or no picture in the folder.
    """
    path = require_there(source)
    if path.is_file():
        return [path]
    found = scan_folder(path, leave_out)
    if not found.pictures:
        others = ''.join(f'; {line}' for line in found.lines()[:3])
        raise SagaError(f'{source}: has no pictures in it ({", ".join(SUFFIXES)}){others}')
    return found.pictures
