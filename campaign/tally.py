"""What came of each case, and the table of all."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from saga_mm.display.table import format_table

OUTCOMES = ('right', 'clear error', 'traceback', 'crash', 'hang', 'silent')
GOOD = OUTCOMES[:2]
KEYS = ('module', 'name', 'outcome', 'detail')


@dataclass
class Tally:
    """Counts outcomes, and keeps what there is to say of those that are not right.

    Attributes:
        file: Where all cases go as JSON, one a line, as they come; None for nowhere.
        cases: Module, name, outcome and detail of each case.
    """

    file: Path | None = None
    cases: list[tuple[str, str, str, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, module: str, name: str, outcome: str, detail: str = '') -> None:
        """Count a case; say at once what went wrong."""
        if outcome not in OUTCOMES:
            raise ValueError(f'{outcome} is none of {OUTCOMES}')
        self.cases.append((module, name, outcome, detail))
        if self.file is not None:
            with self.file.open('a') as file:
                file.write(json.dumps(dict(zip(KEYS, self.cases[-1]))) + '\n')
        if outcome not in GOOD:
            self.say(f'{module}: {name}: {outcome}: {detail}')

    def say(self, text: str) -> None:
        """Print a line with the time."""
        seconds = int(time.monotonic() - self.started)
        print(f'{seconds // 60:3d}:{seconds % 60:02d}  {text}', file=sys.stderr, flush=True)

    @property
    def failures(self) -> list[tuple[str, str, str, str]]:
        """The cases that went wrong."""
        return [case for case in self.cases if case[2] not in GOOD]

    def table(self) -> str:
        """A line for each module: how many were tried, and what came of them."""
        rows = []
        for module in dict.fromkeys(case[0] for case in self.cases):
            found = [case[2] for case in self.cases if case[0] == module]
            rows.append([module, len(found), *(found.count(outcome) for outcome in OUTCOMES)])
        if len(rows) > 1:
            rows.append(['all', *(sum(row[i] for row in rows) for i in range(1, len(OUTCOMES) + 2))])
        return format_table(['', 'tried', *OUTCOMES], rows)
