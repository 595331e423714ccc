"""Turn the inputs and the output that a user names into a list of jobs."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from saga_mm.errors import SagaError
from saga_mm.files import user_path

from .content import UNREAD_SUFFIXES, VIDEO, VIDEO_SUFFIXES, kind_of_content, refusal_of
from .headers import any_size
from .metadata import DAMAGE
from .picture_folders import SUFFIXES, scan_folder
from .pictures import WRITTEN, open_picture

# endings of files that are not written, and that nobody gives a folder
FOREIGN_SUFFIXES = (*UNREAD_SUFFIXES, *('.pdf', '.psd', '.svg', '.eps', '.tga', '.pcx', '.sgi', '.ico'))
# what can be named, as input or output: more than what is looked for in a folder
PICTURE_SUFFIXES = (*SUFFIXES, '.jpe', '.avif', '.pnm')
# of the name of a result, and of before and after side by side
ENDING, COMPARED = '_enhanced', '_compare'


class Job(NamedTuple):
    """A file to enhance.

    Attributes:
        source: A picture or video file.
        target: The file to write.
        kind: ``photo`` or ``video``.
    """

    source: Path
    target: Path
    kind: Literal['photo', 'video']


class Jobs(NamedTuple):
    """The jobs of a command line.

    Attributes:
        jobs: In the order of the inputs, those of a folder by name.
        skipped: Those whose target exists.
        refused: A line for each input that cannot be done; the others can.
    """

    jobs: list[Job]
    skipped: list[Job]
    refused: list[SagaError]


def find_jobs(inputs: Sequence[str | Path], output: str | Path | None = None, overwrite: bool = False) -> Jobs:
    """Find what the inputs mean and where each result goes.

    An input is a picture, a video, a folder (its pictures and videos, and those of the folders in it), or a pattern
    such as ``'*.jpg'``. Without ``output``, ``photo.jpg`` becomes ``photo_enhanced.jpg`` beside
    it; a picture with the ending of another format gets the ending of its own. With a folder as ``output``, results
    have the names of their sources there; folders keep their structure, each under its own name where there are several
    inputs.

    Earlier results (``*_enhanced.*``) are no inputs, except where one is named without its original. Links inside or
    beside a folder are followed. The kind of a file is found from its content, not from its ending.

    Args:
        inputs: As on the command line.
        output: A file, for one input that is not a folder, or a folder. A path that does not exist is taken for a file
            if it ends as a picture or a video does, one that is not written among them.
        overwrite: Replace targets that exist.

    Raises:
        SagaError: The output is one file and the inputs are several.
    """
    found: list[tuple[Path, Path]] = []
    refused: list[SagaError] = []
    out = None if output is None else user_path(output)
    for name in inputs:
        try:
            found += _expand(str(name), len(inputs) > 1, out, refused)
        except SagaError as error:
            refused.append(error)
    found = _without_results(found)
    several = len(found) > 1 or any(user_path(name).is_dir() for name in inputs)
    to_file = out is not None and _is_file(out, str(output), several)
    if to_file and several:
        raise SagaError(f'{output}: is one file for {len(found)} results; name a folder')
    if out is not None and not to_file and out.exists() and not out.is_dir():
        raise SagaError(f'{output}: is a file; name a folder, or a file that ends in .jpg, .png, .tif or .mp4')
    sources = {os.path.realpath(source) for source, _ in found}
    jobs, skipped, taken = [], [], {}
    for source, below in found:
        job = _job(source, below, out, to_file)
        try:
            _require_free(job, sources, taken)
            (skipped if job.target.exists() and not overwrite else jobs).append(job)
        except SagaError as error:
            refused.append(error)
        except OSError as error:
            # a name that is too long with its ending, for instance
            refused.append(SagaError(f'{job.source}: its output {job.target}: {error.strerror}'))
    return Jobs(jobs, skipped, refused)


def _expand(name: str, several: bool, out: Path | None, refused: list[SagaError]) -> list[tuple[Path, Path]]:
    """Sources, each with its place below an output folder; ``refused`` gets a line for each that cannot be done."""
    path = user_path(name)
    if path.is_dir():
        return [(inner, path.name / below if several else below) for inner, below in _in_folder(path, out, refused)]
    if path.exists() and not path.is_file():
        raise SagaError(f'{name}: is {refusal_of(path, path.parent)}')
    if path.exists():
        return [(path, Path(path.name))]
    if not glob.has_magic(name):
        raise SagaError(f'{name}: no such picture, video or folder')
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    files = [match for match in matches if _is_meant(match)]
    originals = [match for match in files if not match.stem.endswith(ENDING)]
    if not originals:
        raise SagaError(f'{name}: no picture or video fits this pattern')
    # what the pattern's folders have in common is left out, so that equal names in different folders stay apart
    root = Path(os.path.commonpath([match.parent for match in originals]))
    return [(match, match.relative_to(root)) for match in originals]


def _in_folder(folder: Path, out: Path | None, refused: list[SagaError]) -> list[tuple[Path, Path]]:
    inside = out is not None and out.resolve() != folder.resolve()
    scanned = scan_folder(folder, leave_out=out if inside else None)
    refused += map(SagaError, scanned.lines())
    found = sorted(path for path in scanned.pictures + scanned.videos if not path.stem.endswith(ENDING))
    if not found and not scanned.left_out:
        raise SagaError(f'{folder}: has no pictures and no videos in it other than earlier results')
    return [(path, path.relative_to(folder)) for path in found]


def _without_results(found: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Each source once, and none that was made from another of them: a shell expands ``*.jpg`` to both."""
    sources = {source for source, _ in found}
    originals = sources | {source.with_suffix('') for source in sources}
    kept: dict[Path, Path] = {}
    for source, below in found:
        if not _is_made(source, sources, originals):
            kept.setdefault(source, below)
    return list(kept.items())


