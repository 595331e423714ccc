"""A substitute for ``mmcv._ext``. Names and parameters of its functions are mmcv's.

mmcv's Python code calls these, so that all above it (``batched_nms``, ``soft_nms``, ``RoIAlign``) is mmcv's own. This
file is also loaded under the name ``mmcv._ext``; it imports by full names therefore.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor

from saga_mm.errors import SagaError
from saga_mm.operators import focal_loss
from saga_mm.operators import nms as suppression
from saga_mm.operators import roi_align as alignment

STANDS_IN = True
CURE = 'compile mmcv with its operators: `make setup OPS=1`; docs/operators.md says how by hand'


def in_use() -> str:
    """One line that says which operators mmdet and mmseg run on."""
    if importlib.util.find_spec('mmcv') is None:
        return 'operators: none, mmcv is not installed'
    if not getattr(importlib.import_module('mmcv._ext'), 'STANDS_IN', False):
        return "operators: mmcv's compiled ones"
    if library := torchvision():
        return f'operators: NMS and RoIAlign of torchvision {library.__version__}, others in PyTorch'
    return 'operators: in PyTorch (mmcv is installed without compiled ones)'


@cache
def torchvision() -> ModuleType | None:
    """torchvision if it can be imported beside this torch."""
    try:
        importlib.import_module('torchvision.ops')
        return importlib.import_module('torchvision')
    # one built for another torch raises what it likes
    except Exception:
        return None


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    library = torchvision()
    # torchvision's has no offset
    if library and offset == 0:
        return library.ops.nms(boxes.float(), scores.float(), iou_threshold)
    return suppression.nms(boxes, scores, iou_threshold, offset)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    found, kept = suppression.soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset)
    dets[: len(found)] = found
    return kept


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    if pool_mode == 0:
        raise_missing("RoIAlign(pool_mode='max')")
    size = (aligned_height, aligned_width)
    with torch.no_grad():
        output.copy_(_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    size = (aligned_height, aligned_width)
    with torch.enable_grad():
        # an average of samples is linear in the map, so that its gradient is the same for any map
        maps = torch.zeros_like(grad_input).requires_grad_()
        out = _align(maps, rois, size, spatial_scale, sampling_ratio, aligned)
    grad_input += torch.autograd.grad(out, maps, grad_output.to(out))[0]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    with torch.no_grad():
        output.copy_(focal_loss.sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        loss = focal_loss.sigmoid_focal_loss(logits, target, weight, gamma, alpha)
    grad_input.copy_(torch.autograd.grad(loss, logits, torch.ones_like(loss))[0])


def raise_missing(name: str) -> NoReturn:
    raise SagaError(f'{name} needs the compiled operators of mmcv, which is installed without them; {CURE}')


def _align(maps: Tensor, rois: Tensor, *how: Any) -> Tensor:
    if library := torchvision():
        return library.ops.roi_align(maps.float(), rois.float(), *how)
    return alignment.roi_align(maps, rois, *how)


def __getattr__(name: str) -> Any:
    """A function that says what is missing when it is called: mmcv asks for all its operators when it is imported."""
    if name.startswith('__'):
        raise AttributeError(name)

    def operator(*args: Any, **kwargs: Any) -> NoReturn:
        raise_missing(name)

    operator.__name__ = name
    return operator
