"""Run a segmentation model of mmseg in strips of rows, from an image to class scores."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone
from saga_mm.rows import Part, RowRunner, Rows, RowStep, bytes_of_chunks

from .heads import head_rows
from .layer_steps import ResizedRows
from .necks import neck_rows


def segment_rows(model: nn.Module, image: Rows, runner: RowRunner) -> Rows:
    """Class scores of an ``EncoderDecoder`` at its head's resolution; computed when rows are asked for.

    Args:
        model: The model, in evaluation mode.
        image: The image, normalised as the backbone wants it.
        runner: Planned for :func:`segmentor_parts`.

    Raises:
        ValueError: If a part of the model does not run in strips.
    """
    if model.training and not runner.trains:
        raise ValueError('in strips a model runs in evaluation mode alone; call eval() first')
    if not isinstance(model.backbone, PyramidBackbone):
        raise ValueError(f'the backbone {type(model.backbone).__name__} does not run in strips; those of saga_mm do')
    with runner.gradients():
        return head_rows(model.decode_head, feature_rows(model, image, runner), runner)


def feature_rows(model: nn.Module, image: Rows, runner: RowRunner) -> Sequence[Rows]:
    """The maps that a model gives to its heads, of backbone and neck; arguments as of :func:`segment_rows`."""
    maps: Sequence[Rows] = model.backbone.forward_rows(image, runner)
    return maps if getattr(model, 'neck', None) is None else neck_rows(model.neck, maps, runner)


def segmentor_parts(model: nn.Module, batch: int, height: int, width: int) -> list[Part]:
    """What :func:`segment_rows` runs on images of a size; see :func:`saga_mm.rows.plan_runner`.

    Raises:
        ValueError: If a part of the model does not run in strips.
    """
    planner = Planner()
    segment_rows(model, Rows(batch, height, width), planner)
    return planner.parts


def label_rows(
    head: nn.Module, scores: Rows, size: tuple[int, int], span: tuple[int, int] | None = None
) -> Iterator[torch.Tensor]:
    """The most likely class of each pixel, from top to bottom; scores of all classes exist for a few rows at a time.

    Args:
        head: The head behind the scores, which says how they are resized.
        scores: As :func:`segment_rows` gives them.
        size: ``(H, W)`` of the image.
        span: The first row that is wanted, and the one after the last; None for all.

    Yields:
        Labels ``(B, rows, W)`` of the next rows.
    """
    resized = ResizedRows(scores, size, align_corners=head.align_corners)
    # of scores that are larger than the image, several rows are read for each of its own
    columns = max(size[1], -(-scores.height // size[0]) * scores.width)
    # scores, the two maps that they are interpolated from, and the comparison
    rows = max(int(bytes_of_chunks() // (4 * 4 * scores.batch * columns * head.out_channels)), 1)
    first, last = span or (0, size[0])
    for start in range(first, last, rows):
        with torch.no_grad():
            plane = resized.plane(start, min(start + rows, last))
        if head.out_channels == 1:
            yield (plane.sigmoid() > head.threshold).squeeze(1).long()
        else:
            yield plane.argmax(1)


class Planner(RowRunner):
    """Records the steps that would run, and the sizes of their maps, without running them.

    Attributes:
        parts: What would be run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []

    def run(self, steps: Sequence[RowStep], source: Rows) -> Rows:
        self.parts.append(Part(steps, source.height, source.width))
        height, width = source.height, source.width
        for step in steps:
            height, width = -(-height // step.stride), -(-width // step.stride)
        return Rows(source.batch, height, width)

    def state(self, step: RowStep, x: Rows) -> Any:
        self.parts.append(Part([step], x.height, x.width))
        # one row of zeros: what is pooled has the same shape for any rows
        return step.merge([step.write(torch.zeros(x.batch, x.width, step.channels), x.grid(0, 1))])

    def share(self, steps: Sequence[RowStep], maps: Sequence[Rows]) -> list[Rows]:
        return [self.run([step], x) for step, x in zip(steps, maps)]
