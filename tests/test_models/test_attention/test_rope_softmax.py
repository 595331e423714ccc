import pytest
import torch

from saga_mm.models.attention import RopeSoftmaxAttention
from saga_mm.ops import Grid


@pytest.mark.parametrize('size', [(4, 6), (7, 3), (1, 5)])
def test_equals_the_equation_with_gradients(equals_the_equation, size):
    def weigh(q, k, products):
        return products.div(q.shape[-1] ** 0.5).softmax(-1)

    equals_the_equation('rope_softmax', lambda t: t, weigh, size)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_at_large_activations(dtype):
    torch.manual_seed(0)
    mixer = RopeSoftmaxAttention(64, 1)
    for projection in (mixer.q, mixer.kv, mixer.gate, mixer.proj):
        torch.nn.init.normal_(projection.weight, std=0.125)
    mixer = mixer.to(dtype)
    x = (8 * torch.randn(1, 1400, 64)).to(dtype).requires_grad_()
    out = mixer(x, Grid.whole(28, 50))
    out.float().square().mean().backward()
    assert out.dtype == dtype and out.isfinite().all() and x.grad.isfinite().all()
