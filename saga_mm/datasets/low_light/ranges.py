"""Random numbers of transforms: ranges in a config, and a generator that follows mmengine's seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from saga_mm.errors import SagaError

Range = tuple[float, float]


def random_generator() -> np.random.Generator:
    """A generator that starts from numpy's global state, which mmengine seeds in every process and every worker."""
    return np.random.default_rng(np.random.randint(0, 2**31, 4))


def check_range(what: str, values: Any, lowest: float, highest: float) -> Range:
    """A pair of numbers in order and within bounds.

    Raises:
        SagaError: It is none.
    """
    ends = () if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) else tuple(values)
    numbers = len(ends) == 2 and all(isinstance(end, (int, float)) for end in ends)
    if not numbers or not lowest <= ends[0] <= ends[1] <= highest:
        raise SagaError(f'{what} must be two numbers from {lowest:g} to {highest:g}, the lower first, not {values!r}.')
    return ends


def drawn_log(ends: Range, rng: np.random.Generator) -> float:
    """A number that is drawn evenly in its logarithm."""
    return float(np.exp(rng.uniform(*np.log(ends))))
