"""Enhance an image in strips of rows, equal to the whole pass."""

import torch
import torch.nn.functional as F

from saga_mm.models.openmmlab.necks import neck_rows
from saga_mm.models.openmmlab.segmentor import Planner
from saga_mm.ops import map_to_tokens, round_up
from saga_mm.rows import Part, RowRunner, Rows, Span

from .enhancer import LowLightEnhancer
from .finish import AS_IT_IS, ExposedRows, Finish, MixedRows, finish_rows


class PaddedRows(Rows):
    """An image with its last row and column repeated below and to the right."""

    def __init__(self, image: Rows, divisor: int) -> None:
        super().__init__(image.batch, round_up(image.height, divisor), round_up(image.width, divisor))
        self.image = image

    def plane(self, start: int, stop: int) -> torch.Tensor:
        image = self.image
        _, first, last = self.sources(start, stop)[0]
        plane = image.plane(first, last)
        below = (stop - start) - (last - first)
        return F.pad(plane, (0, self.width - image.width, 0, below), mode='replicate')

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        # a strip may lie below the image altogether: then its last row is what is repeated
        first = min(start, self.image.height - 1)
        return [Span(self.image, first, max(min(stop, self.image.height), first + 1))]


class CroppedRows(Rows):
    """A map without what is below and right of an image."""

    def __init__(self, rows: Rows, image: Rows) -> None:
        super().__init__(rows.batch, image.height, image.width)
        self.rows = rows

    def plane(self, start: int, stop: int) -> torch.Tensor:
        return self.rows.plane(start, stop)[..., : self.width]

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.rows, start, stop)]


def enhance_rows(model: LowLightEnhancer, image: Rows, runner: RowRunner, finish: Finish = AS_IT_IS) -> MixedRows:
    """As :meth:`LowLightEnhancer.enhance`; the answer is computed when its rows are asked for.

    Args:
        model: The model, in evaluation mode.
        image: The image batch, RGB in [0, 1]; rows are asked for in order, several times.
        runner: Planned for :func:`enhancer_parts`.
        finish: Strength, brightness and denoising.

    Raises:
        ValueError: If a part of the model does not run in strips.
    """
    if model.training and not runner.trains:
        raise ValueError('in strips a model runs in evaluation mode alone; call eval() first')
    answer = answer_rows(model, image, runner, finish.brightness)
    with runner.gradients():
        return finish_rows(image, answer, finish, runner)


def answer_rows(
    model: LowLightEnhancer, image: Rows, runner: RowRunner, brightness: float | torch.Tensor | None = None
) -> Rows:
    """The model's answer to an image, not clamped, as large as the padded image.

    Args:
        model: As of :func:`enhance_rows`.
        image: As of :func:`enhance_rows`.
        runner: As of :func:`enhance_rows`.
        brightness: Mean luminance that an image is exposed to, or one for each; None for what the model predicts.
    """
    if not hasattr(model.backbone, 'forward_rows'):
        raise ValueError(f'the backbone {type(model.backbone).__name__} does not run in strips; those of saga_mm do')
    with runner.gradients():
        padded = PaddedRows(_exposed(model, image, runner, brightness), model.pad_divisor)
        maps = model.backbone.forward_rows(padded, runner)
        if model.neck is not None:
            maps = neck_rows(model.neck, maps, runner)
        return model.head.forward_rows(maps, padded, runner)


def _exposed(model: LowLightEnhancer, image: Rows, runner: RowRunner, brightness: float | torch.Tensor | None) -> Rows:
    if model.exposure is None:
        return image
    # one more sweep over the file: what exposure does depends on all of the image
    state = runner.state(model.exposure, image)
    if isinstance(brightness, float):
        brightness = state.levels.new_full((image.batch,), brightness)
    return ExposedRows(image, model.exposure.gain(state, brightness))


def enhancer_parts(model: LowLightEnhancer, batch: int, height: int, width: int) -> list[Part]:
    """What :func:`enhance_rows` runs on images of a size; see :func:`saga_mm.rows.plan_runner`.

    Raises:
        ValueError: If a part of the model does not run in strips.
    """
    planner = Planner()
    enhance_rows(model, Rows(batch, height, width), planner)
    return planner.parts
