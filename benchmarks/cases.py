"""What is measured, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import nn

Size = tuple[int, int]
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@dataclass(frozen=True)
class Case:
    """One subject at one size, told so that another process can build it again.

    Attributes:
        layer: ``'op'``, ``'backbone'``, ``'model'`` or ``'enhancer'``.
        part: Which part of the layer, such as ``'core stage 1'`` or ``'pvt_tiny'``; empty if there is but one.
        name: Name of the subject.
        size: ``(H, W)`` of the image in pixels.
        batch: Images.
        dtype: One of :data:`DTYPES`.
        device: ``'cpu'`` or ``'cuda'``.
        backward: Forward and backward in training mode, else inference.
        compiled: By ``torch.compile``, for this size alone.
    """

    layer: str
    part: str
    name: str
    size: Size
    batch: int = 1
    dtype: str = 'float32'
    device: str = 'cpu'
    backward: bool = False
    compiled: bool = False

    @property
    def eager(self) -> Case:
        """The same without ``torch.compile``."""
        return replace(self, compiled=False)

    @property
    def label(self) -> str:
        """Its name as people read it; of a config, without folder and ending."""
        short = self.name.split('/')[-1].removesuffix('.py')
        return f'{short} (compiled)' if self.compiled else short

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]


class Subject(NamedTuple):
    """What runs.

    Attributes:
        module: A module.
        inputs: Its inputs.
        floor_bytes: Bytes that must be moved, however it is computed.
        dense: The part of it whose work does not depend on the data, which is traced and checked; None for all of it.
    """

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    floor_bytes: int
    dense: nn.Module | None = None

    @property
    def traceable(self) -> nn.Module:
        return self.module if self.dense is None else self.dense


@dataclass(frozen=True)
class Ceilings:
    """What the machine reached while a group was measured.

    Attributes:
        bandwidth: Bytes a second, read and written, of a large copy.
        rate: Multiply-accumulates a second of a large square matrix product.
        load: Average number of running processes in the last minute before; None where the system does not tell.
    """

    bandwidth: float
    rate: float
    load: float | None = None


@dataclass
class ResultRow:
    """What was found of a case.

    Attributes:
        case: The case.
        parameters: Numbers in its parameters.
        macs: Multiply-accumulates of whole maps, traced.
        floor_bytes: Bytes that any way to compute it must move.
        live_bytes: Most bytes of activations alive at once, traced, in eager mode.
        whole_bytes: The same in whole maps instead of chunks of rows.
        checkpointed_bytes: The same as ``live_bytes``, with ``with_cp``; None where there is no such thing.
        samples: Seconds of each run, in the order of the rounds that all subjects of a group took turns in.
        warm_up: Seconds of the first run, with compilation.
        peak_bytes: Memory at its peak beyond what there was before the run, in a process of its own.
        ceilings: Of the machine at that time.
        skipped: Why it was not run or has no figure; empty if it has.
        wrong: Whether that is because it computed something else.
    """

    case: Case
    parameters: int = 0
    macs: int = 0
    floor_bytes: int = 0
    live_bytes: int = 0
    whole_bytes: int = 0
    checkpointed_bytes: int | None = None
    samples: list[float] = field(default_factory=list)
    warm_up: float | None = None
    peak_bytes: int | None = None
    ceilings: Ceilings | None = None
    skipped: str = ''
    wrong: bool = False


def random_tensor(case: Case, device: str, *shape: int) -> torch.Tensor:
    """Normal numbers in the type of a case; on the meta device, none."""
    if device == 'meta':
        return torch.empty(shape, device=device, dtype=case.torch_dtype)
    return torch.randn(shape).to(device, case.torch_dtype)
