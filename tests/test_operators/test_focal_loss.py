import pytest
import torch

from saga_mm.operators.focal_loss import sigmoid_focal_loss

TARGET = torch.tensor([0, 2, 3, 1, 3])
NO_WEIGHT = torch.empty(0)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weight', [NO_WEIGHT, torch.tensor([0.5, 2.0, 1.0])])
def test_as_written_in_the_paper(gamma, weight):
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = sigmoid_focal_loss(logits, TARGET, weight, gamma, 0.3)
    for n, target in enumerate(TARGET.tolist()):
        for c in range(3):
            p = logits[n, c].sigmoid()
            p, alpha = (p, 0.3) if c == target else (1 - p, 0.7)
            each = weight[min(target, 2)] if len(weight) else 1.0
            torch.testing.assert_close(loss[n, c], -alpha * (1 - p) ** gamma * p.log() * each)
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, TARGET, weight, gamma, 0.3), logits)


def test_sure_logits_and_half_precision():
    logits = torch.tensor([[60.0, -60.0, 200.0]], dtype=torch.float16, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0]), NO_WEIGHT, 2.0, 0.25)
    assert loss.dtype == torch.float32 and loss[0, :2].max() < 1e-20 and loss[0, 2].item() == pytest.approx(150)
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_no_rows():
    assert sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), NO_WEIGHT, 2.0, 0.25).shape == (0, 3)
