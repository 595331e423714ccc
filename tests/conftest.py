"""Fixtures that several test files use."""

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / 'golden'


class GoldenCase(NamedTuple):
    """A published model's answer: its weights are drawn from their names, its outputs were stored."""

    manifest: dict
    outputs: dict[str, np.ndarray]

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """State dict in the published layout."""
        return {t['key']: _draw(t['key'], t['shape']) for t in self.manifest['tensors']}

    @property
    def image(self) -> torch.Tensor:
        """The batch ``(B, 3, H, W)`` that the model was run on."""
        draw = np.random.default_rng(5).standard_normal(self.manifest['input_shape'])
        return torch.from_numpy(draw.astype(np.float32))

    def output(self, name: str) -> tuple[torch.Tensor, int]:
        """A stored output, flat, and the step at which it was sampled from the model's."""
        stored = self.manifest['outputs'][name]['stored']
        step = 1 if stored == 'all' else int(stored.removeprefix('flat[::').removesuffix(']'))
        return torch.from_numpy(self.outputs[name]).flatten(), step


def _draw(key: str, shape: list[int]) -> torch.Tensor:
    """One parameter, from its key alone, with the scale that its kind had when the outputs were recorded."""
    draw = np.random.default_rng([0, zlib.crc32(key.encode())]).standard_normal(shape).astype(np.float32)
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'weight':
        draw = 1 + 0.1 * draw if len(shape) == 1 else draw / math.sqrt(math.prod(shape[1:]))
    else:
        draw = (0.3 if leaf.startswith('pos_embed') else 0.1) * draw
    return torch.from_numpy(draw.astype(np.float32))


@pytest.fixture
def golden() -> Callable[[str], GoldenCase]:
    """Load a golden case by name."""

    def load(name: str) -> GoldenCase:
        return GoldenCase(json.loads((GOLDEN / f'{name}.json').read_text()), dict(np.load(GOLDEN / f'{name}.npz')))

    return load
