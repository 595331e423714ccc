"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# boxes that are compared with all others at once; memory grows with it, the number of calls shrinks
BLOCK = 256
NAIVE, LINEAR, GAUSSIAN = range(3)


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Suppress each box that overlaps a kept box of a higher score.

    Args:
        boxes: Corners x1, y1, x2, y2, of any floating type: (N, 4). Computed in float32 at least.
        scores: Of each box: (N,).
        iou_threshold: Boxes of an IoU above it are suppressed.
        offset: What a box reaches beyond its corners, 0 or 1.

    Returns:
        Indices of the boxes that are kept, the highest score first.
    """
    order = scores.sort(0, descending=True)[1]
    # half precision tells few boxes of large pictures apart
    boxes = _wide(boxes)[order]
    areas = _areas(boxes, offset)
    left, kept = torch.arange(len(boxes), device=boxes.device), []
    while len(left):
        # the best boxes decide among themselves, then for all that are left: no table of all pairs is made
        block, left = left[:BLOCK], left[BLOCK:]
        block = block[_keep(_overlap(boxes, areas, block, block, offset) > iou_threshold)]
        kept.append(block)
        if len(left):
            left = left[~(_overlap(boxes, areas, block, left, offset) > iou_threshold).any(0)]
    return order[torch.cat(kept)] if kept else order


@torch.no_grad()
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: int = LINEAR,
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Lower the scores of boxes that overlap better ones, and drop boxes below a score (https://arxiv.org/abs/1704.04503).

    Args:
        boxes: Corners x1, y1, x2, y2: (N, 4).
        scores: Of each box: (N,).
        iou_threshold: Scores are lowered from this IoU on, except by ``GAUSSIAN``, which lowers all.
        sigma: Width of ``GAUSSIAN``.
        min_score: What is below it is dropped.
        method: ``NAIVE`` drops, ``LINEAR`` weighs by 1 - IoU, ``GAUSSIAN`` by exp(-IoU^2 / sigma).
        offset: What a box reaches beyond its corners, 0 or 1.

    Returns:
        Boxes with their new scores, (K, 5), the best first, and their indices, (K,).
    """
    corners = _wide(boxes)
    # one row a box: x1, y1, x2, y2, score, area; sorted step by step
    table = torch.cat([corners, scores[:, None].to(corners), _areas(corners, offset)[:, None]], 1).cpu().numpy().copy()
    index = np.arange(len(table))
    i, count = 0, len(table)
    while i < count:
        best = i + int(table[i:count, 4].argmax())
        table[[i, best]], index[[i, best]] = table[[best, i]], index[[best, i]]
        first = i + 1
        rest = table[first:count]
        overlap = _overlap_of(table[i], rest, offset)
        if method == GAUSSIAN:
            weight = np.exp(-(overlap * overlap) / overlap.dtype.type(sigma))
        else:
            weight = np.where(overlap >= overlap.dtype.type(iou_threshold), 0 if method == NAIVE else 1 - overlap, 1)
        rest[:, 4] *= weight
        places = _compact(~(rest[:, 4] < rest.dtype.type(min_score)))
        count = first + len(places)
        table[first:count], index[first:count] = rest[places], index[first:][places]
        i = first
    return torch.from_numpy(table[:count, :5]).to(boxes), torch.from_numpy(index[:count]).to(boxes.device)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype == torch.float64 else boxes.float()


def _areas(boxes: Tensor, offset: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(1)
    return (x2 - x1 + offset) * (y2 - y1 + offset)


def _overlap(boxes: Tensor, areas: Tensor, rows: Tensor, columns: Tensor, offset: int) -> Tensor:
    """IoU of some boxes with others: (rows, columns)."""
    ax1, ay1, ax2, ay2 = boxes[rows, :, None].unbind(1)
    bx1, by1, bx2, by2 = boxes[columns].unbind(1)
    shared = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).add_(offset).clamp_(min=0)
    shared *= torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).add_(offset).clamp_(min=0)
    return shared / (areas[rows, None] + areas[columns]).sub_(shared)


def _keep(covers: Tensor) -> Tensor:
    """Which boxes of a block stay, where ``covers[i, j]`` says that i covers j: their places."""
    if not covers.triu(1).any():
        return torch.arange(len(covers), device=covers.device)
    # one after the other, since what is covered covers nothing: on a GPU each step would wait for the one before
    matrix = covers.cpu().numpy()
    covered, places = np.zeros(len(matrix), bool), []
    for place, row in enumerate(matrix):
        if not covered[place]:
            places.append(place)
            covered |= row
    return torch.tensor(places, device=covers.device)


def _overlap_of(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    shared = np.maximum(high - low + offset, 0).prod(1)
    # boxes without area overlap nothing
    return np.divide(shared, box[5] + others[:, 5] - shared, out=np.zeros_like(shared), where=shared > 0)


def _compact(stays: np.ndarray) -> np.ndarray:
    """Places of what stays, as mmcv orders them: each gap is filled with the last that stays."""
    count = int(stays.sum())
    places = np.arange(count)
    gaps = np.flatnonzero(~stays[:count])
    places[gaps] = np.flatnonzero(stays[count:])[::-1] + count
    return places
