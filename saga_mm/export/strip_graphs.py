"""Export an enhancer as ONNX graphs over strips of rows, for the page in a browser.

An image of any size is run within a fixed memory as in Python: the model is cut before each layer with a global state.
A *read* graph computes everything between two states, for a strip of the rows; a *write* graph makes the state of a
strip. The program runs a read graph over all strips, has each write its part of the next state, adds the parts, weighed
by their tokens, and goes on with the next read graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.attention.linear import LinearAttention
from saga_mm.models.backbones.blocks import MixerBlock
from saga_mm.models.enhancement import LowLightEnhancer, SAGAUNet
from saga_mm.models.enhancement.unet_layers import GlobalTone, ToneState
from saga_mm.ops import Grid, KVState, ceil_div
from saga_mm.rows import RowStep

from .onnx_writer import to_onnx

IMAGE, ANSWER = 'image', 'answer'
# of an answer as int16: 16 steps to a grey level, from -8 to 8 times white
SCALE = 16 * 255
FIELDS = {KVState: ('kv', 'key'), ToneState: ('mean', 'square')}


@dataclass
class Segment:
    """What lies between two states.

    Attributes:
        reads: The maps that it is given, the one that it goes through first.
        enters: The step whose state it is given; None for the first.
        operations: Functions from the maps by name, and the map at hand, to the next map.
        gives: The maps that it makes.
        halo: Rows of the image beyond a strip that its own rows depend on.
        floats: Upper bound on the floats alive for each pixel of the image.
    """

    reads: list[str]
    enters: RowStep | None = None
    operations: list = field(default_factory=list)
    gives: list[str] = field(default_factory=list)
    halo: int = 0
    floats: float = 0.0


class StripPlan:
    """The segments of an enhancer with a :class:`SAGAUNet`.

    Args:
        model: The model, in evaluation mode.

    Attributes:
        unit: Rows and columns of the image that are a place of the coarsest map. Strips and halos are counted in them.
        places: Rows of each map, by name, to a unit.
        channels: Of each map.
        segments: In the order in which they run.

    Raises:
        SagaError: The model has a part that this does not know.
    """

    def __init__(self, model: LowLightEnhancer) -> None:
        trunk = model.backbone
        if not isinstance(trunk, SAGAUNet) or model.neck is not None or model.head.projections:
            raise SagaError('strips in ONNX are for SAGAUNet with EnhancementHead and no neck')
        if model.exposure is not None:
            raise SagaError('exposure: is a state of the whole image, which strips in ONNX do not have')
        if model.edges != 'zeros':
            raise SagaError(f'edges={model.edges}: strips in ONNX need zeros')
        self.unit = 2 ** len(trunk.encoder)
        if model.pad_divisor != self.unit:
            raise SagaError(f'pad_divisor={model.pad_divisor}: strips in ONNX need {self.unit}')
        self.places, self.channels = {IMAGE: self.unit, ANSWER: self.unit}, {IMAGE: 4, ANSWER: 3}
        self._stride, self._width = 1, 3
        self.segments = [Segment([IMAGE])]
        skips = []
        for stage in trunk.encoder:
            self._run(stage.steps, stage.embed.conv.out_channels)
            skips.append(f'skip_{len(skips)}')
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
            if step.sweeps:
                _require_known(step)
                name = f'map_{len(self.segments)}'
                self._give(name)
                self.segments.append(Segment([name], step))
            operation = _Step(step, first=bool(step.sweeps))
            self._here.operations.append(operation)
            self._here.halo += step.halo * self._stride
            self._here.floats = max(self._here.floats, step.peak_floats_per_token / self._stride**2)
            if step is steps[0]:
                self._stride, self._width = self._stride * step.stride, channels

    def _give(self, name: str) -> None:
        self.places[name], self.channels[name] = self.unit // self._stride, self._width
        self._here.operations.append(_Give(name))
        self._here.gives.append(name)

    def _need(self, name: str) -> None:
        if name not in self._here.gives and name not in self._here.reads:
            self._here.reads.append(name)

    def _rise(self, up: nn.Module, skip: str) -> None:
        self._need(skip)
        self._here.operations.append(_Rise(up, skip))
        self._stride, self._width = self._stride // 2, self.channels[skip]

    def _finish(self, head: nn.Module) -> None:
        self._need(IMAGE)
        self._here.operations.append(_Finish(head))
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
                    'state': list(state_names(segment.enters)),
                    'gives': segment.gives,
                    'halo': ceil_div(segment.halo, self.unit),
                    'floats': round(segment.floats, 1),
                    'write': after and f'write_{index + 1}.onnx',
                }
            )
        maps = {name: {'places': self.places[name], 'channels': self.channels[name]} for name in self.places}
        return {'unit': self.unit, 'scale': SCALE, 'maps': maps, 'graphs': graphs}


def strip_files(model: LowLightEnhancer, opset: int = 20) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The plan of an enhancer, as :meth:`StripPlan.describe` gives it, and the ONNX files by name that it speaks of.

    Read graphs take strips of maps ``(rows, columns, channels)`` and the tensors of a state, and give strips as large;
    ``image`` is uint8, RGB and a fourth channel that is not looked at; ``answer`` is int16, in units of 1 / ``scale``,
    before the strength is applied. Write graphs take the last map that is given, without a halo.

    Raises:
        SagaError: The model has a part that this does not know, or that has no form in ONNX.
    """
    plan = StripPlan(model)
    description, files = plan.describe(), {}
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
        if segment.enters is not None:
            source, names = examples[segment.reads[0]], state_names(segment.enters)
            with torch.no_grad():
                examples |= zip(names, _Write(segment.enters)(source))
        names = list(examples)
        files[graph['read']] = _content(_Read(segment, names), examples, segment.gives, opset, sides)
    for segment, graph in zip(plan.segments[1:], description['graphs']):
        source, sides = piece(segment.reads[0])
        names = list(state_names(segment.enters))
        files[graph['write']] = _content(_Write(segment.enters), {'map': source}, names, opset, {'map': sides})
    return description, files


