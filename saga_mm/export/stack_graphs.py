"""Graphs of segmentors, detectors and classifiers, with normalisation inside."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.models.stack_padding import runs_by_size
from saga_mm.onnx.file import LABELS, PROBABILITIES, SCORES
from saga_mm.ops import round_up

from .graphs import Answers, ExportGraph
from .resizing import resize_rule


class PictureGraph(ExportGraph):
    """A model of the stack, with what its data preprocessor does as a part of the graph.

    Args:
        model: The model.
        divisor: What the preprocessor pads images to a multiple of, 1 for no padding.
        pad_value: What it pads with, after the normalisation.

    Raises:
        SagaError: The preprocessor is one of which it is not known what it does.
    """

    input = 'image: float32 (1, 3, height, width), RGB from 0 to 255, resized as the metadata says'

    def __init__(self, model: nn.Module, divisor: int, pad_value: float) -> None:
        from mmengine.model import ImgDataPreprocessor, revert_sync_batchnorm

        if not isinstance(model.data_preprocessor, ImgDataPreprocessor):
            raise SagaError(f'a {type(model.data_preprocessor).__name__} prepares images in a way that is not exported')
        # a synchronised batch norm has no form in ONNX; in evaluation an ordinary one is the same
        super().__init__(revert_sync_batchnorm(copy.deepcopy(model)))
        # such a model predicts on pictures without their padding
        self.pad_divisor, self.pad_value = 1 if runs_by_size(self.model) else divisor, float(pad_value)

    def prepared(self, image: torch.Tensor) -> torch.Tensor:
        """An image as the backbone takes it."""
        prepare = self.model.data_preprocessor
        # pictures are loaded in the order BGR
        image = image if prepare._channel_conversion else image.flip(1)
        if prepare._enable_normalize:
            image = (image - prepare.mean) / prepare.std
        if self.pad_divisor == 1:
            return image
        below, right = (round_up(side, self.pad_divisor) - side for side in image.shape[2:])
        return F.pad(image, (0, right, 0, below), value=self.pad_value)

    def prepared_by_model(self, image: torch.Tensor) -> torch.Tensor:
        """The same by the data preprocessor itself, as for a picture that is loaded."""
        from mmengine.structures import BaseDataElement

        data = {'inputs': [image[0].flip(0).byte()], 'data_samples': [BaseDataElement()]}
        padded = self.original[0].data_preprocessor(data, False)['inputs']
        # the graph does not pad where the model does each picture without its padding
        return padded if self.pad_divisor > 1 else padded[..., : image.shape[2], : image.shape[3]]


class SegmentorGraph(PictureGraph):
    """Labels at the size of the image, or class scores at the resolution of the head.

    Args:
        model: An ``EncoderDecoder`` of mmseg's.
        output: ``'labels'`` or ``'scores'``.

    Raises:
        SagaError: The model predicts in a way of its own.
    """

    kind = 'segmentor'

    def __init__(self, model: nn.Module, output: str = LABELS) -> None:
        name = type(model).__name__
        # of a shallow copy, since it replaces a method of the model
        if not label_by_rows(copy.copy(model)):
            raise SagaError(f'{name} or its head predicts in a way of its own, which is not exported')
        if model.test_cfg.get('mode', 'whole') != 'whole':
            raise SagaError('test_cfg cuts pictures into windows, which is not exported: set model.test_cfg.mode=whole')
        padding = model.data_preprocessor.test_cfg or {}
        if padding.get('size'):
            raise SagaError('data_preprocessor.test_cfg pads to a size, which is not exported: give it a size_divisor')
        super().__init__(model, padding.get('size_divisor') or 1, model.data_preprocessor.pad_val)
        head = model.decode_head
        self.wanted, self.align_corners, self.classes = output, head.align_corners, head.out_channels
        self.threshold = head.threshold if head.out_channels == 1 else None
        words = {
            LABELS: 'labels: (1, height, width), indices into classes, uint8 or, beyond 256 classes, int32',
            SCORES: 'scores: float32 (1, classes, rows, columns) at the resolution of the head: resized to the padded '
            'image, bilinear, the largest is the label',
        }
        self.output = words[output]

    def outputs(self) -> list[str]:
        return [self.wanted]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        padded = self.prepared(image)
        scores = self.model._forward(padded)
        if self.wanted == SCORES:
            return scores
        scores = self._full(scores, padded.shape[2:], image.shape[2:])
        if self.classes == 1:
            return (scores.sigmoid() > self.threshold)[:, 0].to(torch.uint8)
        return scores.argmax(1).to(torch.uint8 if self.classes <= 256 else torch.int32)

    def reference(self, image: torch.Tensor) -> Answers:
        # scores and not labels: where two are nearly equal, rounding may choose either, and neither is wrong
        padded = self.prepared_by_model(image)
        scores = self.original[0]._forward(padded)
        return (scores if self.wanted == SCORES else self._full(scores, padded.shape[2:], image.shape[2:]),)

    def difference(self, answers: Answers, reference: Answers) -> float:
        """As of the base; of labels, by how much the score of one is below the largest score of its pixel."""
        if self.wanted == SCORES:
            return super().difference(answers, reference)
        (labels,), (scores,) = answers, reference
        labels = labels.long()[:, None]
        if labels.shape[2:] != scores.shape[2:] or not 0 <= labels.min() <= labels.max() < max(self.classes, 2):
            return float('inf')
        if self.classes == 1:
            wrong = (scores.sigmoid() > self.threshold) != labels.bool()
            return ((scores.sigmoid() - self.threshold).abs() * wrong).max().item()
        # equal scores may give either label: what counts is how much worse the given one is
        gaps = scores.amax(1, keepdim=True) - scores.gather(1, labels)
        return (gaps.max() / scores.abs().max().clamp(min=1)).item()

    def _full(self, scores: torch.Tensor, padded: Sequence[int], size: Sequence[int]) -> torch.Tensor:
        scores = F.interpolate(scores, tuple(padded), mode='bilinear', align_corners=self.align_corners)
        return scores[:, :, : size[0], : size[1]]


class ClassifierGraph(PictureGraph):
    """The probability of each class.

    Args:
        model: An :class:`~saga_mm.models.classification.ImageClassifier`.
    """

    kind = 'classifier'
    output = 'probabilities: float32 (1, classes)'

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, model.data_preprocessor.pad_size_divisor, model.data_preprocessor.pad_value)

    def outputs(self) -> list[str]:
        return [PROBABILITIES]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.model.logits(self.prepared(image)).softmax(1)

    def reference(self, image: torch.Tensor) -> Answers:
        return (self.original[0].logits(self.prepared_by_model(image)).softmax(1),)


class DetectorGraph(PictureGraph):
    """The raw outputs of a dense head or a region proposal network on each level, before anchors and suppression.

    Args:
        model: A one-stage or two-stage detector of mmdet's.

    Raises:
        SagaError: It is a detector of another kind.
    """

    kind = 'detector'

    def __init__(self, model: nn.Module) -> None:
        self.two_stage = hasattr(model, 'rpn_head')
        self.head_name = 'rpn_head' if self.two_stage else 'bbox_head'
        name = type(model).__name__
        if not hasattr(model, self.head_name) or not hasattr(model, 'extract_feat'):
            raise SagaError(f'a {name} has neither an rpn_head nor a bbox_head over levels, whose outputs are exported')
        prepare = model.data_preprocessor
        super().__init__(model, getattr(prepare, 'pad_size_divisor', 1), getattr(prepare, 'pad_value', 0))
        self.output = (
            'scores_L, boxes_L, ...: float32 (1, channels, rows, columns) of level L, raw, as the head gives them'
        )
        if self.two_stage:
            self.output += '; features_L: the maps that a RoI head is given'
        # heads of other detectors take data samples or proposals besides: they show it by an error
        with torch.no_grad():
            try:
                parts = self._parts(self.model, self.prepared(torch.zeros(1, 3, 64, 64)))
                self.names = self._names(parts)
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                reason = str(error).splitlines()[0]
                raise SagaError(f'the head of this {name} gives no maps for levels from an image ({reason})') from error

    def outputs(self) -> list[str]:
        return self.names

    def forward(self, image: torch.Tensor) -> Answers:
        return tuple(level for part in self._parts(self.model, self.prepared(image)) for level in part)

    def reference(self, image: torch.Tensor) -> Answers:
        model = self.original[0]
        return tuple(level for part in self._parts(model, self.prepared_by_model(image)) for level in part)

    def _parts(self, model: Any, image: torch.Tensor) -> list[Answers]:
        features = model.extract_feat(image)
        parts = list(getattr(model, self.head_name)(features))
        return [*parts, features] if self.two_stage else parts

    def _names(self, parts: list[Answers]) -> list[str]:
        heads = len(parts) - self.two_stage
        names = ['predictions'] if heads == 1 else ['scores', 'boxes', *(f'extra{i}' for i in range(1, heads - 1))]
        if heads == 3 and any('centerness' in name for name, _ in self.model.named_modules()):
            names[2] = 'centerness'
        names += ['features'] * self.two_stage
        for part in parts:
            if not isinstance(part, (list, tuple)) or not all(isinstance(level, torch.Tensor) for level in part):
                raise TypeError('an output is no list of maps')
        return [f'{name}_{level}' for name, part in zip(names, parts) for level in range(len(part))]


def stack_facts(predictor: Any, crops: bool = False) -> dict[str, Any]:
    """Facts of a model of the stack: what it is, its classes, and the size of the images that it is given.

    Args:
        predictor: The model with its config.
        crops: As of :func:`resize_rule`.
    """
    parts = [type(predictor.model), type(predictor.model.backbone)]
    return {
        'model': ', '.join(part.__name__ for part in parts),
        'classes': predictor.classes,
        'palette': tuple(tuple(map(int, colour)) for colour in predictor.metainfo['palette']),
        'resize': resize_rule(predictor.cfg, crops),
    }
