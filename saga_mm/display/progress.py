"""Progress bars where tqdm is installed (mmdet depends on it), silence where it is not."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar('T')


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
    if enabled:
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return iter(tqdm(items, total=total, desc=text, delay=delay, unit=unit, dynamic_ncols=True))
    return iter(items)


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
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done: None
        return
    style = {'leave': False, 'mininterval': 1.0, 'miniters': 1, 'dynamic_ncols': True}
    with tqdm(total=total, desc=text, delay=delay, unit=unit, **style) as bar:
        yield lambda done: bar.update(max(int(done) - bar.n, 0))
