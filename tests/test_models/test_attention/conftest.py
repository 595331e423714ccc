"""The written-out equation of the mixers with RoPE, local branch and output gate."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import build_attention
from saga_mm.ops import Grid


def turn(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """2-D RoPE of ``(B, height * width, heads, d)`` by complex numbers."""
    quarter = x.shape[-1] // 4
    speeds = 10000.0 ** (-torch.arange(quarter, dtype=x.dtype) / max(quarter - 1, 1))
    place = torch.arange(height * width)
    rows, columns = place // width, place % width
    angles = torch.cat((rows[:, None] * speeds, columns[:, None] * speeds), dim=1)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.view_as_real(turned).flatten(-2)


@pytest.fixture
def equals_the_equation() -> Callable:
    """Compare a mixer, and all its gradients, with its ``N x N`` weights written out, in float64.

    ``check(name, phi, weigh, size)``: ``weigh(q, k, products)`` has queries and keys ``(B, N, heads, d)`` after the map
    ``phi`` and the products ``(B, heads, N, N)`` of the turned ones, and returns the weights of the values.
    """

    def check(name: str, phi: Callable, weigh: Callable, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        mixer = build_attention(name, 24, 3).double()
        for parameter in mixer.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        height, width = size
        x = torch.randn(2, height * width, 24, dtype=torch.float64, requires_grad=True)
        q, k, v = (t.unflatten(-1, (3, 8)) for t in (mixer.q(x), *mixer.kv(x).split(24, dim=-1)))
        q, k = phi(q), phi(k)
        products = torch.einsum('bihd,bjhd->bhij', turn(q, *size), turn(k, *size))
        mixed = torch.einsum('bhij,bjhd->bihd', weigh(q, k, products), v).flatten(2)
        plane = v.flatten(2).transpose(1, 2).unflatten(2, size)
        local = F.conv2d(plane, mixer.lepe.weight, mixer.lepe.bias, padding=2, groups=24)
        written = mixer.proj((mixed + local.flatten(2).transpose(1, 2)) * mixer.gate(x))
        results = [
            (out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()]))
            for out in (mixer(x, Grid.whole(*size)), written)
        ]
        for fast, slow in zip(*results, strict=True):
            assert (fast - slow).norm() / slow.norm() < 1e-10

    return check
