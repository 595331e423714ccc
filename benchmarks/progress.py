"""One line that says what runs and how long the rest will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from typing import TextIO

from .cases import Case, ResultRow


class BenchmarkProgress:
    """Foresees time by multiply-accumulates and what each subject has needed for one so far.

    Args:
        rows: All that will be run.
        runs: How often each of them.
        stream: Where the line goes; in a file there is a new one now and then.
    """

    def __init__(self, rows: Iterable[ResultRow], runs: int, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.left = {row.case: runs for row in rows}
        self.macs = {row.case: max(row.macs, 1) for row in rows}
        self.pace: dict[tuple[str, bool], float] = {}
        self.said = 0.0

    def ran(self, case: Case, seconds: float) -> None:
        """A run of a case took so long."""
        self.left[case] = max(self.left[case] - 1, 0)
        self.pace[case.name, case.compiled] = seconds / self.macs[case]

    def dropped(self, case: Case) -> None:
        """A case will not run any more."""
        self.left[case] = 0

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take; None before anything has run."""
        if not self.pace:
            return None
        usual = sum(self.pace.values()) / len(self.pace)
        return sum(
            runs * self.macs[case] * self.pace.get((case.name, case.compiled), usual)
            for case, runs in self.left.items()
        )

    def say(self, what: str) -> None:
        """Show what runs now, if that was not done just before."""
        now = time.monotonic()
        if now - self.said < (0.2 if self.stream.isatty() else 10.0):
            return
        self.said = now
        left = '' if self.seconds_left is None else f', {readable(self.seconds_left)} left'
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f'\r{what + left:<{width}.{width}}')
        else:
            self.stream.write(f'{what}{left}\n')
        self.stream.flush()

    def clear(self) -> None:
        """Take the line away, for something else to be printed."""
        if self.stream.isatty():
            self.stream.write('\r\033[K')


def readable(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
