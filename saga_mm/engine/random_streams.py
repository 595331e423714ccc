"""Store the states of random generators, so that a resumed training draws the same numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import DataLoader, IterableDataset

from saga_mm.display.console import say


def streams() -> dict[str, Any]:
    """The random states of this process, as plain values and tensors."""
    version, numbers, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        'python': [version, list(numbers), gauss],
        'numpy': [torch.from_numpy(keys.astype(np.int64)), place, has_gauss, cached],
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def set_streams(state: dict[str, Any]) -> None:
    """Set the random states to those that :func:`streams` returned.

    Raises:
        Exception: Of any kind, if the state is none.
    """
    version, numbers, gauss = state['python']
    keys, place, has_gauss, cached = state['numpy']
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(('MT19937', keys.numpy().astype(np.uint32), place, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available() and len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in state['cuda']])


def set_streams_of_file(state: Any) -> None:
    """:func:`set_streams` for what a checkpoint holds, which may be damaged."""
    if state is None:
        return
    before = streams()
    try:
        set_streams(state)
    except Exception as error:  # whatever a file holds
        set_streams(before)
        say(f'warning: the random state in the checkpoint is none ({error}); random numbers start anew')


def begin_streams(*numbers: int) -> None:
    """Seed the random generators of this process with some numbers."""
    seed = int(np.random.SeedSequence([abs(int(number)) for number in numbers]).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed the random generators inside a context; afterwards they continue as if nothing had been drawn."""
    # the CPU's alone, where samples are loaded: to read a GPU's would wait for what it computes
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


class SamplePlace(int):
    """The index of a sample, and which sample of the training it is.

    Attributes:
        number: The pass over the data, the batch in it, and the place in the batch.
    """

    number: tuple[int, int, int]


class PlacedBatches:
    """A batch sampler whose indices know their place in the training, and which can begin in the middle of one.

    Args:
        batches: The batch sampler that says what the indices are. All else is asked of it.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.passes = 0
        self._begun: tuple[Iterator[Sequence[int]], int] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'batches':
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def begin_after(self, passes: int, batches: int) -> None:
        """Go on after complete passes over the data, and some batches.

        Args:
            passes: Passes that are complete.
            batches: Batches after them; more than a pass has are the first ones of the next.
        """
        # samplers shuffle by the number of the pass: batches are drawn again and dropped, since no sampler can skip
        self.passes, done = passes, 0
        self._set_epoch()
        rest = iter(self.batches)
        while batches:
            if next(rest, None) is not None:
                done, batches = done + 1, batches - 1
            elif done:
                self.passes, done = self.passes + 1, 0
                self._set_epoch()
                rest = iter(self.batches)
            else:
                break
        # a pass that is complete ends at once, and what drives the passes starts the next
        self._begun = (rest, done) if done else None

    def _set_epoch(self) -> None:
        for sampler in (self.batches, getattr(self.batches, 'sampler', None)):
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(self.passes)

    def __iter__(self) -> Iterator[list[SamplePlace]]:
        rest, done = self._begun or (iter(self.batches), 0)
        number, self._begun = self.passes, None
        self.passes += 1
        for batch in rest:
            yield [_place(index, (number, done, place)) for place, index in enumerate(batch)]
            done += 1


def _place(index: int, number: tuple[int, int, int]) -> SamplePlace:
    place = SamplePlace(index)
    place.number = number
    return place


class SeededData:
    """A data set in which the random numbers of a sample depend on its place in the training alone.

    Args:
        data: The data set. All else is asked of it, and set in it.
        seed: Of the training.
    """

    def __init__(self, data: Any, seed: int) -> None:
        vars(self).update(data=data, seed=seed, rank=get_rank())

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'data':
            raise AttributeError(name)
        return getattr(self.data, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.data, name, value)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, SamplePlace):
            return self.data[index]
        # of the place and not of the worker: numbers of workers and what they loaded before make no difference
        with seeded(self.seed, self.rank, *index.number):
            return self.data[int(index)]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def place_samples(loader: DataLoader, seed: int | None) -> None:
    """Make the random numbers of a sample depend on its position in the training, whichever worker loads it."""
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None or seed is None:
        return
    # a loader refuses new parts, and asks for them when an iteration starts
    vars(loader).update(
        dataset=SeededData(loader.dataset, seed),
        batch_sampler=PlacedBatches(loader.batch_sampler),
        generator=torch.Generator().manual_seed(seed),
    )
