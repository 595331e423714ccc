"""Options that are applied to an enhanced image: denoising, brightness, strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from saga_mm.errors import ArgumentError
from saga_mm.ops import Grid, map_to_tokens
from saga_mm.rows import RowRunner, Rows, RowStep, Span

from .exposure import LUMA, expose

# classes of a histogram; its middle stands for all of a class
BINS = 4096
# how far the gain that reaches a brightness is searched, in stops, and how near it must come
MOST_STOPS, STEPS, CLOSE = 12.0, 48, 1e-3
# pixels on each side whose mean says how bright a place became
REACH = 8


class Finish(NamedTuple):
    """Strength, brightness and denoising of an enhanced image.

    Attributes:
        strength: 0 gives the image as it is, 1 the answer; between and beyond, on the line through both.
        brightness: Mean luminance that the answer shall have, in (0, 1); None for what the model predicts.
        denoise: 1 leaves the answer as it is, 0 gives back the image's own detail, and its noise, as bright as the
            answer.
    """

    strength: float = 1.0
    brightness: float | None = None
    denoise: float = 1.0


AS_IT_IS = Finish()


class BrightnessState(NamedTuple):
    """How often each value occurs in each colour, ``(B, 3, BINS + 1)``, and in how many pixels.

    Classes are even in the square root of a value; the first is of black alone.
    """

    shares: torch.Tensor
    count: float


class Brightness(RowStep):
    """Find the gain of :func:`~.exposure.expose` that gives an answer a mean luminance.

    The luminance after any gain is a sum over a histogram, and histograms of strips add.
    """

    sweeps, channels = 1, 3
    peak_floats_per_token = 12.0

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> BrightnessState:
        """State of pixels ``(B, N, 3)``, RGB in [0, 1]."""
        # by square roots, so that dark values, which a gain moves most, have more classes; 0 has one of its own
        classes = (x.clamp(0, 1).sqrt() * BINS).ceil().long().transpose(1, 2).flatten(0, 1)
        counts = torch.stack([torch.bincount(one, minlength=BINS + 1) for one in classes])
        # shares, so that pictures of all sizes add; in float64, as a class may hold one pixel of a billion
        return BrightnessState(counts.view(len(x), 3, -1).double() / x.shape[1], x.shape[1])

    def merge(self, states: Sequence[BrightnessState]) -> BrightnessState:
        count = sum(state.count for state in states)
        return BrightnessState(sum(state.shares * (state.count / count) for state in states), count)

    def gain(self, state: BrightnessState, brightness: float) -> torch.Tensor:
        """``(B, 1, 1, 1)``.

        Raises:
            ArgumentError: No gain reaches the brightness, as in a picture that is black almost everywhere.
        """
        shares = torch.tensor(LUMA, dtype=torch.float64) @ state.shares.cpu()
        return torch.tensor([_gain(one, brightness) for one in shares]).view(-1, 1, 1, 1).to(state.shares.device)


def finish_image(image: torch.Tensor, answer: torch.Tensor, finish: Finish) -> torch.Tensor:
    """The finished answer of images ``(B, 3, H, W)`` in [0, 1]; clamped.

    Raises:
        ArgumentError: No curve reaches the brightness.
    """
    if finish.denoise != 1:
        answer = with_noise(image, answer, finish.denoise)
    if finish.brightness is not None:
        step, grid = Brightness(), Grid.whole(*answer.shape[2:])
        gain = step.gain(step.write(map_to_tokens(answer), grid), finish.brightness)
        answer = expose(answer.clamp(0, 1), gain.to(answer.dtype))
    return mix(image, answer, finish.strength)


def mix(images: torch.Tensor, answer: torch.Tensor, strength: float) -> torch.Tensor:
    """Images and their enhanced answers mixed: 0 gives the images, 1 the answers; clamped to [0, 1]."""
    return (answer if strength == 1 else torch.lerp(images, answer, strength)).clamp(0, 1)


def with_noise(image: torch.Tensor, answer: torch.Tensor, denoise: float) -> torch.Tensor:
    """The answer mixed with the image itself, brought to the local mean of the answer.

    ``denoise * answer + (1 - denoise) * image * mean(answer) / mean(image)``, means over ``2 REACH + 1`` pixels.
    """
    # one grey level more, so that the ratio stays small where the image is black
    means = [_local_mean(x) + 1 / 255 for x in (answer, image)]
    return torch.lerp(image * (means[0] / means[1]), answer, denoise)


class NoisedRows(Rows):
    """An answer as large as the image, with some of its noise; see :func:`with_noise`."""

    def __init__(self, image: Rows, answer: Rows, denoise: float) -> None:
        super().__init__(image.batch, image.height, image.width)
        self.image, self.answer, self.denoise = image, answer, denoise
        self.halo = REACH if denoise != 1 else 0

    @torch.no_grad()
    def plane(self, start: int, stop: int) -> torch.Tensor:
        _, first, last = self.sources(start, stop)[0]
        answer = self.answer.plane(first, last)[..., : self.width]
        if self.denoise != 1:
            answer = with_noise(self.image.plane(first, last), answer, self.denoise)
        return answer[:, :, start - first : stop - first]

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        span = max(start - self.halo, 0), min(stop + self.halo, self.height)
        return [Span(rows, *span) for rows in (self.answer, *([self.image] if self.halo else []))]


class ExposedRows(Rows):
    """An image, or an answer, after one gain; see :func:`~.exposure.expose`."""

    def __init__(self, image: Rows, gain: torch.Tensor) -> None:
        super().__init__(image.batch, image.height, image.width)
        self.image, self.gain = image, gain

    @torch.no_grad()
    def plane(self, start: int, stop: int) -> torch.Tensor:
        image = self.image.plane(start, stop)
        return expose(image.clamp(0, 1), self.gain.to(image.dtype))

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.image, start, stop)]


class MixedRows(Rows):
    """Image and answer mixed by strength, as large as the image."""

    def __init__(self, image: Rows, answer: Rows, strength: float) -> None:
        super().__init__(image.batch, image.height, image.width)
        self.image, self.answer, self.strength = image, answer, strength

    @torch.no_grad()
    def plane(self, start: int, stop: int) -> torch.Tensor:
        image = self.image.plane(start, stop)
        return mix(image, self.answer.plane(start, stop), self.strength) if self.strength else image

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.image, start, stop), *([Span(self.answer, start, stop)] if self.strength else [])]


def finish_rows(image: Rows, answer: Rows, finish: Finish, runner: RowRunner) -> MixedRows:
    """As :func:`finish_image`, over rows; with a brightness, all rows of the answer are asked for once before."""
    answer = NoisedRows(image, answer, finish.denoise)
    # before the mix with the image: brightness is that of the answer at full strength
    if finish.brightness is not None and finish.strength:
        step = Brightness()
        answer = ExposedRows(answer, step.gain(runner.state(step, answer), finish.brightness))
    return MixedRows(image, answer, finish.strength)


def check_finish(finish: Finish) -> Finish:
    """The same, its numbers plain.

    Raises:
        ArgumentError: One is out of range, or no number.
    """
    strength, brightness, denoise = finish
    if not _is_number(strength) or strength < 0:
        raise ArgumentError('strength', strength, 'must be a number from 0 on; 1 is the usual')
    if brightness is not None and (not _is_number(brightness) or not 0 < brightness < 1):
        raise ArgumentError('brightness', brightness, 'must be a mean luminance between 0 and 1, or auto')
    if not _is_number(denoise) or not 0 <= denoise <= 1:
        raise ArgumentError('denoise', denoise, 'must be a number from 0 to 1')
    return Finish(float(strength), None if brightness is None else float(brightness), float(denoise))


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and hasattr(value, '__float__') and math.isfinite(float(value))


def _local_mean(image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(image, 2 * REACH + 1, 1, REACH, count_include_pad=False)


def _gain(shares: torch.Tensor, brightness: float) -> float:
    """Of one image, from the shares of values in its luminance, ``(BINS + 1,)``."""
    values = ((torch.arange(BINS + 1, dtype=torch.float64) - 0.5) / BINS).square()
    values[0], values[-1] = 0.0, 1.0

    def mean(stops: float) -> float:
        return float((expose(values, 2.0**stops) * shares).sum())

    low, high = -MOST_STOPS, MOST_STOPS
    if not mean(low) - CLOSE <= brightness <= mean(high) + CLOSE:
        reached = f'{mean(low):.3f} to {mean(high):.3f}'
        raise ArgumentError('brightness', brightness, f'cannot be reached: this picture can have {reached}')
    # the mean grows with the gain, but has no inverse in closed form
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < brightness else (low, middle)
    return 2.0**high
