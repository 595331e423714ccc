"""Exposure: one curve for the whole image that gives a wanted or predicted mean luminance."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from saga_mm.ops import Grid, tokens_to_map, wide
from saga_mm.registry import MODELS
from saga_mm.rows import RowStep

# of ITU-R BT.601
LUMA = (0.299, 0.587, 0.114)
# gains at which an image's mean luminance is kept: 2^-4 to 2^8, four to each doubling
FIRST, LAST, EACH = -4, 8, 4
STOPS = tuple(FIRST + step / EACH for step in range((LAST - FIRST) * EACH + 1))
# of rows and columns, every so many are looked at
SPARSE = 4
# what a model that has learned nothing answers with
USUAL = 0.4
# a picture with white in it was exposed for that: of its light, the shares that come from white at which the predicted
# brightness begins to be held, and is held, to what so many stops give
WHITE, HELD_STOPS = (0.007, 0.02), 4.5


class ExposureState(NamedTuple):
    """Mean luminance of an image at each gain, ``(B, gains)``, and of how many pixels it is the mean."""

    levels: torch.Tensor
    count: float


@MODELS.register_module()
class Exposure(RowStep, nn.Module):
    """Bring images to a mean luminance by ``f(x) = gain x / (1 + (gain - 1) x)``.

    The curve keeps black and white, rises everywhere, and is a plain gain where an image is dark, so nothing is clipped
    and what is bright stays in its place. Its gain is found from a state: the mean luminance that the image would have
    at each of many gains. These means add like all states, so strips and videos have the exposure of the whole.

    Without a wanted luminance, a small network predicts it from the state.

    Args:
        hidden_dims: Inner width of that network.
    """

    sweeps = 1
    row_multiple = SPARSE
    channels = 3
    peak_floats_per_token = 24.0

    def __init__(self, hidden_dims: int = 32) -> None:
        super().__init__()
        self.fc1 = nn.Linear(len(STOPS), hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, 1)
        nn.init.zeros_(self.fc2.weight)
        nn.init.constant_(self.fc2.bias, math.log(USUAL / (1 - USUAL)))

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        """None: sums over few pixels, which no engine needs to compile."""
        return ()

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> ExposureState:
        """State of the pixels ``x``, ``(B, N, 3)`` RGB in [0, 1], that stand at ``grid``."""
        return self.measure(tokens_to_map(x, grid))

    def measure(self, image: torch.Tensor) -> ExposureState:
        """State of an image ``(B, 3, H, W)``."""
        # a mean needs few pixels; rows of strips start at multiples of it, so that all strips take the same
        x = wide(image[:, :, ::SPARSE, ::SPARSE]).contiguous()
        one, gains = x.new_ones(()), [2.0**stops for stops in STOPS]
        # those of `expose`, with few passes over the pixels
        levels = [gain * luminance(x / torch.add(one, x, alpha=gain - 1)) for gain in gains]
        return ExposureState(torch.stack(levels, 1), x.shape[2] * x.shape[3])

    def merge(self, states: Sequence[ExposureState]) -> ExposureState:
        count = sum(state.count for state in states)
        return ExposureState(sum(state.levels * (state.count / count) for state in states), count)

    def predict(self, state: ExposureState) -> torch.Tensor:
        """The mean luminance, ``(B,)``, that a picture of this state should have."""
        # logarithms, as light is seen; black stays finite
        facts = (state.levels + 1e-3).log().to(self.fc1.weight.dtype)
        return self.fc2(self.act(self.fc1(facts))).sigmoid().squeeze(1).to(state.levels.dtype)

    def brightness(self, state: ExposureState, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """The mean luminance ``wanted``, ``(B,)``; where it is 0, and without it, the one that is predicted.

        What is predicted for a picture that is dark although it has white in it, a lamp at night, is held to
        ``HELD_STOPS``.
        """
        predicted = self.predict(state)
        excess = (predicted - state.levels[:, STOPS.index(HELD_STOPS)]).clamp(min=0)
        first, all_of_it = WHITE
        predicted = predicted - excess * ((_white_share(state) - first) / (all_of_it - first)).clamp(0, 1)
        return predicted if wanted is None else torch.where(wanted > 0, wanted, predicted.detach())

    def gain(self, state: ExposureState, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """The gain, ``(B, 1, 1, 1)``, at which the mean luminance is :meth:`brightness`; at the ends, the nearest.

        Between the gains of the state its logarithm is interpolated.
        """
        wanted = self.brightness(state, wanted)
        low, high = state.levels[:, :-1], state.levels[:, 1:]
        # levels rise with the gain: intervals below the wanted one count in full, the one that holds it in part
        shares = ((wanted[:, None] - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
        return 2.0 ** (FIRST + shares.sum(1) / EACH).view(-1, 1, 1, 1)


def _white_share(state: ExposureState) -> torch.Tensor:
    """Of the light of an image, ``(B,)``, about the share that comes from white: it stays where the rest is divided."""
    divisor = 2.0**-FIRST
    kept = state.levels[:, 0] / state.levels[:, STOPS.index(0)].clamp(min=1e-6)
    return (divisor * kept - 1) / (divisor - 1)


def expose(image: torch.Tensor, gain: torch.Tensor | float) -> torch.Tensor:
    """``gain x / (1 + (gain - 1) x)`` of an image in [0, 1]."""
    return gain * image / (1 + (gain - 1) * image)


def luminance(image: torch.Tensor) -> torch.Tensor:
    """Mean luminance, ``(B,)``, of images ``(B, 3, H, W)``."""
    means = image.mean((2, 3))
    return sum(weight * means[:, colour] for colour, weight in enumerate(LUMA))
