import pytest
import torch

from saga_mm.models.attention import SoftmaxAttention
from saga_mm.ops import Grid


def naive(mixer, x, grid):
    """Softmax attention with its map written out, for maps whose sides ``sr_ratio`` divides."""
    batch, tokens, dims = x.shape
    source = x
    if mixer.sr_ratio > 1:
        plane = x.transpose(1, 2).reshape(batch, dims, grid.height, grid.width)
        source = mixer.norm(mixer.sr(plane).flatten(2).transpose(1, 2))
    q = mixer.q(x).view(batch, tokens, mixer.num_heads, -1)
    k, v = mixer.kv(source).view(batch, -1, 2, mixer.num_heads, q.shape[-1]).unbind(2)
    weights = torch.einsum('bihd,bjhd->bhij', q, k).div(q.shape[-1] ** 0.5).softmax(-1)
    return mixer.proj(torch.einsum('bhij,bjhd->bihd', weights, v).flatten(2))


@pytest.mark.parametrize('sr_ratio', [1, 2])
def test_equals_the_written_out_map_with_gradients(sr_ratio):
    torch.manual_seed(0)
    mixer = SoftmaxAttention(12, 3, sr_ratio=sr_ratio).double()
    grid = Grid.whole(4, 6)
    x = torch.randn(2, 24, 12, dtype=torch.float64, requires_grad=True)
    results = []
    for out in (mixer(x, grid), naive(mixer, x, grid)):
        results.append((out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()])))
    for fused, written in zip(*results, strict=True):
        assert torch.allclose(fused, written, rtol=1e-9, atol=1e-12)


def test_a_side_that_the_ratio_does_not_divide_drops_no_token():
    mixer = SoftmaxAttention(8, 2, sr_ratio=4)
    x = torch.randn(1, 15, 8, requires_grad=True)
    keys = mixer.write(x, Grid.whole(3, 5)).keys
    assert keys.shape == (1, 2, 2, 4)
    keys.square().sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


def test_merged_pieces_equal_the_whole():
    mixer = SoftmaxAttention(8, 2)
    x = torch.randn(1, 20, 8)
    whole = Grid.whole(5, 4)
    state = mixer.merge([mixer.write(x[:, :8], Grid(5, 4, 0, 2)), mixer.write(x[:, 8:], Grid(5, 4, 2, 5))])
    assert torch.allclose(mixer.read(x, whole, state), mixer(x, whole), atol=1e-6)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=3 does not divide embed_dims=8'):
        SoftmaxAttention(8, 3)