def state_names(step: RowStep | None) -> tuple[str, ...]:
    """Names of the tensors of a step's state, which are means over tokens."""
    return () if step is None else FIELDS[ToneState if isinstance(step, GlobalTone) else KVState]


def _content(module: nn.Module, examples: Mapping, outputs: Sequence[str], opset: int, sides: Mapping) -> bytes:
    return to_onnx(module.eval(), examples, outputs, opset, sides).SerializeToString()


def _require_known(step: RowStep) -> None:
    mixer = getattr(step, 'attn', None)
    linear = isinstance(step, MixerBlock) and isinstance(mixer, LinearAttention)
    if not isinstance(step, GlobalTone) and not (linear and mixer.sr_ratio == 1 and not mixer.table_size):
        raise SagaError(f'{type(mixer or step).__name__}: does not run in strips in ONNX; linear attention does')


class _Step(nn.Module):
    def __init__(self, step: RowStep, first: bool) -> None:
        super().__init__()
        self.step, self.first = (step,), first
        self.parts = nn.ModuleList(step.step_modules)

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        (step,) = self.step
        grid = Grid.whole(*x.shape[:2])
        keep = Grid.whole(*(ceil_div(side, step.stride) for side in x.shape[:2]))
        tokens = step.read(x.flatten(0, 1)[None], grid, state if self.first else None, keep)
        return tokens[0].unflatten(0, (keep.height, keep.width))


class _Give(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        maps[self.name] = x
        return x


class _Rise(nn.Module):
    def __init__(self, up: nn.Module, skip: str) -> None:
        super().__init__()
        self.up, self.skip = up, skip

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        return self.up.enlarge(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0) + maps[self.skip]


class _Finish(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        image = _unit_rgb(maps[IMAGE]).permute(2, 0, 1)[None]
        answer = self.head([x.permute(2, 0, 1)[None]], image)
        maps[ANSWER] = (answer[0].permute(1, 2, 0) * SCALE).round().clamp(-32767, 32767).to(torch.int16)
        return x


class _Read(nn.Module):
    def __init__(self, segment: Segment, names: Sequence[str]) -> None:
        super().__init__()
        self.segment, self.names = (segment,), names
        self.operations = nn.ModuleList(segment.operations)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (segment,) = self.segment
        given = dict(zip(self.names, inputs))
        maps = {name: given[name] for name in segment.reads}
        x, state = maps[segment.reads[0]], None
        if segment.reads[0] == IMAGE:
            x = _unit_rgb(x)
        if segment.enters is not None:
            tensors = [given[name] for name in state_names(segment.enters)]
            state = (ToneState if isinstance(segment.enters, GlobalTone) else KVState)(*tensors, count=1)
        for operation in self.operations:
            x = operation(maps, x, state)
        return tuple(maps[name] for name in segment.gives)


class _Write(nn.Module):
    def __init__(self, step: RowStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (x,) = inputs
        state = self.step.write(x.flatten(0, 1)[None], Grid.whole(*x.shape[:2]))
        return tuple(getattr(state, name) for name in state_names(self.step))


def _unit_rgb(image: torch.Tensor) -> torch.Tensor:
    return image[..., :3].float() / 255
