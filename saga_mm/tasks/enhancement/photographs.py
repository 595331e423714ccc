"""Enhance photographs from file to file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.display.before_after import BeforeAfter
from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.images.inputs import COMPARED, ENDING, Job, find_jobs
from saga_mm.images.notes import write_world_file
from saga_mm.images.photo import PhotoRows
from saga_mm.images.photo_writer import ENCODING_BYTES, LUMA, PhotoWriter, open_photo_writer
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.rows import watch_rows
from saga_mm.tasks.enhancement.clips import enhance_moving

if TYPE_CHECKING:
    from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

# the share of the work that is done before the first row is written
MODEL_SHARE = 0.8

Tell = Callable[[float], None]


def save_photos(
    inferencer: LowLightInferencer,
    source: Path,
    out: str | os.PathLike[str] | None,
    finish: Finish,
    compare: bool,
    overwrite: bool,
) -> Path:
    """See :meth:`LowLightInferencer.save`."""
    jobs, skipped, refused = find_jobs([source], out, overwrite)
    failed = [*map(str, refused)]
    failed += [f'{job.source}: {job.target} exists already; save(..., overwrite=True) replaces it' for job in skipped]
    sheets = name_sheets(jobs) if compare else {}
    cause: Exception | None = None
    for job in jobs:
        if (sheet := sheets.get(job)) is not None and sheet.exists() and not overwrite:
            failed.append(f'{job.source}: {sheet} exists already; save(..., overwrite=True) replaces it')
            continue
        try:
            run_job(inferencer, job, finish, sheet, overwrite)
        except Exception as error:
            failed.append(reason_of_failure(job, error))
            cause = cause or error
    if failed:
        raise SagaError('\n'.join(failed)) from cause
    return user_path(out or source) if source.is_dir() else jobs[0].target


def run_job(
    inferencer: LowLightInferencer,
    job: Job,
    finish: Finish = AS_IT_IS,
    compared: Path | None = None,
    overwrite: bool = False,
    tell: Tell = lambda share: None,
) -> str:
    """Do one thing that the user named.

    Args:
        inferencer: What enhances.
        job: What to do.
        finish: Strength, brightness and denoising.
        compared: Where before and after go, side by side.
        overwrite: Replace that picture if it exists.
        tell: Called with the share that is done, up to 1.

    Returns:
        Its size, for the screen.

    Raises:
        SagaError: It cannot be done.
    """
    if compared is not None and not overwrite and compared.exists():
        raise SagaError(f'{job.source}: {compared} exists already; --overwrite replaces it')
    if job.kind != 'photo':
        return enhance_moving(inferencer, job, finish, compared, tell)
    return enhance_photo(inferencer, job.source, job.target, finish, compared, tell)


def enhance_photo(
    inferencer: LowLightInferencer,
    source: Path,
    target: Path,
    finish: Finish = AS_IT_IS,
    compared: Path | None = None,
    tell: Tell = lambda share: None,
) -> str:
    """Enhance a photograph into a file of the same kind; both are read and written in rows.

    Args:
        inferencer: What enhances.
        source: The photograph.
        target: The file to write. It appears when it is complete.
        finish: Strength, brightness and denoising.
        compared: Where before and after go, side by side.
        tell: Called with the share that is done, up to 1.

    Returns:
        Its size, and what the file does not hold of the photograph, for the screen.

    Raises:
        SagaError: The photograph cannot be read, or the file not be written, or the memory is too small.
    """
    with (
        PhotoRows(source) as photo,
        open_photo_writer(target, photo) as writer,
        watch_rows(lambda share: tell(MODEL_SHARE * share)),
    ):
        height, width, grey = photo.height, photo.width, None
        sheet = BeforeAfter(height, width) if compared is not None else None
        held = _held_bytes(writer) + (sheet.held_bytes if sheet is not None else 0)
        start = 0
        for rows in inferencer.strips(photo, finish, target.parent, held):
            if grey is None:
                # all rows were read for the first answer, so that this costs nothing
                grey = photo.is_grey
            if grey and finish.strength:
                rows = (rows @ LUMA)[..., None].repeat(3, axis=2)
            writer.write(rows)
            if sheet is not None:
                sheet.add(photo.read(start, start + len(rows)), rows)
            start += len(rows)
            tell(MODEL_SHARE + (1 - MODEL_SHARE) * start / height)
        if sheet is not None:
            # a profile of grey says nothing of colours
            sheet.save(compared, b'' if photo.kind.gray else photo.kind.icc)
    # a TIFF file says itself where a map lies
    if photo.kind.notes.geo and writer.kind.format != 'TIFF':
        write_world_file(target, photo.kind.notes.geo)
    return f'{width} x {height}{writer.lost and f"; {writer.lost}"}'


def name_sheets(jobs: Sequence[Job]) -> dict[Job, Path]:
    """Where before and after go: ``NAME_compare.jpg`` beside each target, none of them something else of the run."""
    taken = {path for job in jobs for path in (job.source, job.target)}
    sheets = {}
    for job in jobs:
        ending = '.jpg' if job.kind == 'photo' else job.target.suffix
        stem = job.target.stem.removesuffix(ENDING)
        # a.png and a.tif of one folder
        full = f'{stem}{job.target.suffix}'
        names = chain([stem, full], (f'{full}_{number}' for number in count(2)))
        paths = (job.target.with_name(f'{name}{COMPARED}{ending}') for name in names)
        sheets[job] = next(path for path in paths if path not in taken)
        taken.add(sheets[job])
    return sheets


def reason_of_failure(job: Job, error: Exception, text_of: Callable[[Exception], str] = str) -> str:
    """Why a job failed, in one line that names its source."""
    if isinstance(error, SagaError):
        return text if (text := text_of(error)).startswith(str(job.source)) else f'{job.source}: {text}'
    if isinstance(error, OSError) and error.strerror:
        where = f' ({error.filename})' if error.filename else ''
        return f'{job.source}: {error.strerror}{where}'
    # such as an error of a GPU whose memory is too small; the other jobs can still be done
    text = ' '.join(str(error).split()) or type(error).__name__
    return f'{job.source}: {text[:200]}'


def _held_bytes(writer: PhotoWriter) -> int:
    """What a writer will have in memory at the end: formats that are not written in rows, and their encoder."""
    encoding = ENCODING_BYTES.get(writer.kind.format)
    return 0 if encoding is None else (writer.channels + encoding) * writer.height * writer.width
