"""The attention core and the whole attention layer, at the shapes of PVT's stages."""

from __future__ import annotations

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.attention import build_attention
from saga_mm.models.backbones.pvt import STAGES
from saga_mm.ops import Grid

from .cases import Case, Subject, random_tensor
from .cores import CORES, Core, core_bytes
from .floors import attention_passes, weight_bytes
from .nets import mixer_of

NAMES = ('naive', 'mha', 'fused', 'linear', 'focused', 'focused_transcribed', 'rala', 'rala_transcribed', 'saga')
KINDS = ('core', 'layer')
# side of the map of stage 1 that position tables are made for
TABLE = 56


class OnGrid(nn.Module):
    """A token mixer on the tokens of one map."""

    def __init__(self, mixer: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.mixer, self.grid = mixer, grid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(x, self.grid)


def op_parts(stages: str) -> list[str]:
    """Parts for a list of stages such as ``1,3``: the core and the layer of each.

    Raises:
        SagaError: There is no such stage.
    """
    known = [str(i + 1) for i in range(len(STAGES['embed_dims']))]
    chosen = list(dict.fromkeys(part.strip() for part in stages.split(',')))
    if unknown := [part for part in chosen if part not in known]:
        raise SagaError(f'--stages {unknown[0]}: is none of {", ".join(known)}')
    return [f'{kind} stage {stage}' for kind in KINDS for stage in chosen]


def has_op(part: str, name: str) -> bool:
    """Whether a part has a subject of that name; every mixer is a layer, some have a core."""
    return part.startswith('layer') or name in CORES


def build_op(case: Case, device: str) -> Subject:
    """A core or a layer; its input wants gradients if the case runs backward."""
    kind, _, number = case.part.split()
    stage = int(number) - 1
    dims, heads, ratio = (STAGES[key][stage] for key in ('embed_dims', 'num_heads', 'sr_ratios'))
    grid = Grid.whole(*(-(-side // (4 * 2**stage)) for side in case.size))
    if kind == 'core':
        return _core(case, device, dims, heads, ratio, grid)
    side = TABLE // 2**stage
    attention, _ = mixer_of(case.name)
    try:
        mixer = build_attention(attention, dims, heads, sr_ratio=ratio, table_size=(side, side))
    except (ValueError, TypeError) as error:
        raise SagaError(f'--only {case.name}: {error}') from error
    mixer = mixer.to(case.device, case.torch_dtype)
    x = random_tensor(case, device, case.batch, grid.height * grid.width, dims).requires_grad_(case.backward)
    moved = attention_passes(mixer.sweeps, case.backward) * x.numel() * x.element_size()
    return Subject(OnGrid(mixer, grid), (x,), moved + weight_bytes(mixer, case.backward))


def _core(case: Case, device: str, dims: int, heads: int, ratio: int, grid: Grid) -> Subject:
    kind = CORES[case.name]
    short = -(-grid.height // ratio) * -(-grid.width // ratio)
    inputs = []
    for name in kind.takes:
        tokens = short if name.startswith('short') else grid.height * grid.width
        tensor = random_tensor(case, device, case.batch, tokens, heads, dims // heads)
        inputs.append(tensor.requires_grad_(case.backward))
    return Subject(Core(kind, grid), tuple(inputs), core_bytes(kind, tuple(inputs), case.backward))