def _is_made(source: Path, sources: set[Path], originals: set[Path]) -> bool:
    if source.stem.endswith(COMPARED):
        return source.with_name(source.stem.removesuffix(COMPARED)) in originals
    return source.stem.endswith(ENDING) and source.with_stem(source.stem.removesuffix(ENDING)) in sources


def _is_file(out: Path, written: str, several: bool) -> bool:
    if out.is_dir() or written.endswith('/'):
        return False
    return _suffix(out) in PICTURE_SUFFIXES + VIDEO_SUFFIXES + (() if several else FOREIGN_SUFFIXES)


def _job(source: Path, below: Path, out: Path | None, to_file: bool) -> Job:
    kind = 'video' if _is_video(source) else 'photo'
    ending = _right_ending(source) if kind == 'photo' else None
    if out is not None:
        below = below if ending is None else below.with_suffix(ending)
        return Job(source, out if to_file else out / below, kind)
    return Job(source, source.with_name(f'{source.stem}{ENDING}{source.suffix if ending is None else ending}'), kind)


def _require_free(job: Job, sources: set[str], taken: dict[str, Path]) -> None:
    real = os.path.realpath(job.target)
    if real in sources or (job.target.exists() and job.target.samefile(job.source)):
        what = 'the output would be the input' if real == os.path.realpath(job.source) else 'the output is an input'
        raise SagaError(f'{job.source}: {what}, {job.target}; name another output')
    if job.target.is_dir():
        raise SagaError(f'{job.source}: its output {job.target} is a folder; name another output')
    first = taken.setdefault(real, job.source)
    if first != job.source:
        raise SagaError(f'{job.source}: its output {job.target} is also that of {first}; name their folders instead')


def _right_ending(path: Path) -> str | None:
    """The ending of a picture's own format, where its name has another; None where the name is right."""
    try:
        with any_size(), open_picture(path) as image:
            format_name = 'JPEG' if image.format == 'MPO' else image.format
    except DAMAGE:
        return None
    if not path.suffix or WRITTEN.get(_suffix(path)) == format_name:
        return None
    return next((ending for ending, name in WRITTEN.items() if name == format_name), None)


def _is_meant(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return _suffix(path) in PICTURE_SUFFIXES + VIDEO_SUFFIXES or kind_of_content(path) != ''
    except OSError:
        return True


def _is_video(path: Path) -> bool:
    try:
        kind = kind_of_content(path)
    except OSError:
        kind = ''
    return kind == VIDEO or (kind == '' and _suffix(path) in VIDEO_SUFFIXES)


def _suffix(path: Path) -> str:
    return path.suffix.lower()
