"""Focused linear attention against its published quadratic form, and at sizes that the published code does not take."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import FocusedLinearAttention
from saga_mm.models.attention.focused import published_name
from saga_mm.ops import Grid


def build(**options):
    torch.manual_seed(0)
    mixer = FocusedLinearAttention(12, 3, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def focus(x, scale, power):
    y = (x.relu() + 1e-6) / F.softplus(scale)
    sharp = y**power
    return sharp * y.norm(dim=-1, keepdim=True) / sharp.norm(dim=-1, keepdim=True)


def published(mixer, x, height, width):
    """The quadratic form, for a map of the size that the positions were learned for."""
    batch, count, dims = x.shape
    q, (k, v) = mixer.q(x), mixer.kv(x).chunk(2, dim=-1)
    q = focus(q, mixer.scale, mixer.focusing_factor)
    k = focus(k + mixer.key_table, mixer.scale, mixer.focusing_factor)
    split = (batch, count, mixer.num_heads, -1)
    weights = torch.einsum('bihd,bjhd->bhij', q.view(split), k.view(split))
    weights = weights / (weights.sum(-1, keepdim=True) + count * 1e-6)
    out = torch.einsum('bhij,bjhd->bihd', weights, v.view(split)).flatten(2)
    plane = v.transpose(1, 2).reshape(batch, dims, height, width)
    # the kernel of a head, once for each head
    kernel, bias = mixer.local.weight.repeat(mixer.num_heads, 1, 1, 1), mixer.local.bias.repeat(mixer.num_heads)
    local = F.conv2d(plane, kernel, bias, padding=2, groups=dims)
    if mixer.lepe is not None:
        local = local + F.conv2d(plane, mixer.lepe.weight, mixer.lepe.bias, padding=1, groups=dims)
    return mixer.proj(out + local.flatten(2).transpose(1, 2))


@pytest.mark.parametrize('options', [{}, {'lepe_kernel': 3}, {'focusing_factor': 4, 'qkv_bias': False}], ids=str)
def test_equals_the_published_quadratic_form_with_gradients(options):
    mixer = build(table_size=(4, 6), **options)
    x = torch.randn(2, 24, 12, dtype=torch.float64, requires_grad=True)
    results = []
    for out in (mixer(x, Grid.whole(4, 6)), published(mixer, x, 4, 6)):
        results.append((out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()])))
    for fast, slow in zip(*results, strict=True):
        assert torch.allclose(fast, slow, rtol=1e-10, atol=1e-10 * slow.abs().max().item())


@pytest.mark.parametrize('options', [{}, {'sr_ratio': 2}, {'table_size': (5, 7)}, {'local_kernel': 0}], ids=str)
@pytest.mark.parametrize('size', [(5, 7), (3, 10), (1, 1)])
def test_every_option_runs_on_any_map_and_trains_every_parameter(options, size):
    mixer = build(**options)
    x = torch.randn(2, size[0] * size[1], 12, dtype=torch.float64)
    out = mixer(x, Grid.whole(*size))
    assert out.shape == x.shape and out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixer.parameters())


def test_positions_are_used_as_they_are_at_their_size_and_resized_elsewhere():
    mixer = build(table_size=(3, 4))
    x = torch.zeros(1, 12, 12, dtype=torch.float64)
    keys = mixer._keys_values(x, Grid.whole(3, 4))[1]
    assert torch.equal(keys, mixer.key_table + mixer.kv.bias[:12])
    plane = mixer.key_table.view(1, 3, 4, 12).permute(0, 3, 1, 2)
    resized = F.interpolate(plane, (6, 2), mode='bilinear').flatten(2).transpose(1, 2)
    keys = mixer._keys_values(x, Grid.whole(6, 2))[1]
    assert torch.allclose(keys, resized + mixer.kv.bias[:12])
    rows = mixer._keys_values(x[:, :4], Grid(6, 2, 3, 5))[1]
    assert torch.allclose(rows, keys[:, 6:10])


def test_shortened_values_are_stretched_over_the_map():
    mixer = build(sr_ratio=2)
    values = torch.arange(6.0, dtype=torch.float64).view(1, 6, 1).expand(1, 6, 12)
    mixer.local.weight.data.zero_()[..., 2, 2] = 1
    mixer.local.bias.data.zero_()
    out = mixer._local(values, Grid.whole(4, 6))[0, :, 0].view(4, 6)
    stretched = F.interpolate(values[..., 0].view(1, 1, 2, 3), (4, 6), mode='bilinear')[0, 0]
    assert torch.allclose(out, stretched)


def test_starts_as_published():
    mixer = FocusedLinearAttention(8, 2, table_size=(3, 4))
    assert mixer.scale.shape == (1, 1, 8) and mixer.scale.eq(0).all()
    assert mixer.key_table.shape == (1, 12, 8) and mixer.key_table.eq(0).all()
    assert mixer.local.weight.shape == (4, 1, 5, 5)


def test_published_names_are_ours():
    assert published_name('block1.0.attn.positional_encoding') == 'block1.0.attn.key_table'
    assert published_name('attn.dwc.weight') == 'attn.local.weight'
    assert published_name('attns.0.get_v.bias') == 'attns.0.lepe.bias'
    assert published_name('attn.scale') == 'attn.scale'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_heads': 5}, 'num_heads=5 does not divide embed_dims=12'),
        ({'local_kernel': 2}, 'local_kernel must be odd'),
        ({'lepe_kernel': 4}, 'lepe_kernel must be odd'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FocusedLinearAttention(**{'embed_dims': 12, 'num_heads': 3, **options})
