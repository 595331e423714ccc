"""What a user asks for, checked before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from saga_mm.errors import SagaError

from .cases import DTYPES, Case, Size
from .nets import mixer_of
from .op import has_op, op_parts
from .subjects import LAYERS


@dataclass(frozen=True)
class Options:
    """What to measure and how.

    Attributes:
        layer: One of :data:`LAYERS`.
        sizes: Image sizes: ``640,480x1280``; empty for the layer's own.
        batch_size: Images at once.
        dtype: ``'float32'``, ``'bfloat16'`` or ``'float16'``.
        device: ``'cpu'`` or ``'cuda'``.
        backward: Forward and backward in training mode.
        compile: Compiled variants beside eager ones.
        only: Names of subjects; empty for the layer's own.
        backbones: Backbones whose attention is exchanged.
        stages: Stages of PVT whose attention is measured by itself.
        repeats: Least number of rounds.
        min_seconds: Least time to measure each subject.
        threads: Of the CPU; None for PyTorch's own choice.
        out: Folder for what is written.
        trace: Only trace: nothing runs.
        memory: Measure peaks of memory too.
    """

    layer: str
    sizes: str = ''
    batch_size: int = 1
    dtype: str = 'float32'
    device: str = 'cpu'
    backward: bool = False
    compile: bool = False
    only: str = ''
    backbones: str = 'pvt_tiny'
    stages: str = '1,3'
    repeats: int = 5
    min_seconds: float = 2.0
    threads: int | None = None
    out: Path | None = None
    trace: bool = False
    memory: bool = True

    @property
    def folder(self) -> Path:
        return self.out or Path('work_dirs') / 'benchmark' / self.layer


def plan(options: Options) -> list[Case]:
    """The cases that are asked for, by part, size and name; a compiled one follows its eager one.

    Raises:
        SagaError: An option is wrong.
    """
    _check(options)
    layer = LAYERS[options.layer]
    names = _words(options.only) or list(layer.names)
    parts = {'op': op_parts(options.stages), 'backbone': _words(options.backbones)}.get(options.layer, [''])
    if not parts:
        raise SagaError('--backbones: names no backbone; write for example pvt_tiny')
    for name in names:
        if options.layer in ('op', 'backbone'):
            mixer_of(name)
    variants = (False, True) if options.compile and not options.trace else (False,)
    return [
        Case(
            options.layer,
            part,
            name,
            size,
            options.batch_size,
            options.dtype,
            options.device,
            options.backward,
            compiled,
        )
        for part in parts
        for size in parse_sizes(options.sizes or layer.sizes)
        for name in names
        if options.layer != 'op' or has_op(part, name)
        # an engine compiles by itself
        for compiled in variants
        if not (compiled and '@' in name)
    ]


def parse_sizes(text: str) -> list[Size]:
    """``(H, W)`` of each size in a list such as ``400x608,1280``, where a number alone is the side of a square.

    Raises:
        SagaError: A part is no size.
    """
    sizes = []
    for part in text.split(','):
        match = re.fullmatch(r'\s*(\d+)\s*(?:x\s*(\d+)\s*)?', part.lower())
        if match is None or 0 in (size := (int(match[1]), int(match[2] or match[1]))):
            raise SagaError(
                f'--sizes {part}: is no size; write height x width in pixels, for example 400x608; one number '
                'is a square'
            )
        sizes.append(size)
    return list(dict.fromkeys(sizes))


def _check(options: Options) -> None:
    if options.dtype not in DTYPES:
        raise SagaError(f'--dtype {options.dtype}: is none of {", ".join(DTYPES)}')
    for flag in ('batch_size', 'repeats', 'threads'):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise SagaError(f'--{flag.replace("_", "-")} {value}: must be at least 1')
    if not options.min_seconds >= 0:
        raise SagaError(f'--min-seconds {options.min_seconds}: must not be negative')
    if options.device not in ('cpu', 'cuda'):
        raise SagaError(f'--device {options.device}: is none of cpu, cuda')
    if options.device == 'cuda' and not options.trace and not torch.cuda.is_available():
        raise SagaError('--device cuda: PyTorch finds no GPU here; leave it out to measure on the CPU')


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(',') if word.strip()))
