"""Class maps from mmseg's models in little memory: large images in strips, scores at the head's resolution."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.foundation import print_log
from saga_mm.models.backbones.chunks import engine_for, run_on, whole_reason
from saga_mm.ops import captures_graph, map_to_tokens
from saga_mm.rows import MemoryBudget, MemoryRows, Part, Rows, Span

from . import ResizedRows, label_rows, segment_rows, segmentor_parts

MODEL_METHODS = ('predict', 'inference', 'whole_inference', 'encode_decode', '_forward', 'postprocess_result')
HEAD_METHODS = ('predict', 'predict_by_feat')
# by direction, the dimension of (B, C, H, W) that a flip reverses
FLIPPED = {'horizontal': 3, 'vertical': 2}
# pixels of an image beyond which a model that cannot run in strips says so
LARGE_PIXELS = 2048**2


def label_by_rows(model: nn.Module, budget: MemoryBudget | None = None) -> bool:
    """Let a model of mmseg's predict large images in strips, and scores of all classes at its head's resolution alone.

    mmseg resizes the scores of all classes to the padded image, and once more to the picture as it was before the test
    pipeline. From here on ``model.predict`` does both for a few rows at a time. An image of which one pass is large, or
    does not fit the memory well, is run in strips of rows; what cannot run so is run in one piece, and a line of the
    log says why. Labels are mmseg's, up to ties in rounding, and whole numbers also where a head has a single channel.
    Data samples come without ``seg_logits``, which ``SegTTAModel`` averages and neither the metrics nor the visualizer
    of mmseg look at: leave a model as it is that is to be wrapped in one. A ``test_cfg`` with ``mode='slide'`` is left
    to mmseg.

    Args:
        model: Any module, out of a wrapper such as that for several processes.
        budget: The memory that predictions may take; None for half of what is free at the time.

    Returns:
        Whether it was done: for an ``EncoderDecoder``, unless it or its head predicts in a way of its own, as cascades
        and mask classifiers do.
    """
    from mmseg.models import EncoderDecoder
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    done = isinstance(model, EncoderDecoder) and isinstance(model.decode_head, BaseDecodeHead)
    if done:
        parts = ((model, EncoderDecoder, MODEL_METHODS), (model.decode_head, BaseDecodeHead, HEAD_METHODS))
        # by the methods, not the class: a subclass may replace any of them, and is then left to mmseg
        done = all(getattr(type(part), name) is getattr(base, name) for part, base, names in parts for name in names)
    if done:
        model.predict = RowPrediction(model, budget)
    elif budget is not None and budget.is_given:
        print_log(f'max_memory is not kept: {type(model).__name__} predicts in a way of its own', logger='current')
    return done


def _scores_of(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Class scores of images at the head's resolution, in PyTorch."""

    def scores(images: torch.Tensor) -> torch.Tensor:
        return model._forward(images)

    return scores


