"""Frames of a video in one piece each, on an engine that compiles whole models."""

from __future__ import annotations

import math
from typing import Any

import torch

from saga_mm.models.backbones.chunks import engine_for, run_on
from saga_mm.ops.carrying import carry_states
from saga_mm.rows import TORCH, limit_chunks

from .carry import DECAY
from .enhancer import LowLightEnhancer

# rows and columns of an image that shows which states a model has
SMALL = 64


class CarriedFrames:
    """Runs a model over the frames of a video; its global states are carried as by a :class:`~.carry.CarryingRunner`.

    Args:
        model: The model, in evaluation mode.
        decay: The share of what came before, from 0 (frame by frame) to below 1.
    """

    def __init__(self, model: LowLightEnhancer, decay: float = DECAY) -> None:
        self.model, self.decay = model, decay
        self._zeros = torch.empty(0)
        self.reset()

    def reset(self) -> None:
        """Start a new scene: forget the states of earlier frames."""
        # states are inputs and outputs of the compiled graph: it keeps nothing between frames
        self._past: torch.Tensor | None = None
        self._exposure: Any = None

    def fits(self, image: torch.Tensor) -> bool:
        """Whether an engine compiles the model for such an image, and all states of the model can be carried so."""
        model = self.model
        if model.neck is not None or not hasattr(model.backbone, 'parts') or engine_for(model, image) is None:
            return False
        sweeps = sum(step.sweeps for part in model.backbone.parts(*image.shape[2:]) for step in part.steps)
        states = _States()
        with carry_states(states), limit_chunks(math.inf):
            # a corner suffices: which states there are, and their sizes, are the model's
            model._compute(image[:, :, :SMALL, :SMALL])
        self._zeros = states.all().new_zeros(1, states.size)
        return states.are_means and states.count == sweeps > 0

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The answer to the next frame, ``(1, 3, H, W)`` in [0, 1]; not clamped."""
        model, share = self.model, 0.0 if self._past is None else self.decay
        gain = image.new_ones(1, 1, 1, 1)
        if model.exposure is not None:
            state = model.exposure.measure(image)
            if self._exposure is not None:
                state = state._replace(levels=torch.lerp(state.levels, self._exposure.levels, share))
            self._exposure = state
            gain = model.exposure.gain(state)
        past = self._zeros if self._past is None else self._past
        inputs = (image, gain, past, image.new_full((1, 1), share))
        engine = engine_for(model, image) or TORCH
        answer, self._past = run_on(engine, [model], self._compute, *inputs, recurs=True)
        return answer

    def _compute(
        self, image: torch.Tensor, gain: torch.Tensor, past: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The answer and what was read of all states, given what was read at the frame before and its share."""
        states = _States(past, share)
        # in PyTorch as well states are written and read once
        with carry_states(states), limit_chunks(math.inf):
            answer = self.model._compute(image, gain)
        return answer, states.all()


class _States:
    """The states of one run: mixed with those of the run before, and kept in one tensor ``(1, numbers)``.

    Args:
        past: Of the run before; None to mix nothing in.
        share: Its share, ``(1, 1)``.
    """

    def __init__(self, past: torch.Tensor | None = None, share: torch.Tensor | None = None) -> None:
        self.past, self.share = past, share
        self.count, self.size, self.are_means = 0, 0, True
        self._read: list[torch.Tensor] = []

    def all(self) -> torch.Tensor:
        """What was read of all states."""
        return torch.cat(self._read, 1) if self._read else torch.zeros(1, 0)

    def __call__(self, state: Any) -> Any:
        fields = getattr(state, '_asdict', dict)()
        self.count += 1
        # means add by the number of their tokens, which is the same in each frame
        self.are_means &= 'count' in fields and getattr(state, 'log_weight', None) is None
        means = {name: mean for name, mean in fields.items() if name != 'count' and mean is not None}
        return state._replace(**{name: self._mixed(mean) for name, mean in means.items()}) if fields else state

    def _mixed(self, mean: torch.Tensor) -> torch.Tensor:
        # sizes are those of the model, not of the image
        sides = [int(side) for side in mean.shape[1:]]
        flat, start = mean.reshape(1, math.prod(sides)), self.size
        self.size += math.prod(sides)
        if self.past is not None:
            flat = flat + self.share * (self.past[:, start : self.size] - flat)
        self._read.append(flat)
        return flat.reshape(1, *sides)
