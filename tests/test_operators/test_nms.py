import pytest
import torch

from saga_mm.operators.nms import GAUSSIAN, LINEAR, NAIVE, nms, soft_nms


def boxes_of(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * 30
    return torch.cat([corner - 5, corner - 5 + size], 1), torch.rand(count, generator=generator, dtype=torch.float64)


def iou(a: list[float], b: list[float], offset: int) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height) if width * height else 0.0


def plain_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> list[int]:
    kept, table = [], boxes.tolist()
    for i in scores.argsort(descending=True).tolist():
        if all(iou(table[i], table[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


# 256 boxes are compared with all others at once
@pytest.mark.parametrize('count', [0, 1, 2, 130, 256, 600])
@pytest.mark.parametrize('offset', [0, 1])
def test_as_box_by_box(count, offset):
    boxes, scores = boxes_of(count)
    assert nms(boxes, scores, 0.4, offset).tolist() == plain_nms(boxes, scores, 0.4, offset)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_its_values(dtype):
    boxes, scores = (value.to(dtype) for value in boxes_of(60))
    # several scores become equal: compared as float32 of the same order
    scores = torch.linspace(1, 0, 60).to(dtype)
    assert nms(boxes, scores, 0.3).tolist() == nms(boxes.float(), scores.float(), 0.3).tolist()


def test_no_gradient_and_inputs_unchanged():
    boxes, scores = boxes_of(20)
    before = boxes.clone()
    nms(boxes.requires_grad_(), scores, 0.5)
    found, _ = soft_nms(boxes, scores)
    assert torch.equal(boxes, before) and not found.requires_grad


@pytest.mark.parametrize('method', [NAIVE, LINEAR, GAUSSIAN])
def test_soft_as_box_by_box(method):
    boxes, scores = boxes_of(40)
    left = dict(enumerate(scores.tolist()))
    table, expected = boxes.tolist(), []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(table[best], table[i], 0)
            if method == GAUSSIAN:
                left[i] *= torch.tensor(-(overlap**2) / 0.7).exp().item()
            elif overlap >= 0.2:
                left[i] *= 0 if method == NAIVE else 1 - overlap
            if left[i] < 0.1:
                del left[i]
    found, index = soft_nms(boxes, scores, 0.2, 0.7, 0.1, method)
    assert index.tolist() == [i for i, _ in expected] and len(index) < 40
    torch.testing.assert_close(found[:, 4], torch.tensor([score for _, score in expected]).double())
    assert torch.equal(found[:, :4], boxes[index])


@pytest.mark.parametrize('method', [LINEAR, GAUSSIAN])
def test_boxes_without_area_overlap_nothing(method):
    boxes, scores = torch.ones(3, 4), torch.tensor([0.5, 0.9, 0.7])
    assert soft_nms(boxes, scores, method=method)[1].tolist() == nms(boxes, scores, 0.1).tolist() == [1, 2, 0]