class RowPrediction:
    """What takes the place of a model's ``predict``; see :func:`label_by_rows` for its arguments."""

    def __init__(self, model: nn.Module, budget: MemoryBudget | None) -> None:
        self.model, self.budget = model, budget
        self._reported: set[str] = set()

    def __call__(self, inputs: torch.Tensor, data_samples: Sequence[Any] | None = None) -> Sequence[Any]:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        model = self.model
        if model.test_cfg.get('mode', 'whole') != 'whole':
            self._tell(inputs, f'test_cfg.mode is {model.test_cfg.mode!r}')
            return type(model).predict(model, inputs, data_samples)
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            samples, metas = [SegDataSample() for _ in inputs], [{'img_shape': size, 'ori_shape': size}] * len(inputs)
        else:
            samples, metas = data_samples, [sample.metainfo for sample in data_samples]
        # labels are int64
        held = 8 * sum(meta['ori_shape'][0] * meta['ori_shape'][1] for meta in metas)
        size = _padded_size(metas[0])
        for sample, meta, scores in zip(samples, metas, self._scores(inputs, held), strict=True):
            padded = ResizedRows(scores, size, align_corners=model.align_corners)
            labels = _labels(model.decode_head, PictureRows(padded, meta), meta['ori_shape'])
            sample.set_data({'pred_sem_seg': PixelData(data=labels)})
        return samples

    def _scores(self, inputs: torch.Tensor, held: float) -> Iterator[Rows]:
        """Class scores of each image at the head's resolution; what runs in strips does so one image at a time."""
        model, budget = self.model, self.budget or MemoryBudget.of(self.model)
        parts = self._parts(inputs)
        if parts is None or budget.takes_whole(parts, len(inputs), held):
            scores = self._whole(inputs).permute(0, 2, 3, 1)
            yield from (MemoryRows(one[None]) for one in scores)
            return
        for image in inputs:
            rows = MemoryRows(image.permute(1, 2, 0)[None])
            yield segment_rows(model, rows, budget.plan(parts, rows, held))

    def _whole(self, inputs: torch.Tensor) -> torch.Tensor:
        engine = engine_for(self.model.backbone, inputs)
        if engine is None:
            return self.model._forward(inputs)
        model = self.model
        modules = [model.backbone, *([model.neck] if model.with_neck else []), model.decode_head]
        return run_on(engine, modules, _scores_of(model), inputs)

    def _parts(self, inputs: torch.Tensor) -> list[Part] | None:
        """What would be run of an image in strips; None where an image has to be run in one piece."""
        if torch.is_grad_enabled() or self.model.training or captures_graph():
            return None
        if reason := whole_reason(self.model):
            self._tell(inputs, reason)
            return None
        try:
            return segmentor_parts(self.model, 1, *inputs.shape[2:])
        except ValueError as error:
            self._tell(inputs, str(error))
            return None

    def _tell(self, inputs: torch.Tensor, reason: str) -> None:
        height, width = inputs.shape[2:]
        if height * width > LARGE_PIXELS and reason not in self._reported:
            self._reported.add(reason)
            print_log(f'{width} x {height} pixels are not segmented in strips: {reason}', logger='current')


def _padded_size(meta: Mapping[str, Any]) -> tuple[int, int]:
    """What the head of mmseg resizes a batch to, by the facts of its first image."""
    if isinstance(meta['img_shape'], torch.Size):
        return meta['img_shape']
    return meta.get('pad_shape', meta['img_shape'])[:2]


def _labels(head: nn.Module, rows: Rows, size: Sequence[int]) -> torch.Tensor:
    """Labels ``(1, H, W)`` of a map of scores, resized to ``(H, W)``."""
    labels, start = None, 0
    for part in label_rows(head, rows, tuple(size)):
        if labels is None:
            labels = part.new_empty(1, *size)
        stop = start + part.shape[1]
        labels[:, start:stop], start = part, stop
    return labels


class PictureRows(Rows):
    """The image in a map of a padded and perhaps flipped one.

    Args:
        rows: The map.
        meta: The data sample's facts: padding and flip.
    """

    def __init__(self, rows: Rows, meta: Mapping[str, Any]) -> None:
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        super().__init__(rows.batch, rows.height - top - bottom, rows.width - left - right)
        self.rows, self.top, self.left = rows, top, left
        self.flipped = FLIPPED[meta['flip_direction']] if meta.get('flip') else None

    def plane(self, start: int, stop: int) -> torch.Tensor:
        if self.flipped == FLIPPED['vertical']:
            start, stop = self.height - stop, self.height - start
        plane = self.rows.plane(self.top + start, self.top + stop)[..., self.left : self.left + self.width]
        return plane if self.flipped is None else plane.flip(self.flipped)

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        if self.flipped == FLIPPED['vertical']:
            start, stop = self.height - stop, self.height - start
        return [Span(self.rows, self.top + start, self.top + stop)]
