"""Export an enhancer as ONNX graphs over strips of rows, for the page in a browser.

An image of any size is run within a fixed memory as in Python: the model is cut before each layer with a global state.
A *read* graph computes everything between two states, for a strip of the rows; a *write* graph makes the state of a
strip. The program runs a read graph over all strips, has each write its part of the next state, adds the parts, weighed
by their tokens, and goes on with the next read graph. Exposure is the state before all others: it is written of the
image itself, and its gain goes to each graph that is given the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.attention.linear import LinearAttention
from saga_mm.models.backbones.blocks import MixerBlock
from saga_mm.models.enhancement import LowLightEnhancer, SAGAUNet
from saga_mm.models.enhancement.exposure import SPARSE, STOPS
from saga_mm.models.enhancement.unet_layers import GlobalTone
from saga_mm.onnx.file import BRIGHTNESS
from saga_mm.ops import ceil_div
from saga_mm.rows import RowStep

from .graphs import exportable
from .onnx_writer import to_onnx
from .strip_modules import (
    ANSWER,
    GAIN,
    IMAGE,
    SCALE,
    Answer,
    Gain,
    Give,
    MeasureExposure,
    Read,
    Rise,
    Segment,
    Step,
    Write,
    state_names,
)

LEVELS, WANTED = 'levels', 'wanted'


class StripPlan:
    """The segments of an enhancer with a :class:`SAGAUNet`.

    Args:
        model: The model, in evaluation mode.

    Attributes:
        unit: Rows and columns of the image that are a place of the coarsest map. Strips and halos are counted in them.
        places: Rows of each map, by name, to a unit.
        channels: Of each map.
        segments: In the order in which they run.
        exposure: The state before them, or None.

    Raises:
        SagaError: The model has a part that this does not know.
    """

    def __init__(self, model: LowLightEnhancer) -> None:
        trunk = model.backbone
        if not isinstance(trunk, SAGAUNet) or model.neck is not None or model.head.projections:
            raise SagaError('strips in ONNX are for SAGAUNet with EnhancementHead and no neck')
        self.unit = 2 ** len(trunk.encoder)
        if model.pad_divisor != self.unit:
            raise SagaError(f'pad_divisor={model.pad_divisor}: strips in ONNX need {self.unit}')
        self.places, self.channels = {IMAGE: self.unit, ANSWER: self.unit}, {IMAGE: 4, ANSWER: 3}
        self.exposure = model.exposure
        self._stride, self._width = 1, 3
        self.segments = [Segment([IMAGE])]
        skips = []
        for stage in trunk.encoder:
            self._run(stage.steps, stage.embed.conv.out_channels)
            skips.append(f'skip_{len(skips)}')
            # the coarsest map goes straight on to the decoder
            if stage is not trunk.encoder[-1]:
                self._give(skips[-1])
        for up, stage, skip in zip(trunk.ups, trunk.decoder, skips[-2::-1]):
            self._rise(up, skip)
            self._run(stage.steps, self._width)
        self._finish(model.head)

    @property
    def _here(self) -> Segment:
        return self.segments[-1]

    def _run(self, steps: Sequence[RowStep], channels: int) -> None:
        for step in steps:
            # a state is of all rows: no graph can go on before each strip has written its part
            if step.sweeps:
                _require_known(step)
                name = f'map_{len(self.segments)}'
                self._give(name)
                self.segments.append(Segment([name], step))
            operation = Step(step, first=bool(step.sweeps))
            self._here.operations.append(operation)
            self._here.halo += step.halo * self._stride
            self._here.floats = max(self._here.floats, step.peak_floats_per_token / self._stride**2)
            # the first step of a stage is its embedding: steps behind it count rows and channels of its map
            if step is steps[0]:
                self._stride, self._width = self._stride * step.stride, channels

    def _give(self, name: str) -> None:
        self.places[name], self.channels[name] = self.unit // self._stride, self._width
        self._here.operations.append(Give(name))
        self._here.gives.append(name)

    def _need(self, name: str) -> None:
        if name not in self._here.gives and name not in self._here.reads:
            self._here.reads.append(name)

    def _rise(self, up: nn.Module, skip: str) -> None:
        self._need(skip)
        self._here.operations.append(Rise(up, skip))
        self._stride, self._width = self._stride // 2, self.channels[skip]

    def _finish(self, head: nn.Module) -> None:
        self._need(IMAGE)
        self._here.operations.append(Answer(head))
        # of the head's 3 x 3 convolution
        self._here.halo += self._stride
        self._here.gives.append(ANSWER)

    def describe(self) -> dict[str, Any]:
        """What a program needs to know to run the graphs, as JSON."""
        graphs = []
        for index, segment in enumerate(self.segments):
            after = self.segments[index + 1] if index + 1 < len(self.segments) else None
            graphs.append(
                {
                    'read': f'read_{index}.onnx',
                    'maps': segment.reads,
                    'gain': self.exposure is not None and IMAGE in segment.reads,
                    'state': list(state_names(segment.enters)),
                    'gives': segment.gives,
                    'halo': ceil_div(segment.halo, self.unit),
                    'floats': round(segment.floats, 1),
                    'write': after and f'write_{index + 1}.onnx',
                }
            )
        maps = {name: {'places': self.places[name], 'channels': self.channels[name]} for name in self.places}
        exposure = self.exposure and {
            'write': 'write_0.onnx',
            'gain': 'gain.onnx',
            'sparse': SPARSE,
            'floats': self.exposure.peak_floats_per_token,
        }
        return {'unit': self.unit, 'scale': SCALE, 'maps': maps, 'exposure': exposure, 'graphs': graphs}


def strip_files(model: LowLightEnhancer, opset: int = 20) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The plan of an enhancer, as :meth:`StripPlan.describe` gives it, and the ONNX files by name that it speaks of.

    Read graphs take strips of maps ``(rows, columns, channels)`` and the tensors of a state, and give strips as large;
    ``image`` is uint8, RGB and a fourth channel that is not looked at; ``answer`` is int16, in units of 1 / ``scale``,
    before the strength is applied. Write graphs take the last map that is given, without a halo.

    Of an exposure, ``write_0`` takes strips of the image that is not padded, from a row that ``sparse`` divides on, and
    gives ``levels``, means over one pixel of ``sparse`` squared; ``gain`` takes these and ``wanted``, a mean luminance
    or 0 for the predicted one, and gives ``gain`` and the luminance, ``brightness``. Graphs that say so take ``gain``.

    Raises:
        SagaError: The model has a part that this does not know, or that has no form in ONNX.
    """
    plan = StripPlan(exportable(model))
    description, files = plan.describe(), {}
    # two sides that differ, so that the exporter takes neither for the other
    # sides that differ, so that the exporter does not take them for one dimension
    example = {name: (2 + index) * 2 for index, name in enumerate(('rows', 'columns'))}
    units = {name: torch.export.Dim(name, min=1, max=2**16) for name in example}

    def piece(name: str) -> tuple[torch.Tensor, dict[int, Any]]:
        places = plan.places[name]
        shape = [places * count for count in example.values()]
        made = torch.rand(*shape, plan.channels[name])
        sides = {axis: unit if places == 1 else places * unit for axis, unit in enumerate(units.values())}
        return ((made * 255).to(torch.uint8) if name == IMAGE else made), sides

    for segment, graph in zip(plan.segments, description['graphs']):
        pieces = {name: piece(name) for name in segment.reads}
        examples, sides = ({name: both[i] for name, both in pieces.items()} for i in range(2))
        if graph['gain']:
            examples[GAIN] = torch.tensor([2.0])
        if segment.enters is not None:
            source, names = examples[segment.reads[0]], state_names(segment.enters)
            # a state of the shape that it will have; its numbers are no part of the graph
            with torch.no_grad():
                examples |= zip(names, Write(segment.enters)(source))
        names = list(examples)
        files[graph['read']] = _content(Read(segment, names), examples, segment.gives, opset, sides)
    for segment, graph in zip(plan.segments[1:], description['graphs']):
        source, sides = piece(segment.reads[0])
        names = list(state_names(segment.enters))
        files[graph['write']] = _content(Write(segment.enters), {'map': source}, names, opset, {'map': sides})
    if plan.exposure is not None:
        files |= _exposure_files(plan.exposure, description['exposure'], opset)
    return description, files


