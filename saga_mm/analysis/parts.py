"""Cost of a detector, segmentor or backbone, part by part, as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from saga_mm.errors import SagaError

from .cost import UntraceableError, measure_cost
from .tracer import Cost

DENSE_HEADS = ('rpn_head', 'bbox_head', 'mask_head', 'decode_head', 'head')
_REASONS = {
    'roi_head': 'left out: its work depends on the data',
    'auxiliary_head': 'left out: runs in training alone',
}


@dataclass(frozen=True)
class PartCost:
    """One row: a part of a model with its forward cost. ``macs`` and ``peak_bytes`` are None if it was left out."""

    name: str
    parameters: int
    macs: int | None = None
    peak_bytes: int | None = None
    note: str = ''


@dataclass(frozen=True)
class PartsCost:
    """Cost of a model by parts.

    Attributes:
        shape: Shape of the image batch, ``(B, 3, H, W)``.
        training: Whether the backward pass is included.
        parts: The parts, those that were left out last.
        parameters: Numbers in the parameters of the whole model, with what was left out.
        total: Cost of all parts that were not left out, traced in one run.
    """

    shape: tuple[int, ...]
    training: bool
    parts: list[PartCost]
    parameters: int
    total: Cost

    def as_dict(self) -> dict[str, Any]:
        """The figures in plain types, bytes and MACs unrounded."""
        keys = ('macs', 'backward_macs', 'peak_bytes', 'gradient_bytes')
        total = {'parameters': self.parameters, **{key: getattr(self.total, key) for key in keys}}
        parts = [asdict(part) for part in self.parts]
        return {'shape': list(self.shape), 'training': self.training, 'parts': parts, 'total': total}

    def as_table(self) -> str:
        """The figures as aligned text, with what they mean below."""
        rows = [('part', 'parameters (M)', 'GMACs', 'peak live activations (MiB)', '')]
        for part in self.parts:
            macs = '-' if part.macs is None else f'{part.macs / 1e9:.3f}'
            peak = '-' if part.peak_bytes is None else f'{part.peak_bytes / 2**20:.1f}'
            rows.append((part.name, f'{part.parameters / 1e6:.3f}', macs, peak, part.note))
        total = self.total
        forward, peak = f'{total.macs / 1e9:.3f}', f'{total.peak_bytes / 2**20:.1f}'
        absent = ', '.join(part.name for part in self.parts if part.macs is None)
        note = f'GMACs and activations without {absent}' if absent else ''
        rows.append(('total', f'{self.parameters / 1e6:.3f}', forward, peak, note))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            '  '.join((row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3)), row[4])).rstrip()
            for row in rows
        ]
        lines.insert(-1, '-' * (sum(widths) + 6))
        batch, _, height, width = self.shape
        mode = 'training' if self.training else 'inference'
        lines += [
            '',
            f'{mode}, batch {batch}, image {height} x {width}; 1 MAC = one multiplication and addition',
            'peak live activations: most bytes alive at once in the whole model while the part runs forward',
        ]
        if self.training:
            lines.append(f'backward: {total.backward_macs / 1e9:.3f} GMACs more; its activations are in the total')
            lines.append(f'gradients of the parameters counted: {total.gradient_bytes / 2**20:.1f} MiB more')
        return '\n'.join(lines)


def image_batch(batch: int, height: int, width: int) -> torch.Tensor:
    """An image batch ``(batch, 3, height, width)`` without memory.

    Raises:
        SagaError: If a number is not positive.
    """
    if min(batch, height, width) < 1:
        raise SagaError(f'an image batch of {batch} x 3 x {height} x {width}: every number must be at least 1')
    return torch.empty(batch, 3, height, width, device='meta')


def measure_parts(model: nn.Module, image: torch.Tensor, training: bool = False) -> PartsCost:
    """Measure a model and each of its parts; see :func:`saga_mm.analysis.measure_cost` for what counts.

    A model with a ``backbone`` is run through it, its neck and its dense heads. What comes after, such as the RoI
    heads of Mask R-CNN, depends on the data and is left out. Any other model is run whole.

    Args:
        model: A detector, segmentor or backbone, or any module that takes an image batch.
        image: The batch ``(B, C, H, W)``, best on the meta device; its values do not matter.
        training: Count the backward pass too.

    Raises:
        SagaError: If the model does not run at this size, or its cost depends on the values of the image.
    """
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        return _report(model, _measure(model, image, training), image, training, [])
    candidates = (*DENSE_HEADS, 'auxiliary_head') if training else DENSE_HEADS
    heads, left_out = [], []
    for name, child in model.named_children():
        if name in ('backbone', 'neck'):
            continue
        reason = _REASONS.get(name, 'left out: takes more than the feature maps')
        if name in candidates:
            reason = _why_not(model, name, image)
            if reason is None:
                heads.append(name)
                continue
        if parameters := sum(p.numel() for p in child.parameters()):
            left_out.append(PartCost(name, parameters, note=reason))
    return _report(model, _measure(DenseParts(model, heads), image, training), image, training, left_out)


class DenseParts(nn.Module):
    """The parts of a model whose work depends on the size of the image alone, as a module from images to their outputs.

    Args:
        model: A model with a ``backbone``.
        heads: Names of those of its heads that are to run, on the maps of its neck if there is one.
    """

    def __init__(self, model: nn.Module, heads: list[str]) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, getattr(model, 'neck', None)
        self.heads = heads
        for name in heads:
            self.add_module(name, getattr(model, name))

    def forward(self, image: torch.Tensor) -> Any:
        features = self.backbone(image)
        if self.neck is not None:
            features = self.neck(features)
        return [getattr(self, name)(features) for name in self.heads] or features


def _why_not(model: nn.Module, head: str, image: torch.Tensor) -> str | None:
    try:
        measure_cost(DenseParts(model, [head]), image)
    # a head that needs more than feature maps may fail in any way; a fault before the heads shows in the real run
    except UntraceableError:
        return 'left out: its work depends on the data'
    except Exception as error:
        return f'left out: does not run on the feature maps alone ({first_line(error)})'
    return None


def _measure(model: nn.Module, image: torch.Tensor, training: bool) -> Cost:
    try:
        return measure_cost(model, image, training=training)
    except (RuntimeError, ValueError, TypeError) as error:
        height, width = image.shape[-2:]
        raise SagaError(f'the model does not run on an image of {height} x {width}: {first_line(error)}') from error


def _report(model: nn.Module, total: Cost, image: torch.Tensor, training: bool, left_out: list[PartCost]) -> PartsCost:
    parents = {name: name.split('.')[:-1] for name in total.modules}
    parts = [
        PartCost(name, part.parameters, part.macs, part.peak_bytes)
        for name, part in total.modules.items()
        if not any('.'.join(parents[name][:i]) in total.modules for i in range(1, len(parents[name]) + 1))
    ]
    parameters = sum(p.numel() for p in model.parameters())
    return PartsCost(tuple(image.shape), training, parts + left_out, parameters, total)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return (str(text).strip() or type(error).__name__).splitlines()[0]
