"""Labels of whole images from models of mmseg without the scores of all classes at an image's size."""

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch import nn

from saga_mm.ops import MemoryRows, Rows, map_to_tokens

from .strips import ResizedRows, label_rows

MODEL_METHODS = ('predict', 'inference', 'whole_inference', 'encode_decode', '_forward', 'postprocess_result')
HEAD_METHODS = ('predict', 'predict_by_feat')
FLIPPED = {'horizontal': 3, 'vertical': 2}


def label_by_rows(model: nn.Module) -> bool:
    """Let a model of mmseg's predict whole images with class scores at its head's own resolution alone.

    mmseg resizes the scores of all classes to the padded image, and once more to the picture as it was before the test
    pipeline. From here on ``model.predict`` does both for a few rows at a time. Labels are mmseg's, up to ties in
    rounding, and whole numbers also where a head has a single channel. Data samples come without ``seg_logits``, which
    ``SegTTAModel`` averages and neither the metrics nor the visualizer of mmseg look at: leave a model as it is that is
    to be wrapped in one. A ``test_cfg`` with ``mode='slide'`` is left to mmseg.

    Args:
        model: Any module, out of a wrapper such as that for several processes.

    Returns:
        Whether it was done: for an ``EncoderDecoder``, unless it or its head predicts in a way of its own, as cascades
        and mask classifiers do.
    """
    from mmseg.models import EncoderDecoder
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    if not isinstance(model, EncoderDecoder) or not isinstance(model.decode_head, BaseDecodeHead):
        return False
    parts = ((model, EncoderDecoder, MODEL_METHODS), (model.decode_head, BaseDecodeHead, HEAD_METHODS))
    if any(getattr(type(part), name) is not getattr(base, name) for part, base, names in parts for name in names):
        return False
    model.predict = MethodType(_predict, model)
    return True


def _predict(model: Any, inputs: torch.Tensor, data_samples: Sequence[Any] | None = None) -> Sequence[Any]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    if model.test_cfg.get('mode', 'whole') != 'whole':
        return type(model).predict(model, inputs, data_samples)
    scores = model._forward(inputs).permute(0, 2, 3, 1)
    if data_samples is None:
        size = tuple(inputs.shape[2:])
        samples, metas = [SegDataSample() for _ in inputs], [{'img_shape': size, 'ori_shape': size}] * len(inputs)
    else:
        samples, metas = data_samples, [sample.metainfo for sample in data_samples]
    size = _padded_size(metas[0])
    for i, (sample, meta) in enumerate(zip(samples, metas)):
        padded = ResizedRows(MemoryRows(scores[i : i + 1]), size, align_corners=model.align_corners)
        labels = _labels(model.decode_head, PictureRows(padded, meta), meta['ori_shape'])
        sample.set_data({'pred_sem_seg': PixelData(data=labels)})
    return samples


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
