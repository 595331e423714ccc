"""Jobs of the campaign, what came of each case, and the table of all."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from saga_mm.display.table import format_table
from saga_mm.errors import SagaError

OUTCOMES = ('right', 'clear error', 'traceback', 'crash', 'hang', 'silent')
GOOD = OUTCOMES[:2]
KEYS = ('module', 'name', 'outcome', 'detail')


@dataclass
class Job:
    """Cases that are run together, and repeated together if the campaign stops among them.

    Attributes:
        tally: Where the cases are counted when the job is closed.
        module: Which attack it belongs to.
        number: Its place in the attack.
        drawn: Random numbers of its own, which do not depend on what other jobs draw.
        cases: Module, name, outcome and detail of each case.
    """

    tally: Tally
    module: str
    number: int
    drawn: Random
    cases: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, name: str, outcome: str, detail: str = '') -> None:
        """Count a case; print at once what went wrong."""
        if outcome not in OUTCOMES:
            raise ValueError(f'{outcome} is none of {OUTCOMES}')
        self.cases.append((self.module, name, outcome, detail))
        if outcome not in GOOD:
            self.tally.say(f'{self.module}: {name}: {outcome}: {detail}')

    def close(self) -> None:
        """Have the cases counted."""
        self.tally.take(self)

    def closing(self, steps: Generator[Any, Any, None]) -> Generator[Any, Any, None]:
        """The steps, and :meth:`close`."""
        yield from steps
        self.close()


@dataclass
class Tally:
    """Counts outcomes, and keeps the details of those that are not right.

    Args:
        file: Where finished jobs are written as JSON, one a line; None for nowhere.
        seed: Of all that is drawn.
        minutes: After which no further job is begun; None for never.

    Attributes:
        cases: Module, name, outcome and detail of each case of finished jobs.
        finished: Module and number of finished jobs.
        seconds: How long each module took.
        is_stopped: Whether jobs were left out for lack of time.
    """

    file: Path | None = None
    seed: int = 0
    minutes: float | None = None
    cases: list[tuple[str, str, str, str]] = field(default_factory=list)
    finished: set[tuple[str, int]] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    is_stopped: bool = False
    started: float = field(default_factory=time.monotonic)

    def begin(self, facts: dict[str, object], resumes: bool) -> None:
        """Begin a file, or go on with it: what went wrong is done again.

        Args:
            facts: What the jobs depend on, kept in the first line.
            resumes: Whether to go on.

        Raises:
            SagaError: There is nothing to go on with, or it was begun with other facts.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(facts)]
        if resumes and self.file.exists():
            lines = self.file.read_text().splitlines()
            if json.loads(lines[0]) != facts:
                raise SagaError(f'{self.file} was begun with {lines[0]}; --resume needs the same, or another --out')
            lines = [lines[0], *self._take_lines(lines[1:])]
        self.file.write_text(''.join(f'{line}\n' for line in lines))

    def _take_lines(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            entry = json.loads(line)
            module = entry['module']
            if 'seconds' in entry:
                self.seconds[module] = self.seconds.get(module, 0.0) + entry['seconds']
            elif all(case['outcome'] in GOOD for case in entry['cases']):
                self.finished.add((module, entry['job']))
                self.cases += [tuple(case[key] for key in KEYS) for case in entry['cases']]
            else:
                continue
            yield line

    def jobs(self, module: str, count: int) -> Iterator[Job]:
        """Jobs that are not finished, as long as there is time."""
        for number in range(count):
            if (module, number) in self.finished:
                continue
            if self.minutes is not None and time.monotonic() - self.started > 60 * self.minutes:
                self.is_stopped = True
                return
            yield Job(self, module, number, Random(f'{module} {self.seed} {number}'))

    def take(self, job: Job) -> None:
        """Count the cases of a finished job."""
        self.finished.add((job.module, job.number))
        self.cases += job.cases
        cases = [dict(zip(KEYS, case)) for case in job.cases]
        self._write({'module': job.module, 'job': job.number, 'cases': cases})

    def took(self, module: str, seconds: float) -> None:
        """Add to the time of a module."""
        self.seconds[module] = self.seconds.get(module, 0.0) + seconds
        self._write({'module': module, 'seconds': seconds})

    def _write(self, entry: dict[str, object]) -> None:
        if self.file is not None:
            with self.file.open('a') as file:
                file.write(json.dumps(entry) + '\n')

    def say(self, text: str) -> None:
        """Print a line with the time."""
        seconds = int(time.monotonic() - self.started)
        print(f'{seconds // 60:3d}:{seconds % 60:02d}  {text}', file=sys.stderr, flush=True)

    @property
    def failures(self) -> list[tuple[str, str, str, str]]:
        """The cases that went wrong."""
        return [case for case in self.cases if case[2] not in GOOD]

    def table(self) -> str:
        """A line for each module: how many were tried, what came of them, and the minutes that they took."""
        rows = []
        for module in dict.fromkeys(case[0] for case in self.cases):
            found = [case[2] for case in self.cases if case[0] == module]
            rows.append([module, len(found), *map(found.count, OUTCOMES), self.seconds.get(module, 0.0) / 60])
        if len(rows) > 1:
            rows.append(['all', *(sum(row[i] for row in rows) for i in range(1, len(OUTCOMES) + 3))])
        rows = [[*row[:-1], f'{row[-1]:.1f}'] for row in rows]
        return format_table(['', 'tried', *OUTCOMES, 'minutes'], rows)
