"""Progress bars by tqdm in a terminal, and a line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar('T')
# between two lines where there is no bar
SECONDS = 10.0


def progress_bar(
    items: Iterable[T], total: int, text: str, enabled: bool = True, delay: float = 0.0, unit: str = ' images'
) -> Iterator[T]:
    """Iterate over ``items`` and show how far it is.

    Args:
        items: Anything iterable.
        total: Number of items.
        text: Shown before the bar.
        enabled: False iterates in silence.
        delay: Seconds before the bar appears: short work shows none.
        unit: What is counted.
    """
    if not enabled:
        return iter(items)
    if not shows_bars():
        return _with_lines(items, total, text, unit)
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)
    return iter(tqdm(items, total=total, desc=text, delay=delay, unit=unit, dynamic_ncols=True))


def shows_bars() -> bool:
    """Whether bars go to a terminal; in a file each of their states would be another line."""
    return sys.stderr.isatty()


class Lines:
    """Says how far work is, in a line every ``SECONDS``: for files and pipes in place of a bar.

    Args:
        total: What there is to do.
        text: What the line begins with.
        unit: What is counted.
    """

    def __init__(self, total: int, text: str, unit: str) -> None:
        self.total, self.text, self.unit = total, text, unit
        self._last = time.monotonic()

    def show(self, done: float) -> None:
        """Say that so much is done, unless a line was written shortly before."""
        now = time.monotonic()
        if now - self._last >= SECONDS:
            self._last = now
            start = f'{self.text}: ' if self.text else ''
            print(f'{start}{int(done):,}/{self.total:,}{self.unit}', file=sys.stderr, flush=True)


def _with_lines(items: Iterable[T], total: int, text: str, unit: str) -> Iterator[T]:
    lines = Lines(total, text, unit)
    for done, item in enumerate(items, 1):
        yield item
        lines.show(done)


@contextmanager
def progress_meter(total: int, text: str, delay: float = 0.0, unit: str = ' rows') -> Iterator[Callable[[float], None]]:
    """Show how far one long piece of work is; the bar goes when it is done.

    Args:
        total: What there is to do.
        text: Shown before the bar.
        delay: Seconds before the bar appears: short work shows none.
        unit: What is counted.

    Yields:
        A function to call with how much of ``total`` is done in all.
    """
    if not shows_bars():
        yield Lines(total, text, unit).show
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done: None
        return
    style = {'leave': False, 'mininterval': 1.0, 'miniters': 1, 'dynamic_ncols': True}
    with tqdm(total=total, desc=text, delay=delay, unit=unit, **style) as bar:
        yield lambda done: bar.update(max(int(done) - bar.n, 0))
