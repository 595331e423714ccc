"""Photographs enhanced from file to file: what ``tools/enhance.py`` does."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from torch import nn

from saga_mm.display.before_after import BeforeAfter
from saga_mm.display.progress import Lines, progress_meter, shows_bars
from saga_mm.engines import explain
from saga_mm.errors import SagaError, shell_text
from saga_mm.files import user_path
from saga_mm.images.inputs import COMPARED, ENDING, Job, find_jobs
from saga_mm.images.kind import photo_size
from saga_mm.images.notes import write_world_file
from saga_mm.images.photo import PhotoRows
from saga_mm.images.photo_writer import ENCODING_BYTES, LUMA, PhotoWriter, open_photo_writer
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.parallel import Process, SharedWork, this_process
from saga_mm.rows import watch_rows
from saga_mm.tasks.enhancement.clips import enhance_moving, video_megapixels
from saga_mm.tasks.enhancement.inferencer import AUTO, LowLightInferencer, wanted_finish
from saga_mm.version import __version__

# the part of the work before the first row is written
MODEL_SHARE = 0.8

Tell = Callable[[float], None]


@dataclass
class EnhanceOptions:
    """The command line of an enhancement.

    Attributes:
        inputs: Pictures, folders or patterns.
        out: The file or folder to write; None for ``NAME_enhanced`` beside each input.
        strength: 0 leaves a picture as it is, 1 is the model's answer.
        brightness: Mean luminance to reach, or ``'auto'``.
        match: A picture whose mean luminance is that.
        denoise: From 0 to 1.
        compare: Write before and after side by side as well.
        weights: A name of weights that come with the package, or a file.
        device: Where to run.
        max_memory: What the program may take, such as ``'2GB'``; None for half of what is free.
        engine: As of :func:`saga_mm.engines.use_engine`.
        precision: As of :func:`saga_mm.engines.use_engine`.
        explain: Say at the end what ran where, and why.
        overwrite: Replace files that exist.
    """

    inputs: Sequence[str]
    out: str | None = None
    strength: float = 1.0
    brightness: float | str = AUTO
    match: str | None = None
    denoise: float = 1.0
    compare: bool = False
    weights: str = 'base'
    device: str | None = None
    max_memory: str | None = None
    engine: str = 'auto'
    precision: str = 'f32'
    explain: bool = False
    overwrite: bool = False


def enhance(options: EnhanceOptions) -> int:
    """Enhance all inputs. One that cannot be done does not stop the others.

    Returns:
        How many could not be done.

    Raises:
        SagaError: Something was wrong before the first of them.
    """
    finish = wanted_finish(options.strength, options.brightness, options.match, options.denoise)
    process = this_process()
    # what others have done by now is found by its record
    jobs, skipped, refused = find_jobs(options.inputs, options.out, options.overwrite or process.count > 1)
    chosen = (options.weights, options.device, options.max_memory, options.engine, options.precision)
    inferencer = LowLightInferencer(*chosen) if jobs else None
    if process.count > 1:
        return _enhance_together(inferencer, options, finish, jobs, refused, process)
    failed = [str(error) for error in refused]
    for reason in failed:
        print(f'failed   {reason}', flush=True)
    for job in skipped:
        print(f'skipped  {job.source}: {job.target} exists already; --overwrite replaces it', flush=True)
    sheets = _name_sheets(jobs) if options.compare else {}
    with _Screen([_megapixels(job) for job in jobs]) as screen:
        for job in jobs:
            started = time.monotonic()
            try:
                size = run_job(inferencer, job, finish, sheets.get(job), options.overwrite, screen.tell)
            except Exception as error:
                failed.append(_reason(job, error, shell_text))
                screen.end_job(f'failed   {failed[-1]}')
            else:
                screen.end_job(f'done     {job.source} -> {job.target}  ({size}, {time.monotonic() - started:.1f} s)')
    if options.explain and inferencer is not None and isinstance(inferencer.model, nn.Module):
        print(explain(inferencer.model, budget=inferencer.budget))
    done = len(jobs) + len(refused) - len(failed)
    print(f'{done} done, {len(skipped)} skipped, {len(failed)} failed{":" if failed else ""}')
    for reason in failed:
        print(f'  {reason}')
    return len(failed)


def _enhance_together(
    inferencer: LowLightInferencer | None,
    options: EnhanceOptions,
    finish: Finish,
    jobs: Sequence[Job],
    refused: Sequence[SagaError],
    process: Process,
) -> int:
    """As :func:`enhance`, all jobs divided among processes; the first of them tells how it went."""
    if any(job.kind == 'camera' for job in jobs):
        raise SagaError('a camera is recorded by one process; start it without torchrun or srun')
    sheets = _name_sheets(jobs) if options.compare else {}
    names = {f'{job.source} {_stamp(job.source)} -> {job.target}': job for job in jobs}

    def do(name: str) -> dict[str, str]:
        job = names[name]
        if job.target.exists() and not options.overwrite:
            return {'skipped': f'{job.source}: {job.target} exists already; --overwrite replaces it'}
        try:
            size = run_job(inferencer, job, finish, sheets.get(job), options.overwrite)
        except Exception as error:
            return {'failed': _reason(job, error, shell_text)}
        return {'done': f'{job.source} -> {job.target}  ({size})'}

    records: dict[str, dict[str, str]] = {}
    if jobs:
        folder = Path(options.out).expanduser() if options.out else jobs[0].target.parent
        key = json.dumps([__version__, finish, options.weights, _stamp(Path(options.weights)), options.overwrite])
        work = SharedWork(folder if folder.is_dir() or not folder.suffix else folder.parent, key)
        meter = progress_meter(len(names), 'enhancing', unit=' files') if process.is_first else nullcontext(int)
        with meter as show:
            records = work.run(list(names), do, process, show)
    if not process.is_first:
        return 0
    lines = [(kind, line) for record in records.values() for kind, line in record.items()]
    lines += [('failed', str(error)) for error in refused]
    for kind, line in lines:
        print(f'{kind:8} {line}')
    counts = {kind: sum(other == kind for other, _ in lines) for kind in ('done', 'skipped', 'failed')}
    print(', '.join(f'{count} {kind}' for kind, count in counts.items()), flush=True)
    return counts['failed']


def _stamp(path: Path) -> str:
    """What changes with a file."""
    try:
        found = path.stat()
    except OSError:
        return ''
    return f'{found.st_size} {found.st_mtime_ns}'


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
    sheets = _name_sheets(jobs) if compare else {}
    cause: Exception | None = None
    for job in jobs:
        try:
            run_job(inferencer, job, finish, sheets.get(job), overwrite)
        except Exception as error:
            failed.append(_reason(job, error))
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
        finish: What becomes of the answer.
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
        finish: What becomes of the answer.
        compared: Where before and after go, side by side.
        tell: Called with the share that is done, up to 1.

    Returns:
        Its size, for the screen.

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
    return f'{width} x {height}'


def _name_sheets(jobs: Sequence[Job]) -> dict[Job, Path]:
    """Where before and after go: ``NAME_compare.jpg`` beside each target, none of them something else of the run."""
    taken = {path for job in jobs for path in (job.source, job.target)}
    sheets = {}
    for job in jobs:
        if job.kind == 'camera':
            continue
        ending = '.jpg' if job.kind == 'photo' else job.target.suffix
        stem = job.target.stem.removesuffix(ENDING)
        # a.png and a.tif of one folder
        full = f'{stem}{job.target.suffix}'
        names = chain([stem, full], (f'{full}_{number}' for number in count(2)))
        paths = (job.target.with_name(f'{name}{COMPARED}{ending}') for name in names)
        sheets[job] = next(path for path in paths if path not in taken)
        taken.add(sheets[job])
    return sheets


def _held_bytes(writer: PhotoWriter) -> int:
    """What a writer will have in memory at the end: formats that are not written in rows, and their encoder."""
    encoding = ENCODING_BYTES.get(writer.kind.format)
    return 0 if encoding is None else (writer.channels + encoding) * writer.height * writer.width


class _Screen:
    """A bar of all jobs with the time that is left, where tqdm and a terminal are, and lines above it."""

    def __init__(self, sizes: Sequence[float]) -> None:
        self.sizes, self.job, self.bar, self.lines = sizes, 0, None, None
        if not sizes:
            return
        if not shows_bars():
            self.lines = Lines(100, self._text(), ' %')
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        layout = '{desc}: {percentage:3.0f}%|{bar}| {elapsed} taken, {remaining} left'
        self.bar: Any = tqdm(total=sum(sizes), bar_format=layout, dynamic_ncols=True, desc=self._text())

    def tell(self, share: float) -> None:
        """Of the job at hand, this much is done."""
        if self.bar is not None:
            done = sum(self.sizes[: self.job]) + share * self.sizes[self.job]
            self.bar.update(done - self.bar.n)
        elif self.lines is not None:
            self.lines.text = self._text()
            self.lines.show(100 * share)

    def end_job(self, line: str) -> None:
        """The job at hand is over: say so, and go on to the next."""
        self.tell(1)
        self.job += 1
        if self.bar is None:
            print(line, flush=True)
            return
        self.bar.write(line, file=sys.stdout)
        sys.stdout.flush()
        self.bar.set_description_str(self._text())

    def _text(self) -> str:
        return f'{self.job} of {len(self.sizes)}'

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _megapixels(job: Job) -> float:
    """How much work a job is, in the unit of the bar; what cannot be read is none."""
    try:
        if job.kind == 'video':
            return video_megapixels(job.source)
        height, width = photo_size(job.source)
    except (SagaError, TypeError):
        return 1e-6
    return height * width / 1e6


def _reason(job: Job, error: Exception, text_of: Callable[[Exception], str] = str) -> str:
    if isinstance(error, SagaError):
        return text if (text := text_of(error)).startswith(str(job.source)) else f'{job.source}: {text}'
    if isinstance(error, OSError) and error.strerror:
        where = f' ({error.filename})' if error.filename else ''
        return f'{job.source}: {error.strerror}{where}'
    # too large for the memory of a GPU, ...: the others can still be done
    text = ' '.join(str(error).split()) or type(error).__name__
    return f'{job.source}: {text[:200]}'
