"""The whole of a benchmark: trace, gate, times in turns, peaks of memory, and a report after every group."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import groupby

import torch

from saga_mm.analysis.parts import first_line
from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError
from saga_mm.files import make_folder

from .cases import Case, ResultRow
from .ceilings import measure_ceilings
from .gate import check, complaint
from .machine import available_bytes, full_machine
from .memory import measure_peak
from .options import Options, plan
from .plots import plot
from .progress import BenchmarkProgress
from .protocol import take_turns, timer
from .report import Report, trace_tables
from .steps import Step, forget_compiled, largest_error
from .subjects import build, trace

# of the memory that is free
SHARE = 0.8
# runs of a case beside the rounds: the first, and two for its memory
OTHER_RUNS = 3


def run(options: Options) -> int:
    """Measure what is asked for, print tables and write them, with what led to them, into a folder.

    After Ctrl-C what was measured is written, too.

    Returns:
        Exit status: 1 if a subject computed something else than it should, otherwise 0.

    Raises:
        SagaError: An option is wrong.
    """
    cases = plan(options)
    folder = make_folder(options.folder)
    if options.threads:
        torch.set_num_threads(options.threads)
    report = Report(options, full_machine())
    try:
        if not options.trace:
            report.failed = gate(cases)
        failed = {(case.part, case.name) for case in report.failed}
        rows = traced([case for case in cases if (case.part, case.name) not in failed])
        if options.trace:
            report.rows = rows
            print(trace_tables(rows))
        else:
            _measure_all(rows, options, report)
    except KeyboardInterrupt:
        report.interrupted = True
        raise
    finally:
        if report.rows or report.failed:
            files = [*report.write(folder), *plot(report.rows, folder)]
            print(f'written: {", ".join(map(str, files))}')
    return 1 if report.failed or any(row.wrong for row in report.rows) else 0


def gate(cases: Iterable[Case]) -> dict[Case, str]:
    """What is wrong with whom, each subject looked at once for all sizes."""
    subjects = {(case.part, case.name): case.eager for case in reversed(list(cases))}
    failed = {}
    for case in progress_bar([*subjects.values()][::-1], len(subjects), 'correctness', unit=' subjects'):
        if reason := check(case):
            failed[case] = reason
            print(f'{case.part} {case.name}: {reason}'.strip(), file=sys.stderr)
    return failed


def traced(cases: Iterable[Case]) -> list[ResultRow]:
    """A row for each case; a compiled one has the figures of its eager form."""
    cases = list(cases)
    eager = dict.fromkeys(case.eager for case in cases)
    found = {case: trace(case) for case in progress_bar(eager, len(eager), 'tracing', unit=' cases')}
    return [replace(found[case.eager], case=case, samples=[]) for case in cases]


def _measure_all(rows: list[ResultRow], options: Options, report: Report) -> None:
    progress = BenchmarkProgress(rows, options.repeats + OTHER_RUNS)
    for _, group in groupby(rows, key=lambda row: (row.case.part, row.case.size)):
        members = list(group)
        report.rows += members
        _measure(members, options, progress)
        progress.clear()
        print(f'{report.table(members)}\n', flush=True)
        report.write(options.folder)


def _measure(rows: list[ResultRow], options: Options, progress: BenchmarkProgress) -> None:
    """Measure what shares part and size."""
    free = available_bytes(options.device)
    for row in rows:
        need = row.whole_bytes if row.case.compiled else row.live_bytes
        if free is not None and need > SHARE * free:
            _skip(row, f'needs {need / 2**30:.1f} GiB of the {free / 2**30:.1f} that are free', progress)
    ceilings = measure_ceilings(options.device, rows[0].case.torch_dtype)
    for row in rows:
        row.ceilings = ceilings
    steps = _warm_up([row for row in rows if not row.skipped], progress)
    seconds = timer(options.device)
    runs = {row.case: partial(_run, step, seconds) for row, step in steps}
    samples = {row.case: row.samples for row, _ in steps}

    def watch(case: Case, took: float) -> None:
        progress.ran(case, took)
        progress.say(f'{_where(case)}: {case.label}, run {len(samples[case])}')

    take_turns(runs, samples, options.repeats, options.min_seconds, watch)
    del runs, steps
    gc.collect()
    forget_compiled()
    for row in rows:
        if options.memory and row.samples:
            progress.say(f'{_where(row.case)}: {row.case.label}, memory')
            try:
                row.peak_bytes = measure_peak(row.case, torch.get_num_threads())
            except SagaError as error:
                progress.clear()
                print(f'memory is not known: {error}', file=sys.stderr)
            for _ in range(OTHER_RUNS - 1):
                progress.ran(row.case, row.samples[-1])
        progress.dropped(row.case)


def _run(step: Step, seconds: Callable[[Callable], float]) -> float:
    step.forget()
    return seconds(step)


def _warm_up(rows: list[ResultRow], progress: BenchmarkProgress) -> list[tuple[ResultRow, Step]]:
    """Build and run each; what is compiled must give what its eager form gave."""
    compiled = {row.case.eager for row in rows if row.case.compiled}
    seconds = timer(rows[0].case.device) if rows else None
    steps, built, subject, expected = [], None, None, None
    for row in rows:
        case = row.case
        progress.say(f'{_where(case)}: {case.label}, first run')
        if built != case.eager:
            built, subject, expected = case.eager, build(case), None
        step = Step(subject, case.backward, case.compiled)
        try:
            row.warm_up = seconds(step)
            found = step.results() if case.eager in compiled else None
        # kernels, compilers and allocators fail in their own ways; the others can still be measured
        except Exception as error:
            _skip(row, f'does not run: {first_line(error)}', progress)
            continue
        if case.compiled and expected is not None:
            reason = complaint(largest_error(found, expected), case.dtype, 'its eager form')
            if reason:
                row.wrong = True
                _skip(row, reason, progress)
                continue
        expected = None if case.compiled else found
        steps.append((row, step))
    return steps


def _skip(row: ResultRow, reason: str, progress: BenchmarkProgress) -> None:
    row.skipped = reason
    progress.dropped(row.case)
    progress.clear()
    print(f'{_where(row.case)}: {row.case.label} is left out: {reason}', file=sys.stderr)


def _where(case: Case) -> str:
    return f'{case.part or case.layer} {case.size[0]} x {case.size[1]}'
