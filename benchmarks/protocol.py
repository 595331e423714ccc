"""How times are taken: all subjects in turns, in rounds; and the statistics of what comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

T = TypeVar('T')
K = TypeVar('K', bound=Hashable)
MOST_ROUNDS = 1000
# larger than the second-level cache of any GPU
FLUSH_BYTES = 256 * 2**20


class Spread(NamedTuple):
    """Median and the quantiles around it."""

    median: float
    p20: float
    p80: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Median, 20 % and 80 % quantile, interpolated between samples.

    Raises:
        ValueError: There is no sample.
    """
    if not values:
        raise ValueError('no sample, no statistics')
    ordered = sorted(values)
    return Spread(*(_quantile(ordered, share) for share in (0.5, 0.2, 0.8)), len(ordered))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def paired(reference: Sequence[float], own: Sequence[float]) -> Spread | None:
    """How much faster than a reference: ratios of times within each round; None if no round has both."""
    ratios = [theirs / ours for theirs, ours in zip(reference, own) if ours > 0]
    return spread(ratios) if ratios else None


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """The items, beginning with another one each turn."""
    start = turn % max(len(items), 1)
    return [*items[start:], *items[:start]]


def take_turns(
    runs: Mapping[K, Callable[[], float]],
    samples: Mapping[K, list[float]],
    repeats: int,
    min_seconds: float,
    watch: Callable[[K, float], Any] = lambda key, seconds: None,
) -> None:
    """Run everything in turns, A B C, B C A, ..., so that what else goes on in the machine falls on all alike.

    Args:
        runs: What to run; each gives the seconds it took.
        samples: Where those go, as they come; so an interruption leaves what there is.
        repeats: Least number of runs of each.
        min_seconds: Least time to measure each, within :data:`MOST_ROUNDS` runs; what has had both drops out.
        watch: Told about each sample.
    """
    keys, turn = list(runs), 0

    def wants(key: K) -> bool:
        done = samples[key]
        return len(done) < repeats or (sum(done) < min_seconds and len(done) < MOST_ROUNDS)

    while active := [key for key in rotated(keys, turn) if wants(key)]:
        for key in active:
            seconds = runs[key]()
            samples[key].append(seconds)
            watch(key, seconds)
        turn += 1


def timer(device: str) -> Callable[[Callable[[], Any]], float]:
    """A function that runs something once on that device and gives the seconds it took."""
    return _cuda_timer() if device == 'cuda' else _seconds


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _cuda_timer() -> Callable[[Callable[[], Any]], float]:
    cache = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device='cuda')

    def seconds(run: Callable[[], Any]) -> float:
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # nothing of the run before may be left in the cache
        cache.zero_()
        start.record()
        run()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1e3

    return seconds
