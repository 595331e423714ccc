"""Classification heads: from a backbone's last map to a score for each class."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.init import init_truncated
from saga_mm.registry import MODELS

POOLINGS = ('mean', 'token')


@MODELS.register_module()
class LinearClsHead(BaseModule):
    """Mean of the last map or the class token, perhaps a LayerNorm, and a linear layer to the logits.

    Args:
        num_classes: Classes.
        in_channels: Channels of the last map.
        pooling: ``'mean'`` over the map, or ``'token'``: the class token of a backbone with ``class_token=True``.
        norm_eps: Epsilon of a LayerNorm before the linear layer; None for no norm.
        label_smooth: Part of the target that is spread evenly over all classes.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If ``pooling`` is unknown.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pooling: str = 'mean',
        norm_eps: float | None = None,
        label_smooth: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if pooling not in POOLINGS:
            raise ValueError(f'unknown pooling={pooling!r}; choose one of {", ".join(POOLINGS)}')
        self.num_classes, self.pooling, self.label_smooth = num_classes, pooling, label_smooth
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(in_channels, eps=norm_eps)
        self.fc = nn.Linear(in_channels, num_classes)
        init_truncated(self.fc)

    def forward(self, maps: Sequence[torch.Tensor], token: torch.Tensor | None = None) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of the last map, ``(B, C, H, W)``, or of the class token, ``(B, C)``."""
        if self.pooling == 'token' and token is None:
            raise ValueError('takes a class token')
        return self.fc(self.norm(maps[-1].mean((2, 3)) if self.pooling == 'mean' else token))

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross entropy with label smoothing.

        Args:
            logits: ``(B, num_classes)``.
            target: Labels ``(B,)``, or probabilities ``(B, num_classes)`` of mixed images.
        """
        return F.cross_entropy(logits.float(), target, label_smoothing=self.label_smooth)


@MODELS.register_module()
class ConvClsHead(LinearClsHead):
    """A 1x1 convolution, batch norm and SiLU before the mean and the linear layer, as in RAVLT's classifier.

    Args:
        num_classes: Classes.
        in_channels: Channels of the last map.
        hidden_channels: Channels after the convolution.
        options: ``label_smooth`` and ``init_cfg`` of :class:`LinearClsHead`.
    """

    def __init__(self, num_classes: int, in_channels: int, hidden_channels: int = 1024, **options: Any) -> None:
        super().__init__(num_classes, hidden_channels, **options)
        self.proj = nn.Conv2d(in_channels, hidden_channels, 1)
        self.bn = nn.BatchNorm2d(hidden_channels)
        init_truncated(self.proj)

    def forward(self, maps: Sequence[torch.Tensor], token: None = None) -> torch.Tensor:
        return super().forward([F.silu(self.bn(self.proj(maps[-1])))])
