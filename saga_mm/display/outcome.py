"""Say what came of several files."""

from __future__ import annotations

from collections.abc import Sequence

from saga_mm.display.console import one_line


def print_failed(reason: str) -> None:
    """Print a line for a file that could not be done."""
    print(one_line(f'failed   {reason}'), flush=True)


def print_outcome(done: int, skipped: int, failed: Sequence[str]) -> None:
    """Print how many files were done; the reasons of those that failed among several are listed again."""
    again = failed if done + skipped + len(failed) > 1 else []
    print(f'{done} done, {skipped} skipped, {len(failed)} failed{":" if again else ""}')
    for reason in again:
        print(one_line(f'  {reason}'))
