import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize('size', [(4, 6), (7, 3), (1, 5)])
def test_equals_the_equation_with_gradients(equals_the_equation, size):
    def weigh(q, k, products):
        count, scale = k.shape[1], k.shape[-1] ** -0.5
        z = scale * torch.einsum('bihd,bjhd->bhij', q, k).mean(-1, keepdim=True)
        return (1 + 1 / (z + 1e-6)) * scale * products / count - z / count

    equals_the_equation('mala', lambda t: F.elu(t) + 1, weigh, size)
