"""A progress bar where tqdm is installed (mmdet depends on it), silence where it is not."""

from collections.abc import Iterable, Iterator
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
