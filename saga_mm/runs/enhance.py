"""Enhance all inputs of a command line, in one process or divided among several."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from saga_mm.display.console import one_line
from saga_mm.display.outcome import print_failed, print_outcome
from saga_mm.display.progress import Lines, progress_meter, shows_bars
from saga_mm.engines import explain
from saga_mm.errors import SagaError, shell_text
from saga_mm.files import file_stamp, user_path
from saga_mm.images.inputs import Job, find_jobs
from saga_mm.images.kind import photo_size
from saga_mm.models.enhancement.finish import Finish
from saga_mm.parallel import Process, SharedWork, this_process
from saga_mm.runs.together import file_facts
from saga_mm.tasks.enhancement.clips import video_megapixels
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer
from saga_mm.tasks.enhancement.photographs import name_sheets, reason_of_failure, run_job
from saga_mm.tasks.enhancement.shared_photo import enhance_shared
from saga_mm.tasks.enhancement.wanted import AUTO, wanted_finish
from saga_mm.version import __version__


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
        explain: Print at the end which engine ran each part, and why.
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
        print_failed(reason)
    for job in skipped:
        print(one_line(f'skipped  {job.source}: {job.target} exists already; --overwrite replaces it'), flush=True)
    sheets = name_sheets(jobs) if options.compare else {}
    with _Screen([_megapixels(job) for job in jobs]) as screen:
        for job in jobs:
            started = time.monotonic()
            try:
                size = run_job(inferencer, job, finish, sheets.get(job), options.overwrite, screen.tell)
            except Exception as error:
                failed.append(reason_of_failure(job, error, shell_text))
                screen.end_job(f'failed   {failed[-1]}')
            else:
                screen.end_job(f'done     {job.source} -> {job.target}  ({size}, {time.monotonic() - started:.1f} s)')
    _explain(options, inferencer)
    print_outcome(len(jobs) + len(refused) - len(failed), len(skipped), failed)
    return len(failed)


def _explain(options: EnhanceOptions, inferencer: LowLightInferencer | None) -> None:
    if options.explain and inferencer is not None and isinstance(inferencer.model, nn.Module):
        print(explain(inferencer.model, budget=inferencer.budget))


def _enhance_together(
    inferencer: LowLightInferencer | None,
    options: EnhanceOptions,
    finish: Finish,
    jobs: Sequence[Job],
    refused: Sequence[SagaError],
    process: Process,
) -> int:
    """As :func:`enhance`, all jobs divided among processes; the first of them tells how it went."""
    sheets = name_sheets(jobs) if options.compare else {}
    names = {f'{job.source} {file_stamp(job.source)} -> {job.target}': job for job in jobs}

    def do(name: str) -> dict[str, str]:
        job = names[name]
        if job.target.exists() and not options.overwrite:
            return {'skipped': f'{job.source}: {job.target} exists already; --overwrite replaces it'}
        try:
            size = run_job(inferencer, job, finish, sheets.get(job), options.overwrite)
        except Exception as error:
            return {'failed': reason_of_failure(job, error, shell_text)}
        return {'done': f'{job.source} -> {job.target}  ({size})'}

    records: dict[str, dict[str, str]] = {}
    if _is_one_photo(options, jobs):
        records = {'': _shared_record(inferencer, options, finish, jobs[0], sheets.get(jobs[0]))}
    elif jobs:
        folder = Path(options.out).expanduser() if options.out else jobs[0].target.parent
        key = json.dumps([__version__, finish, options.weights, file_stamp(Path(options.weights)), options.overwrite])
        work = SharedWork(folder if folder.is_dir() or not folder.suffix else folder.parent, key)
        meter = progress_meter(len(names), 'enhancing', unit=' files') if process.is_first else nullcontext(int)
        with meter as show:
            records = work.run(list(names), do, process, show)
        work.finish(process)
    if not process.is_first:
        return 0
    lines = [(kind, line) for record in records.values() for kind, line in record.items()]
    lines += [('failed', str(error)) for error in refused]
    for kind, line in lines:
        print(one_line(f'{kind:8} {line}'))
    # of this process: others have run their own part of the pictures alike
    _explain(options, inferencer)
    counts = {kind: sum(other == kind for other, _ in lines) for kind in ('done', 'skipped', 'failed')}
    print(', '.join(f'{count} {kind}' for kind, count in counts.items()), flush=True)
    return counts['failed']


def _is_one_photo(options: EnhanceOptions, jobs: Sequence[Job]) -> bool:
    """Whether the user named one photograph and nothing else, which is then divided."""
    return len(options.inputs) == len(jobs) == 1 and jobs[0].kind == 'photo' and user_path(options.inputs[0]).is_file()


def _shared_record(
    inferencer: LowLightInferencer, options: EnhanceOptions, finish: Finish, job: Job, sheet: Path | None
) -> dict[str, str]:
    if job.target.exists() and not options.overwrite:
        return {'skipped': f'{job.source}: {job.target} exists already; --overwrite replaces it'}
    if not finish.strength:
        raise SagaError('--strength 0: leaves a picture as it is; start one process for that')
    facts = {'version': __version__, 'options': str(finish), 'picture': file_facts(job.source)}
    facts['weights'] = f'{options.weights} {file_stamp(Path(options.weights))}'
    return {'done': f'{job.source} -> {job.target}  ({enhance_shared(inferencer, job, finish, sheet, facts)})'}


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
        line = one_line(line)
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