def _exposure_files(exposure: nn.Module, names: Mapping[str, str], opset: int) -> dict[str, bytes]:
    image = torch.randint(0, 256, (50, 70, 4), dtype=torch.uint8)
    sides = {0: torch.export.Dim('height', min=1, max=2**19), 1: torch.export.Dim('width', min=1, max=2**19)}
    given = {LEVELS: torch.rand(1, len(STOPS)), WANTED: torch.tensor([0.5])}
    return {
        names['write']: _content(MeasureExposure(exposure), {IMAGE: image}, [LEVELS], opset, {IMAGE: sides}),
        names['gain']: _content(Gain(exposure), given, [GAIN, BRIGHTNESS], opset, {}),
    }


def _content(module: nn.Module, examples: Mapping, outputs: Sequence[str], opset: int, sides: Mapping) -> bytes:
    return to_onnx(module.eval(), examples, outputs, opset, sides).SerializeToString()


def _require_known(step: RowStep) -> None:
    mixer = getattr(step, 'attn', None)
    # other steps depend on the position of a strip, which is no input of a graph
    linear = isinstance(step, MixerBlock) and isinstance(mixer, LinearAttention)
    if not isinstance(step, GlobalTone) and not (linear and mixer.sr_ratio == 1 and not mixer.table_size):
        raise SagaError(f'{type(mixer or step).__name__}: does not run in strips in ONNX; linear attention does')
