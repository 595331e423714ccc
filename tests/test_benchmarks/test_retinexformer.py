"""The leader as published: its size, its arithmetic, its attention, any image size."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.retinexformer import LightGuidedAttention, Retinexformer
from saga_mm.analysis import measure_cost

SMALL = {'dims': 4, 'depths': (1, 1, 2)}


def cost(height: int, width: int):
    with torch.device('meta'):
        model = Retinexformer()
    return measure_cost(model, torch.empty(1, 3, height, width, device='meta'))


def small() -> Retinexformer:
    torch.manual_seed(0)
    return Retinexformer(**SMALL).double()


def test_parameters_and_arithmetic_are_the_published_ones():
    square = cost(256, 256)
    assert square.parameters == 1_605_701
    assert square.macs / 1e9 == pytest.approx(16.66, abs=0.01)


def test_cost_is_linear_in_pixels():
    square, wide = cost(256, 256), cost(512, 1024)
    assert wide.macs == 8 * square.macs
    assert wide.peak_bytes == pytest.approx(8 * square.peak_bytes, rel=1e-3)
    # the hidden map of the last feed-forward twice, 6.15 maps of 40 channels beside it
    assert wide.peak_bytes / (512 * 1024 * 40 * 4) == pytest.approx(14.15, abs=0.01)


def test_attention_is_the_equation():
    torch.manual_seed(1)
    dims, heads, size = 6, 2, (3, 5)
    attn = LightGuidedAttention(dims, heads).double()
    torch.nn.init.normal_(attn.scale)
    x, light = torch.randn(2, 2, *size, dims, dtype=torch.float64)
    q, k, v = x @ attn.q.weight.T, x @ attn.k.weight.T, x @ attn.v.weight.T
    q, k = (t / t.square().sum((1, 2), keepdim=True).sqrt() for t in (q, k))
    mixed = torch.zeros_like(x)
    width = dims // heads
    for head in range(heads):
        for i in range(width):
            channels = range(head * width, (head + 1) * width)
            row = channels[i]
            scores = torch.stack([(k[..., row] * q[..., j]).sum((1, 2)) for j in channels], dim=1)
            weights = (attn.scale[head, 0] * scores).softmax(1)
            lit = v[..., list(channels)] * light[..., list(channels)]
            mixed[..., row] = (weights[:, None, None] * lit).sum(-1)
    first, second = attn.position[0].weight, attn.position[2].weight
    near = F.conv2d(v.permute(0, 3, 1, 2), first, padding=1, groups=dims)
    near = F.conv2d(F.gelu(near), second, padding=1, groups=dims).permute(0, 2, 3, 1)
    expected = mixed @ attn.proj.weight.T + attn.proj.bias + near
    torch.testing.assert_close(attn(x, light), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('size', [(8, 12), (9, 14), (7, 5), (1, 1), (1, 30)])
def test_any_size(size):
    model, image = small(), torch.rand(2, 3, *size, dtype=torch.float64)
    out = model(image)
    assert out.shape == image.shape and out.isfinite().all()
    # padding repeats the last row and column: an image that is padded already is the same image
    padded = F.pad(image, (0, -size[1] % 4, 0, -size[0] % 4), mode='replicate')
    torch.testing.assert_close(model(padded)[:, :, : size[0], : size[1]], out)


def test_without_light_and_residual_the_image_comes_out():
    model, image = small(), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.nn.init.zeros_(model.project.weight)
    for zero in model.estimator.light.parameters():
        torch.nn.init.zeros_(zero)
    torch.testing.assert_close(model(image), image, rtol=0, atol=0)
    torch.nn.init.ones_(model.estimator.light.bias)
    torch.testing.assert_close(model(image), 2 * image, rtol=0, atol=0)


def test_images_of_a_batch_do_not_mix():
    model, images = small(), torch.rand(2, 3, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(model(images)[1:], model(images[1:]))


def test_gradients_reach_image_and_every_parameter():
    model, image = small(), torch.rand(1, 3, 9, 10, dtype=torch.float64, requires_grad=True)
    model(image).square().mean().backward()
    gradients = {'image': image.grad, **{name: p.grad for name, p in model.named_parameters()}}
    assert [name for name, grad in gradients.items() if grad is None or not grad.abs().sum() > 0] == []
