"""What of a model runs on an image in strips, for all tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from saga_mm.errors import SagaError
from saga_mm.rows import Part


def parts_in_strips(parts: Callable[..., list[Part]], model: torch.nn.Module, height: int, width: int) -> list[Part]:
    """What will be run of a model on one image, by a function that lists it.

    Raises:
        SagaError: A part of the model does not run in strips.
    """
    try:
        return parts(model, 1, height, width)
    except ValueError as error:
        raise SagaError(f'this model does not run in strips: {error}') from error
