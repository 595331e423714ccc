"""Fixtures that several test files use."""

import json
import math
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

GOLDEN = Path(__file__).parent / 'golden'
CONSTANTS = ('relative_position_index', 'attn_mask', 'angle', 'num_batches_tracked')


class GoldenCase(NamedTuple):
    """A published model's answer: its weights are drawn from their names, its outputs were stored."""

    manifest: dict
    outputs: dict[str, np.ndarray]

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """State dict in the published layout, without the buffers that are computed rather than learned."""
        return {
            t['key']: _draw(t['key'], t['shape']) for t in self.manifest['tensors'] if not t['key'].endswith(CONSTANTS)
        }

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

    def errors(self, net: nn.Module, names: Iterable[str]) -> dict[str, float]:
        """Relative L2 errors of a backbone that holds the case's weights.

        ``stage{i}`` is what a stage's last block returns, ``logits`` what the case's head does with the last output.
        """
        got = {}
        for i, stage in enumerate(net.stages, start=1):
            stage.blocks[-1].register_forward_hook(lambda _, __, out, name=f'stage{i}': got.update({name: out}))
        with torch.no_grad():
            pooled = net(self.image)[-1].mean((2, 3))
        state = self.state
        if 'head.weight' in state:
            got['logits'] = pooled @ state['head.weight'].T + state['head.bias']
        errors = {}
        for name in names:
            stored, step = self.output(name)
            errors[name] = ((got[name].flatten()[::step] - stored).norm() / stored.norm()).item()
        return errors


def _draw(key: str, shape: list[int]) -> torch.Tensor:
    """One parameter, from its key alone, with the scale that its kind had when the outputs were recorded."""
    draw = np.random.default_rng([0, zlib.crc32(key.encode())]).standard_normal(shape).astype(np.float32)
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'running_var':
        draw = 0.5 + np.abs(draw)
    elif leaf in ('gamma_1', 'gamma_2'):
        draw = 0.5 + 0.1 * draw
    elif leaf == 'weight':
        draw = 1 + 0.1 * draw if len(shape) == 1 else draw / math.sqrt(math.prod(shape[1:]))
    elif leaf in ('scale', 'positional_encoding') or leaf.startswith('pos_embed'):
        draw = 0.3 * draw
    else:
        draw = 0.1 * draw
    return torch.from_numpy(draw.astype(np.float32))


@pytest.fixture
def golden() -> Callable[[str], GoldenCase]:
    """Load a golden case by name."""

    def load(name: str) -> GoldenCase:
        return GoldenCase(json.loads((GOLDEN / f'{name}.json').read_text()), dict(np.load(GOLDEN / f'{name}.npz')))

    return load
