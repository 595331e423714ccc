"""The model for image classification."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.foundation import BaseModel, ImgDataPreprocessor
from saga_mm.registry import MODELS

from .mixing import mix_batch


@MODELS.register_module()
class ClassificationPreprocessor(ImgDataPreprocessor):
    """mmengine's ``ImgDataPreprocessor``: images of one size as a normalised batch.

    The default mean and deviation are ImageNet's, of RGB in [0, 255]; inputs are BGR, as the transforms pack them.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(mean, std, bgr_to_rgb=bgr_to_rgb, **options)


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Scores of classes for an image: a backbone, and a head that pools its last map.

    Args:
        backbone: Config of any registered backbone.
        head: Config of a head, such as :class:`LinearClsHead`.
        train_cfg: ``augments`` is a list of configs of batch augmentations (:class:`Mixup`, :class:`CutMix`), of which
            each training step draws one.
        data_preprocessor: Config; :class:`ClassificationPreprocessor` unless given.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If the head pools a class token that the backbone does not have.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        train_cfg: dict | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {'type': 'saga_mm.ClassificationPreprocessor'}, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)
        self.with_token = self.head.pooling == 'token'
        if self.with_token and not getattr(self.backbone, 'class_token', False):
            kind = type(self.backbone).__name__
            raise ValueError(f"head.pooling='token' needs a backbone with class_token=True, this {kind} has none")
        self.augments = [MODELS.build(augment) for augment in (train_cfg or {}).get('augments') or ()]

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Logits (``'tensor'``), samples with ``pred_score`` and ``pred_label`` (``'predict'``), or losses.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: One :class:`~saga_mm.datasets.classification.sample.ClassSample` for each image; with
                ``gt_label`` for the loss.
            mode: As above.

        Raises:
            ValueError: If the mode is unknown.
        """
        if mode == 'loss':
            return self._loss(inputs, data_samples)
        if mode not in ('tensor', 'predict'):
            raise ValueError(f"mode={mode!r} is none of 'tensor', 'predict' and 'loss'")
        logits = self.logits(inputs)
        if mode == 'tensor':
            return logits
        # in float32: the probabilities of many classes fall below what half precision tells apart
        for sample, scores in zip(data_samples, logits.float().softmax(1), strict=True):
            sample.pred_score, sample.pred_label = scores, scores.argmax()
        return data_samples

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of images ``(B, 3, H, W)``."""
        if self.with_token:
            return self.head(*self.backbone.forward_token(inputs))
        return self.head(self.backbone(inputs))

    def _loss(self, inputs: torch.Tensor, data_samples: list) -> dict[str, torch.Tensor]:
        target = torch.stack([sample.gt_label for sample in data_samples]).to(inputs.device)
        if self.augments:
            # a mixed image has a share of two classes, which a label cannot say
            shares = nn.functional.one_hot(target, self.head.num_classes).to(inputs.dtype)
            inputs, target = mix_batch(self.augments, inputs, shares)
        return {'loss': self.head.loss(self.logits(inputs), target)}
