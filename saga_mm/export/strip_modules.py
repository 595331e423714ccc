"""Modules that :mod:`strip_graphs` exports as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from saga_mm.models.enhancement import Exposure
from saga_mm.models.enhancement.exposure import ExposureState, expose
from saga_mm.models.enhancement.unet_layers import GlobalTone, ToneState
from saga_mm.ops import Grid, KVState, ceil_div
from saga_mm.rows import RowStep

IMAGE, ANSWER, GAIN = 'image', 'answer', 'gain'
# of an answer as int16: 16 steps to a grey level, from -8 to 8 times white
SCALE = 16 * 255
# the program that runs the graphs merges states by weighted means of their tensors, so that the graphs give the mean of
# the squares in place of the variance
FIELDS = {KVState: ('kv', 'key'), ToneState: ('mean', 'square')}


def state_names(step: RowStep | None) -> tuple[str, ...]:
    """Names of the tensors of a step's state, which are means over tokens."""
    return () if step is None else FIELDS[_state_type(step)]


def _state_type(step: RowStep) -> type:
    return ToneState if isinstance(step, GlobalTone) else KVState


@dataclass
class Segment:
    """The layers between two states.

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


class Step(nn.Module):
    """A step of a stage; the first of a segment is given the state."""

    def __init__(self, step: RowStep, first: bool) -> None:
        super().__init__()
        # in a tuple: a step that is a module would be registered twice, under two names
        self.step, self.first = (step,), first
        self.parts = nn.ModuleList(step.step_modules)

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        (step,) = self.step
        grid = Grid.whole(*x.shape[:2])
        keep = Grid.whole(*(ceil_div(side, step.stride) for side in x.shape[:2]))
        # the strip as a whole map: the program hands over the halo as well, and cuts it off the answer
        tokens = step.read(x.flatten(0, 1)[None], grid, state if self.first else None, keep)
        return tokens[0].unflatten(0, (keep.height, keep.width))


class Give(nn.Module):
    """Make the current map an output of the graph."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        maps[self.name] = x
        return x


class Rise(nn.Module):
    """Enlarge the current map and add the skip connection of its size."""

    def __init__(self, up: nn.Module, skip: str) -> None:
        super().__init__()
        self.up, self.skip = up, skip

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        return self.up.enlarge(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0) + maps[self.skip]


class Answer(nn.Module):
    """Compute the enhanced image from the current map and the image."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: dict[str, torch.Tensor], x: torch.Tensor, state: Any) -> torch.Tensor:
        answer = self.head([x.permute(2, 0, 1)[None]], maps[IMAGE].permute(2, 0, 1)[None])
        # fixed point takes half of the memory that float32 would
        maps[ANSWER] = (answer[0].permute(1, 2, 0) * SCALE).round().clamp(-32767, 32767).to(torch.int16)
        return x


class Read(nn.Module):
    """A segment, for a strip of its maps. An image that is given is exposed by the gain that is given with it."""

    def __init__(self, segment: Segment, names: Sequence[str]) -> None:
        super().__init__()
        self.segment, self.names = (segment,), names
        self.operations = nn.ModuleList(segment.operations)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (segment,) = self.segment
        given = dict(zip(self.names, inputs))
        maps, state = {name: given[name] for name in segment.reads}, None
        if IMAGE in maps:
            image = unit_rgb(maps[IMAGE])
            maps[IMAGE] = expose(image, given[GAIN]) if GAIN in given else image
        x = maps[segment.reads[0]]
        if segment.enters is not None:
            tensors = [given[name] for name in state_names(segment.enters)]
            # states are means: reading them does not depend on the count
            state = _state_type(segment.enters)(*tensors, count=1)
            if isinstance(state, ToneState):
                state = state._replace(variance=tensors[1] - tensors[0].square())
        for operation in self.operations:
            x = operation(maps, x, state)
        return tuple(maps[name] for name in segment.gives)


class Write(nn.Module):
    """Compute the state of a strip of a map."""

    def __init__(self, step: RowStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (x,) = inputs
        state = self.step.write(x.flatten(0, 1)[None], Grid.whole(*x.shape[:2]))
        return tuple(getattr(state, name) for name in state_names(self.step))


class MeasureExposure(nn.Module):
    """Compute the state of the exposure from a strip of the image without padding."""

    def __init__(self, exposure: Exposure) -> None:
        super().__init__()
        self.exposure = exposure

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        (image,) = inputs
        return self.exposure.measure(unit_rgb(image).permute(2, 0, 1)[None]).levels


class Gain(nn.Module):
    """Compute gain and mean luminance from a state and a wanted luminance; 0 asks for the predicted one."""

    def __init__(self, exposure: Exposure) -> None:
        super().__init__()
        self.exposure = exposure

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        levels, wanted = inputs
        state = ExposureState(levels, 1)
        return self.exposure.gain(state, wanted).flatten(), self.exposure.brightness(state, wanted)


def unit_rgb(image: torch.Tensor) -> torch.Tensor:
    """``(H, W, 3)`` in [0, 1], of ``(H, W, 4)`` uint8."""
    # four channels, as a canvas of a browser gives its pixels
    return image[..., :3].float() / 255
