"""The sigmoid focal loss (https://arxiv.org/abs/1708.02002), which mmdet takes from mmcv on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    """Loss of each logit, at least in float32. Differentiable in the logits.

    Args:
        logits: Of each class: (N, C).
        target: Class of each row; C for none: (N,).
        weight: Of each class, or empty.
        gamma: How far sure answers count less.
        alpha: Weight of the right class; the others have 1 - alpha.

    Returns:
        (N, C).
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    # background is the class after the last: a row of no right class
    right = F.one_hot(target, logits.shape[1] + 1)[:, :-1].to(wide)
    # by logsigmoid of the signed logit: log(1 - sigmoid) of a sure wrong answer would be minus infinity
    signed = wide * (2 * right - 1)
    balance = alpha * right + (1 - alpha) * (1 - right)
    loss = -balance * (-signed).sigmoid() ** gamma * F.logsigmoid(signed)
    return loss * weight.to(wide)[target.clamp(max=len(weight) - 1), None] if weight.numel() else loss
